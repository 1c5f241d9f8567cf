"""A worker killed with -9 in the middle of a job: every message still has exactly one outcome."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from palm import errors
from palm.clients import Client
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, live_records, read_record

BOUND = 60.0  # seconds; far beyond what any of this takes

MASTER = "from palm.servers import Master; Master('foo').start()"
WORKER = """
import os, signal, sys, time
from palm.servers import Worker

def work(i):
    time.sleep(0.001)
    return i, os.getpid()

def poison(i):
    if i == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return i

Worker(sys.argv[1], master="foo", functions={"work": work, "poison": poison}).start()
"""


@contextmanager
def component(code: str, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=BOUND)


def workers() -> list[ComponentRecord]:
    return [record for record in live_records(Folders.find()) if record.role == "worker"]


def await_workers(n: int) -> None:
    until = time.monotonic() + BOUND
    while len(workers()) < n:
        assert time.monotonic() < until, f"{len(workers())} of {n} workers are ready"
        time.sleep(0.01)


@pytest.fixture
def cluster() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A master and two workers; the processes of the workers."""
    with ExitStack() as stack:
        stack.enter_context(component(MASTER))
        processes = [stack.enter_context(component(WORKER, f"w{i}")) for i in range(2)]
        await_workers(2)
        yield processes


def test_2000_messages_survive_the_kill_of_one_of_two_workers(
    cluster: list[subprocess.Popen[bytes]],
) -> None:
    seen: Counter[int] = Counter()
    pids = set()
    with Client("foo") as client:
        job = client.job("foo.work", range(2000))
        for value, pid in job:
            seen[value] += 1
            pids.add(pid)
            if sum(seen.values()) == 1000:
                os.kill(cluster[0].pid, signal.SIGKILL)
        progress = job.progress
    assert seen == Counter(range(2000))
    assert pids == {process.pid for process in cluster}
    assert progress.done == 2000
    assert progress.failed == 0


def test_a_frame_is_whole_after_the_kill_of_a_worker(
    cluster: list[subprocess.Popen[bytes]],
) -> None:
    with Client("foo") as client:
        job = client.job("foo.work", range(500), ordered=True)
        assert next(job)[0] == 0
        os.kill(cluster[1].pid, signal.SIGKILL)
        frame = job.to_frame()
    assert list(frame[0]) == list(range(500))
    assert frame["error"].isna().all()
    assert set(frame["attempts"]) <= {1, 2}


def test_a_message_that_kills_workers_fails_alone() -> None:
    with ExitStack() as stack:
        stack.enter_context(component(MASTER))
        for i in range(5):
            stack.enter_context(component(WORKER, f"w{i}"))
        await_workers(5)
        client = stack.enter_context(Client("foo"))
        results = list(client.job("foo.poison", range(40), errors="return", ordered=True))
    assert [value for value in results if isinstance(value, int)] == [
        i for i in range(40) if i != 7
    ]
    assert isinstance(results[7], errors.PoisonTask)


def test_a_job_survives_the_kill_of_its_master(cluster: list[subprocess.Popen[bytes]]) -> None:
    seen: Counter[int] = Counter()
    with ExitStack() as stack:
        client = stack.enter_context(Client("foo"))
        job = client.job("foo.work", range(1000))
        for value, _ in job:
            seen[value] += 1
            if sum(seen.values()) == 300:
                (master,) = (r for r in live_records(Folders.find()) if r.role == "master")
                os.kill(master.pid, signal.SIGKILL)
                stack.enter_context(component(MASTER))
    assert seen == Counter(range(1000))


def test_a_master_that_was_killed_comes_back_at_its_port() -> None:
    source = (
        "from palm.servers import Master; Master('foo', db_address='tcp://127.0.0.1:0').start()"
    )
    addresses = []
    for _ in range(2):
        with component(source) as process:
            until = time.monotonic() + BOUND
            while (record := read_record(Folders.find(), "foo")) is None:
                assert time.monotonic() < until
                time.sleep(0.01)
            addresses.append(record.endpoints["db"])
            process.kill()
            process.wait()
    assert addresses[0] == addresses[1]
