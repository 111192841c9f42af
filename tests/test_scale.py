"""Facts come out the same wherever they are computed."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from kpis.facts import facts
from kpis.scale import LARGE, begun, beside, workers
from tests.generated_plants import generate, to_frame


def facts_with(where, seed=3):
    plant, samples, start, end = generate(seed)
    with workers(where) as executor:
        return facts(plant, to_frame(samples), start, end, executor=executor)


def test_two_processes_give_the_facts_of_one():
    assert facts_with("2").equals(facts_with("1"))


def test_a_dask_cluster_gives_the_facts_of_one_process():
    distributed = pytest.importorskip("distributed", reason="the extra cluster")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cluster's own
        with distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
        ) as cluster:
            computed = facts_with(cluster.scheduler_address)
    assert computed.equals(facts_with("1"))


@pytest.mark.parametrize("where", ["0", "-2", "many", "http://host"])
def test_a_word_that_is_neither_a_number_nor_a_cluster_is_refused(where):
    with pytest.raises(ValueError, match="neither a number of processes"), workers(where):
        pass


def where(home: int) -> int:
    return os.getpid()


def killed_elsewhere(home: int) -> int:
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return home


def test_work_is_done_beside_where_there_is_a_process_for_it_and_else_here():
    here = os.getpid()
    with workers("2") as executor:
        assert begun(executor, where, here)() != here
    assert begun(None, where, here)() == here


def test_work_of_a_process_that_is_killed_is_done_here_now_and_later():
    here = os.getpid()
    with workers("2") as executor:
        assert begun(executor, killed_elsewhere, here)() == here
        assert begun(executor, killed_elsewhere, here)() == here


KILLED = """
import os, signal
from kpis.scale import workers
if __name__ == "__main__":
    with workers("2") as executor:
        print(*{executor.submit(os.getpid).result() for _ in range(4)}, flush=True)
        executor.submit(signal.pause)
        signal.pause()
"""


def test_processes_end_with_the_one_that_is_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with contextlib.ExitStack() as stack:
        with subprocess.Popen(
            [sys.executable, tmp_path / "killed.py"], stdout=subprocess.PIPE, text=True, env=path
        ) as one:
            ends = [os.pidfd_open(int(pid)) for pid in one.stdout.readline().split()]
            for end in ends:
                stack.callback(os.close, end)
            one.kill()
        assert ends
        for end in ends:
            assert select.select([end], [], [], 20)[0], "a process goes on"


def test_a_second_process_is_started_for_much_alone(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with beside(LARGE - 1) as few, beside(LARGE) as many:
        assert (few is None, many is None) == (True, False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with beside(LARGE) as alone:
        assert alone is None
