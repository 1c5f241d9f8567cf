"""Each way in which a worker can fail, on real processes; the names are those of the model.

===  ===================================  =========================================================
F01  killed in the middle of a message    here; many of them: integration/test_worker_killed.py
F02  stopped, and continued               here
F03  a function that does not end         test_worker_limits.py
F04  the interpreter held for long        here; beyond its time limit: test_worker_limits.py
F05  a crash in C code                    here
F06  a message that kills its workers     integration/test_worker_killed.py,
                                          test_a_message_that_kills_workers_fails_alone
F07  a function that raises               test_worker.py, test_a_worker_survives; runtime/
                                          test_executor.py
F08  unknown or private names, another    test_worker.py, test_nothing_else_can_be_called,
     number of arguments, results that    test_a_function_that_nobody_serves_names_the_nearest,
     cannot be sent                       test_a_worker_survives; here, one after the other
F13  an interrupt in a job                clients/test_job.py, test_an_interrupt_*; clients/
                                          test_client.py; jupyter/test_kernel.py
F16  SIGTERM                              here; test_processes.py
===  ===================================  =========================================================

And a child that a function forks, which has no number.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.clusters import Cluster
from palm.errors import FunctionNotFound, JobError, PoisonTask, TaskError
from palm.registry_api.schema import Event
from tests.support.cluster import ProcessCluster, Script, until
from tests.support.local import local_cluster

pytestmark = pytest.mark.slow

#: Seconds after which the loss of a process on the same machine is known.
SEEN_WITHIN = 1.0

FUNCTIONS = """
import ctypes, os, sys, threading, time

def note(value):
    with open("runs.txt", "a") as file:
        file.write(f"{value}\\n")
    return value

def quick(value):
    time.sleep(0.002)
    return note(value)

def slow(value):
    print("begun", value)
    time.sleep(value)
    return value, os.getpid()

def hold(seconds):
    print("holds")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return seconds

def fork(value):
    pid = os.fork()
    if pid == 0:
        os.close(1), os.close(2)
        time.sleep(60)
        os._exit(0)
    print("child", pid)
    time.sleep(value)
    return pid

def crash(value):
    print("about to crash", file=sys.stderr)
    ctypes.string_at(0)

def fail(value):
    raise LookupError(value)

def nothing():
    return 0

def lock(value):
    return threading.Lock()
