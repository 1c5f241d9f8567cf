"""Failures around a master, on real processes: F09, F11, F12, F23 and F24 of the failure model.

Elsewhere: F10 in test_durable_jobs.py; F25 in tests/servers/test_crowd.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from palm.clients import Client
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from tests.support.cluster import ROOT, ProcessCluster, Script, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

WORK = """
import os, time
class Work(Worker):
    def double(self, x):
        with open(os.path.dirname(os.environ["PALM_RUN_DIR"]) + "/runs", "a") as file:
            file.write(f"{x}\\n")
        time.sleep(0.001)
        return 2 * x
    def size(self, data):
        return len(data)
"""


@pytest.fixture
def processes(palm_home: Path, tmp_path: Path) -> Iterator[ProcessCluster]:
    cluster = ProcessCluster(tmp_path)
    yield cluster
    cluster.close()


def serve(processes: ProcessCluster) -> Script:
    """A master and two workers; returns the master."""
    master = processes.master()
    for number in range(2):
        processes.worker(WORK, f"Work('w{number}', master='foo')")
    return master


def runs(home: Path) -> list[int]:
    return [int(line) for line in (home / "runs").read_text().split()]


def test_f09_killed_master_comes_back_and_no_outcome_is_lost_or_doubled(
    processes: ProcessCluster, palm_home: Path
) -> None:
    master = serve(processes)
    with Client("foo") as client:
        job = client.job("foo.double", range(3_000))
        for _ in range(3):
            done = job.progress.done
            until(lambda done=done: job.progress.done > done + 100)
            master.process.kill()
            master.wait()
            master = processes.master()
        assert sorted(job) == [2 * x for x in range(3_000)]
    again = len(runs(palm_home)) - 3_000
    assert 0 <= again < 3_000, f"{again} ran more than once"


CLIENT = """
from palm.clients import Client
client = Client("foo")
for number, _ in enumerate(client.job("foo.double", range(10**9))):
    if number == 100:
        print("under way", flush=True)
"""


def test_f11_client_that_is_killed_costs_the_others_nothing(
    processes: ProcessCluster, palm_home: Path
) -> None:
    serve(processes)
    lost = processes.run(CLIENT)
    lost.wait_for("under way")
    lost.process.kill()
    lost.wait()
    with Client("foo") as client:
        assert client.eval("foo.double", 21, timeout=30) == 42
        assert sorted(client.job("foo.double", range(1_000))) == [2 * x for x in range(1_000)]


def test_f12_client_that_takes_no_results_costs_the_others_nothing(
    processes: ProcessCluster,
) -> None:
    master = serve(processes)
    memory = psutil.Process(master.process.pid).memory_info
    with Client("foo") as slow, Client("foo") as other:
        other.eval("foo.size", b"x")
        before = memory().rss
        job = slow.job("foo.size", (bytes(10_000) for _ in range(1_000_000)))
        until(lambda: job.state == "paused", within=60)
        began = time.monotonic()
        assert [other.eval("foo.size", b"xx", timeout=30) for _ in range(200)] == [2] * 200
        assert time.monotonic() - began < 30
        assert memory().rss - before < 64 * 2**20
        job.cancel()


def test_f12_client_that_stands_still_costs_the_others_nothing(processes: ProcessCluster) -> None:
    serve(processes)
    stopped = processes.run(CLIENT)
    stopped.wait_for("under way")
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        with Client("foo") as client:
            assert sorted(client.job("foo.double", range(1_000))) == [2 * x for x in range(1_000)]
    finally:
        stopped.process.send_signal(signal.SIGCONT)
        stopped.process.kill()


def test_f23_taken_port_is_an_error_that_names_it(processes: ProcessCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run("master", "--name", "foo", "--pull", address)
        assert done.returncode == 1
        assert address in done.stderr and "Traceback" not in done.stderr
    done = run("master", "--name", "foo", "--pull", "tcp://203.0.113.1:0")
    assert done.returncode == 1 and "203.0.113.1" in done.stderr


def test_f24_two_masters_of_one_name_cannot_both_serve(processes: ProcessCluster) -> None:
    first = processes.master()
    done = run("master", "--name", "foo")
    assert done.returncode == 1 and f"pid {first.process.pid}" in done.stderr
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        assert run("master", "--name", "foo").returncode == 1, "one that stands still is there"
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    first.process.kill()
    first.wait()
    second = processes.master()
    record = until(lambda: read_record(Folders.find(), "foo"))
    assert record.pid == second.process.pid


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "palm", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
