"""Where facts are computed: in this process, in a pool of processes, or on a Dask cluster.

The boundary is `concurrent.futures.Executor`: whoever computes hands one over, and nothing else changes.
"""

import importlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager


class ClusterMissing(Exception):  # noqa: N818  what is missing is the extra
    """The extra `cluster` is not installed."""


@contextmanager
def workers(where: str) -> Iterator[Executor | None]:
    """Yield the executor of `where`: "1" none (this process), "4" so many processes, "tcp://host:8786" a Dask cluster.

    Raises ValueError for anything else, ClusterMissing where Dask is asked for and not installed, and OSError where
    the cluster cannot be reached.
    """
    if where == "1":
        yield None
    elif where.isdecimal() and int(where) > 1:
        # Frames run threads of their own, which a fork would leave behind.
        with ProcessPoolExecutor(int(where), mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    elif where.startswith("tcp://"):
        try:
            distributed = importlib.import_module("distributed")
        except ModuleNotFoundError as error:
            raise ClusterMissing('Dask is an extra; install it with: pip install "plantproof[cluster]"') from error
        with distributed.Client(where, set_as_default=False) as client:
            yield client.get_executor()
    else:
        raise ValueError(f"{where!r} is neither a number of processes nor the address of a cluster, tcp://host:8786")
