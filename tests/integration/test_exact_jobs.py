"""Options of jobs that matter when processes are killed."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from palm.clients import Client
from palm.errors import DeadlineExceeded, MasterLost, WorkerLost
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


HANGING = """
import time

def nap(seconds):
    time.sleep(seconds)
    return seconds
"""


def test_call_that_takes_too_long_ends_and_the_others_go_on(processes: ProcessCluster) -> None:
    processes.master()
    processes.worker(HANGING, "Worker('w0', master='foo', functions={'nap': nap})")
    began = time.monotonic()
    with Client("foo") as client:
        naps = [0.0, 60.0, 0.001, 0.0]
        job = client.job("foo.nap", naps, timeout=0.5, ordered=True, errors="return")
        results = list(job)
    assert time.monotonic() - began < 30
    assert [results[0], *results[2:]] == [0.0, 0.001, 0.0]
    assert isinstance(results[1], DeadlineExceeded) and "0.5 s" in results[1].text


RAISING = """
from collections import Counter
starts = Counter()

def flaky(item):
    starts[item["n"]] += 1
    if item["n"] % 7 == 0 and starts[item["n"]] == 1:
        raise ConnectionError("not yet")
    with open(f"order-{item['key']}", "a") as file:
        file.write(f"{item['n']}\\n")
    return item["n"]
"""


def test_options_go_together_over_a_restart_of_the_master(processes: ProcessCluster) -> None:
    master = processes.master()
    for number in range(2):
        name = f"w{number}"
        processes.worker(RAISING, f"Worker({name!r}, master='foo', functions={{'flaky': flaky}})")
    items = [{"key": "abc"[n % 3], "n": n} for n in range(600)]
    options = {"key": "key", "retries": 3, "retry_on": OSError, "priority": 2, "deadline": 120.0}
    with Client("foo") as client:
        job = client.job("foo.flaky", items, ordered=True, **options)  # type: ignore[arg-type]
        first = [next(job) for _ in range(20)]
        master.process.send_signal(signal.SIGKILL)
        master.wait()
        processes.master()
        assert first + list(job) == list(range(600))
        assert job.progress.retried
    for key in "abc":
        ran = list(map(int, (processes.folder / f"order-{key}").read_text().split()))
        assert sorted(set(ran)) == [item["n"] for item in items if item["key"] == key]