"""

SERVED = ["quick", "slow", "hold", "fork", "fail", "nothing", "lock"]


def start_worker(processes: ProcessCluster, name: str = "w") -> Script:
    functions = ", ".join(f"{function!r}: {function}" for function in SERVED)
    return processes.worker(FUNCTIONS, f"Worker({name!r}, master='foo', functions={{{functions}}})")


def seconds_until(script: Script, text: str) -> float:
    started = time.monotonic()
    script.wait_for(text)
    return time.monotonic() - started


def test_f01_killed_worker_is_seen_at_once_and_its_message_runs_elsewhere(
    processes: ProcessCluster,
) -> None:
    master = processes.master()
    first = start_worker(processes, "w0")
    with Client("foo") as client:
        job = client.job("foo.slow", [1.5])
        first.wait_for("begun")
        second = start_worker(processes, "w1")
        first.process.kill()
        assert seconds_until(master, "worker w0 was lost; 1 of its messages") < SEEN_WITHIN
        frame = job.to_frame()
    assert frame[1].tolist() == [second.process.pid]
    assert frame["attempts"].tolist() == [2]


def test_f02_stopped_worker_loses_its_work_and_comes_back(processes: ProcessCluster) -> None:
    master = processes.master()
    first = start_worker(processes, "w0")
    with Client("foo") as client:
        job = client.job("foo.slow", [1.0])
        first.wait_for("begun")
        first.process.send_signal(signal.SIGSTOP)
        try:
            second = start_worker(processes, "w1")
            (result,) = job
            assert result == (1.0, second.process.pid)
            assert "worker w0 was lost" in master.output
        finally:
            first.process.send_signal(signal.SIGCONT)
        master.wait_for("worker w0 is back")
        pids = {pid for _, pid in client.job("foo.slow", [0.2] * 8)}
        assert pids == {first.process.pid, second.process.pid}


def test_f04_worker_that_holds_the_interpreter_is_not_taken_for_dead(
    processes: ProcessCluster,
) -> None:
    master = processes.master()
    start_worker(processes)
    with Client("foo") as client:
        frame = client.job("foo.hold", [5.0]).to_frame()  # three times the heartbeats' timeout
    assert frame["result"].tolist() == [5.0]
    assert frame["attempts"].tolist() == [1]
    assert "lost" not in master.output


@pytest.fixture
def local(palm_home: Path) -> Iterator[Cluster]:
    with local_cluster() as cluster:
        yield cluster


def test_f05_crash_in_c_code_says_how_it_ended(local: Cluster, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(FUNCTIONS)
    local.start("master", "foo").wait_ready()
    worker = local.start("worker", "w", str(tmp_path / "work.py"), args=("--master", "foo"))
    worker.wait_ready()

    def exits() -> list[Event]:
        found, _ = local.registry.events(local.name)
        return [event for event in found if "SIGSEGV" in event.text]

    with local.client("foo") as client:
        with pytest.raises(PoisonTask):
            client.eval("foo.crash", 1)
        events = until(exits)
        assert "was killed by SIGSEGV (segmentation fault)" in events[0].text
        until(lambda: worker.logs(stream="stderr").count("about to crash") >= 3)
        assert client.eval("foo.slow", 0)[0] == 0, "it was started again"


def test_f07_f08_failures_are_errors_of_their_kind_and_the_worker_lives(
    processes: ProcessCluster,
) -> None:
    processes.master()
    worker = start_worker(processes)
    with Client("foo") as client:
        for function, kind, text in [
            ("fail", TaskError, "LookupError: 1"),
            ("nothing", TaskError, "takes 0 positional arguments but 1 was given"),
            ("lock", TaskError, "its result cannot be sent"),
            ("slwo", FunctionNotFound, "did you mean 'slow'"),
            ("_private", FunctionNotFound, "no worker of 'foo' serves '_private'"),
            ("__init__", FunctionNotFound, "no worker of 'foo' serves '__init__'"),
        ]:
            with pytest.raises(JobError, match=re.escape(text)) as caught:
                client.eval(f"foo.{function}", 1)
            assert type(caught.value) is kind
        assert client.eval("foo.slow", 0)[1] == worker.process.pid


def test_f16_worker_that_is_asked_to_stop_runs_nothing_twice(processes: ProcessCluster) -> None:
    processes.master()
    workers = [start_worker(processes, f"w{i}") for i in range(3)]
    runs = processes.folder / "runs.txt"
    with Client("foo") as client:
        job = client.job("foo.quick", range(1500))
        for worker, share in zip(workers, (300, 700), strict=False):
            until(lambda share=share: job.progress.done >= share)
            worker.process.send_signal(signal.SIGTERM)
        frame = job.to_frame()
        assert [worker.wait() for worker in workers[:2]] == [0, 0]
    assert frame["result"].tolist() == list(range(1500))
    assert set(frame["attempts"]) == {1}
    assert Counter(map(int, runs.read_text().split())) == Counter(range(1500))


def test_forked_child_of_a_function_delays_nothing(processes: ProcessCluster) -> None:
    master = processes.master()
    worker = start_worker(processes)
    with Client("foo") as client:
        job = client.job("foo.fork", [60.0])
        child = int(worker.wait_for_line("child").split()[-1])
        try:
            worker.process.kill()
            assert seconds_until(master, "worker w was lost") < SEEN_WITHIN
            os.kill(child, 0)
            job.cancel()
            other = start_worker(processes)
            assert client.eval("foo.slow", 0) == (0, other.process.pid)
        finally:
            os.kill(child, signal.SIGKILL)
