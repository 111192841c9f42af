"""Where facts are computed: in this process, in a pool of processes, or on a Dask cluster; and what is done beside.

The boundary is `concurrent.futures.Executor`: whoever computes hands one over, and nothing else changes.
"""

import importlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LARGE = 5_000_000
"""From so many samples on a second process is worth the second that it takes to start."""


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
        with _pool(int(where)) as pool:
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


@contextmanager
def beside(samples: int) -> Iterator[Executor | None]:
    """Yield a process beside this one where there is much to do and a core to do it; None where there is not."""
    if samples < LARGE or (os.cpu_count() or 1) < 2:
        yield None
    else:
        with _pool(1) as pool:
            yield pool


def _pool(processes: int) -> ProcessPoolExecutor:
    # Frames run threads of their own, which a fork would leave behind.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this process when the one that started it is killed; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def begun(executor: Executor | None, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Begin work in the executor and return what waits for its result; without one, what does it when called.

    It is done here as well where the process that did it is killed.
    """
    here = partial(work, *args, **kwargs)
    if executor is None:
        return here
    try:
        future = executor.submit(work, *args, **kwargs)
    except BrokenExecutor:
        return here

    def result() -> T:
        try:
            return future.result()
        except BrokenExecutor:
            return here()

    return result
