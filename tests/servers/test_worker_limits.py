"""A function that takes longer than it may is ended, whatever it does; its worker need not be."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from palm.clients import Client
from palm.errors import DeadlineExceeded
from palm.runtime.limits import GRACE
from tests.support.cluster import ProcessCluster, until
from tests.support.local import local_cluster

#: Seconds that a message may take here, and those within which it is ended at the latest.
LIMIT = 0.5
WITHIN = LIMIT + 3.0

HANGS = """
import collections, ctypes, itertools, os, threading, time

def sleep(value):
    time.sleep(60)

def loop(value):
    while True:
        pass

def catch(value):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def catch_in_a_loop(value):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

def c_sleep(value):
    ctypes.PyDLL(None).usleep(60_000_000)

def hold(value):
    collections.deque(itertools.repeat(value), maxlen=0)

def clean_up(value):
    try:
        time.sleep(60)
    finally:
        print("cleaned up")

def ask(value):
    while True:
        worker.get("key")

def late(value):
    try:
        time.sleep(60)
    except BaseException:
        return "too late"

def pid(value):
    return os.getpid()

names = "sleep loop c_sleep catch catch_in_a_loop hold clean_up ask late pid".split()
worker = Worker("w", master="foo", functions={name: globals()[name] for name in names})
"""

BESIDE = """
if __name__ == "__main__":
    thread = threading.Thread(target=worker.start)
    thread.start()
    thread.join()
