"""Options of jobs that matter when processes are killed."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from palm.clients import Client
from palm.errors import MasterLost, WorkerLost
from tests.support.cluster import ProcessCluster, until
from tests.support.fixtures import processes

__all__ = ["processes"]

pytestmark = pytest.mark.slow

#: Notes each start in a file before it does anything, and waits while there is a file "hold".
WORKER = """
import os, time
from pathlib import Path

def note(value):
    with open("starts", "a") as file:
        file.write(f"{value}\\n")
    while Path("hold").exists():
        time.sleep(0.005)
    if value == "deadly":
        os.kill(os.getpid(), 9)
    return value
"""


def starts(folder: Path) -> Counter[str]:
    path = folder / "starts"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def worker(cluster: ProcessCluster, name: str) -> None:
    cluster.worker(WORKER, f"Worker({name!r}, master='foo', functions={{'note': note}})")


def test_message_that_kills_its_worker_runs_once_if_asked(processes: ProcessCluster) -> None:
    processes.master()
    worker(processes, "w0")
    worker(processes, "w1")
    items = [*map(str, range(20)), "deadly", *map(str, range(20, 40))]
    with Client("foo") as client:
        job = client.job("foo.note", items, at_most_once=True, ordered=True, errors="return")
        results = list(job)
    lost = [at for at, result in enumerate(results) if isinstance(result, WorkerLost)]
    assert items.index("deadly") in lost
    assert all(result == item for result, item in zip(results, items, strict=True)
               if not isinstance(result, WorkerLost))  # fmt: skip
    assert set(starts(processes.folder).values()) == {1}


def test_restart_of_the_master_starts_nothing_twice(processes: ProcessCluster) -> None:
    hold = processes.folder / "hold"
    hold.touch()
    master = processes.master()
    worker(processes, "w0")
    with Client("foo") as client:
        job = client.job("foo.note", map(str, range(10)), at_most_once=True, errors="return")
        until(lambda: starts(processes.folder), what="a message has begun")
        until(lambda: job._window.submitted == 10)
        master.process.send_signal(signal.SIGKILL)
        master.wait()
        processes.master()
        hold.unlink()
        results = list(job)
    assert len(results) == 10
    done = [result for result in results if isinstance(result, str)]
    assert all(isinstance(result, str | MasterLost) for result in results), results
    assert done, "what ran brought its result over the restart"
    counts = starts(processes.folder)
    assert set(counts.values()) == {1} and set(done) <= set(counts)