"""


def test_a_function_that_reacts_is_ended_and_its_worker_goes_on(
    processes: ProcessCluster,
) -> None:
    processes.master()
    worker = processes.worker(HANGS, "worker")
    with Client("foo") as client:
        for name in ("sleep", "loop", "c_sleep", "clean_up", "ask", "late"):
            started = time.monotonic()
            job = client.job(f"foo.{name}", [0], timeout=LIMIT, errors="return")
            (error,) = job
            took = time.monotonic() - started
            assert isinstance(error, DeadlineExceeded), (name, error)
            assert LIMIT <= took < WITHIN, name
            assert error.text.startswith("it took longer than its 0.5 s"), name
            assert (error.worker, error.attempts) == ("w", 1)
            assert name in error.text or name in ("late", "ask"), error.text
            assert client.eval("foo.pid", 0) == worker.process.pid
    assert "cleaned up" in worker.output
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["catch", "catch_in_a_loop"])
def test_a_function_that_takes_no_notice_is_ended_with_its_process(
    processes: ProcessCluster, name: str
) -> None:
    master = processes.master()
    worker = processes.worker(HANGS, "worker")
    with Client("foo") as client:
        started = time.monotonic()
        job = client.job(f"foo.{name}", [0], timeout=LIMIT, errors="return")
        (error,) = job
        took = time.monotonic() - started
        assert isinstance(error, DeadlineExceeded)
        assert (error.worker, error.attempts) == ("w", 1)
        assert LIMIT + GRACE <= took < WITHIN
        assert re.search(rf"in {name} at script\d\.py:\d+", error.text)
        assert worker.wait() == 1
        assert "its time is over: ending this process, and nobody starts another" in worker.output
        assert f"in {name}\n" in worker.output  # of the traceback
        master.wait_for("worker w left: a function took no notice")
        other = processes.worker(HANGS, "worker")
        assert client.eval("foo.pid", 0) == other.process.pid


@pytest.mark.slow
def test_what_a_batch_has_besides_is_neither_lost_nor_blamed(processes: ProcessCluster) -> None:
    processes.master()
    source = """
    import time
    def sometimes(value):
        while value == 300:
            try:
                time.sleep(60)
            except BaseException:
                pass
        return value
    """
    worker = "Worker('w', master='foo', functions={'sometimes': sometimes})"
    first = processes.worker(source, worker)
    with Client("foo") as client:
        job = client.job("foo.sometimes", range(1000), timeout=LIMIT, errors="return", ordered=True)
        assert first.wait() == 1
        processes.worker(source, worker)
        results = list(job)
        frame = job.to_frame(errors="return")
    assert isinstance(results.pop(300), DeadlineExceeded)
    assert results == [value for value in range(1000) if value != 300]
    assert set(frame["attempts"]) == {1}


@pytest.mark.slow
def test_c_code_that_holds_the_interpreter_is_ended_with_its_process(
    processes: ProcessCluster,
) -> None:
    processes.master()
    worker = processes.worker(HANGS, "worker")
    with Client("foo") as client:
        job = client.job("foo.hold", [0], timeout=LIMIT, errors="return")
        started = time.monotonic()
        assert worker.wait() == 1
        assert LIMIT + GRACE <= time.monotonic() - started < WITHIN
        assert "Timeout (0:00:02" in worker.output
        assert re.search(r"script\d\.py\", line \d+ in hold", worker.output)
        job.cancel()
        other = processes.worker(HANGS, "worker")
        assert client.eval("foo.pid", 0) == other.process.pid


@pytest.mark.slow
def test_c_code_that_holds_the_interpreter_is_not_run_again(processes: ProcessCluster) -> None:
    processes.master()
    workers = [processes.worker(HANGS, "worker") for _ in range(2)]
    with Client("foo") as client:
        job = client.job("foo.hold", [0], timeout=LIMIT, errors="return")
        assert job.wait(30)
        (error,) = job
    assert isinstance(error, DeadlineExceeded)
    assert error.attempts == 1
    # The outcome may be known a moment before the process has ended.
    until(lambda: sum(worker.process.poll() is None for worker in workers) == 1, within=20)


@pytest.mark.slow
def test_what_a_batch_has_besides_c_code_that_holds_the_interpreter_is_not_blamed(
    processes: ProcessCluster,
) -> None:
    processes.master()
    source = """
    import collections, itertools
    def sometimes(value):
        if value == 900:
            collections.deque(itertools.repeat(value), maxlen=0)
        return value
    """
    worker = "Worker('w', master='foo', functions={'sometimes': sometimes})"
    first = processes.worker(source, worker)
    with Client("foo") as client:
        job = client.job("foo.sometimes", range(1000), timeout=LIMIT, errors="return", ordered=True)
        assert first.wait() == 1
        for _ in range(2):
            processes.worker(source, worker)
        assert job.wait(20)
        results = list(job)
    assert isinstance(results.pop(900), DeadlineExceeded)
    assert results == [value for value in range(1000) if value != 900]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sleep", "loop"])
def test_beside_the_main_thread_a_function_is_ended_with_its_process(
    processes: ProcessCluster, name: str
) -> None:
    processes.master()
    worker = processes.run("from palm.servers import Worker\n" + HANGS + BESIDE)
    worker.wait_for("Got worker pull address")
    with Client("foo") as client:
        started = time.monotonic()
        job = client.job(f"foo.{name}", [0], timeout=LIMIT, errors="return")
        (error,) = job
        assert isinstance(error, DeadlineExceeded)
        assert time.monotonic() - started < WITHIN
        assert worker.wait() == 1
    assert worker.output.count("serving beside the main thread: a function that") == 1


def test_a_function_has_its_own_alarm_back(processes: ProcessCluster) -> None:
    processes.master()
    source = """
    import signal
    rings = []
    signal.signal(signal.SIGALRM, lambda *a: rings.append(1))
    def ring(value):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        signal.pause()
        return len(rings)
    def quick(value):
        return value
    """
    processes.worker(source, "Worker('w', master='foo', functions={'ring': ring, 'quick': quick})")
    with Client("foo") as client:
        assert list(client.job("foo.quick", range(100), timeout=5.0, ordered=True)) == list(
            range(100)
        )
        assert client.eval("foo.ring", 0) == 1


def test_a_child_of_a_function_outlives_the_time_of_the_message(processes: ProcessCluster) -> None:
    processes.master()
    source = """
    import os, time
    def fork(value):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        time.sleep(value)
        return pid
    """
    processes.worker(source, "Worker('w', master='foo', functions={'fork': fork})")
    with Client("foo") as client:
        (child,) = client.job("foo.fork", [0.2], timeout=0.4)
    try:
        time.sleep(0.4)
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["catch", "hold"])
def test_a_supervisor_starts_another_worker(palm_home: Path, tmp_path: Path, name: str) -> None:
    functions, _, _ = HANGS.partition("names = ")
    (tmp_path / "hangs.py").write_text(functions.replace("worker.get", "print"))
    with local_cluster() as local, local.client("foo") as client:
        local.start("master", "foo").wait_ready()
        worker = local.start("worker", "w", str(tmp_path / "hangs.py"), args=("--master", "foo"))
        pid = worker.wait_ready().pid
        (error,) = client.job(f"foo.{name}", [0], timeout=LIMIT, errors="return")
        assert isinstance(error, DeadlineExceeded)
        assert error.attempts == 1
        assert client.eval("foo.pid", 0) != pid
        assert f" in {name}" in worker.logs(stream="stderr")
