"""How a worker's thread shares its driver with the watcher."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from palm.errors import PalmError
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed, StopRequested, Tick
from palm.runtime import workerloop
from palm.runtime.workerloop import CALM_AFTER, READ_AFTER, WATCH_EVERY, WorkerLoop
from palm.wire.batch import Batch
from palm.wire.message import Task
from tests.support.cluster import until

TASK = Task(1, 1, b"s" * 16, b"j" * 8, 0, 1, 1, "f", 0)


def invoke() -> Invoke:
    return Invoke(TASK, Batch.pack([b""]), 0, 1)


def completed() -> list[Completed]:
    return [Completed(1, 1, 0, Batch.pack([b""]), 0.0, bytes(4), b"")]


class FakeDriver:
    """Waits as a driver does, and notes what it is told and by which thread."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.steps: list[str] = []
        self.events: list[Any] = []
        self.react: Callable[[Any], None] = lambda event: None
        self._inside = threading.Lock()

    def step(self, timeout: float) -> None:
        assert self._inside.acquire(blocking=False), "two threads use the driver at once"
        try:
            self.steps.append(threading.current_thread().name)
            if timeout:
                self.woken.wait(timeout)
            self.woken.clear()
        finally:
            self._inside.release()

    def handle(self, event: Any) -> None:
        self.events.append(event)
        self.react(event)


class Rig:
    """A loop that serves in a thread, with a fake driver."""

    def __init__(
        self, run: Callable[[Invoke], list[Completed]] = lambda invoke: completed()
    ) -> None:
        self.driver = FakeDriver()
        #: Whether each report was to be the last for a while.
        self.reports: list[bool] = []
        self.loop = WorkerLoop(
            self.driver,  # type: ignore[arg-type]
            run,
            self.driver.woken.set,
            report=self.reports.append,
        )
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._serve, name="serving")
        self.thread.start()

    def _serve(self) -> None:
        try:
            self.loop.serve()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def call(self) -> None:
        """Have a function called, as a machine would when a lease comes."""
        self.driver.react = self._begin
        self.loop.post(StopRequested(1.0))

    def _begin(self, event: Any) -> None:
        if isinstance(event, StopRequested):
            self.loop.invoke(invoke())

    def end(self) -> None:
        self.driver.react = lambda event: self.finished.append(self.loop.finish())
        self.finished: list[bool] = []
        self.loop.post(StopRequested(0.0))
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_what_is_posted_is_handled_at_once() -> None:
    rig = Rig()
    until(lambda: rig.driver.steps)
    rig.loop.post(StopRequested(3.0))
    until(lambda: rig.driver.events == [StopRequested(3.0)], within=2)
    rig.end()


def test_a_call_and_what_becomes_of_it() -> None:
    threads: list[str] = []

    def run(effect: Invoke) -> list[Completed]:
        threads.append(threading.current_thread().name)
        return completed()

    rig = Rig(run)
    rig.call()
    until(lambda: any(isinstance(event, Completed) for event in rig.driver.events))
    assert threads == ["serving"]
    rig.end()
    assert rig.finished == [False]


def test_the_watcher_reads_while_a_function_runs() -> None:
    go_on = threading.Event()

    def run(effect: Invoke) -> list[Completed]:
        assert go_on.wait(10)
        return completed()

    rig = Rig(run)
    rig.call()
    until(lambda: "palm-watcher" in rig.driver.steps)
    rig.driver.react = lambda event: None
    rig.loop.post(StopRequested(7.0))
    until(lambda: StopRequested(7.0) in rig.driver.events)
    assert not any(isinstance(event, Completed) for event in rig.driver.events)
    go_on.set()
    rig.end()


def test_the_watcher_reports_while_there_are_calls_once_more_and_then_sleeps() -> None:
    rig = Rig()
    until(lambda: rig.driver.steps)
    assert rig.reports == []
    rig.call()
    until(lambda: True in rig.reports)
    assert rig.reports.count(True) == 1
    assert len(rig.reports) > CALM_AFTER
    before = len(rig.reports)
    assert not threading.Event().wait(4 * WATCH_EVERY)
    assert len(rig.reports) == before
    rig.end()


def test_what_came_during_a_long_run_is_read_before_it_is_answered() -> None:
    read: list[int] = []

    def run(effect: Invoke) -> list[Completed]:
        time.sleep(2 * READ_AFTER)
        read.append(rig.driver.steps.count("serving"))
        return completed()

    rig = Rig(run)
    rig.call()
    begin = rig.driver.react

    def note(event: Any) -> None:
        begin(event)
        if isinstance(event, Completed):
            read.append(rig.driver.steps.count("serving"))

    rig.driver.react = note
    until(lambda: len(read) == 2)
    assert read[1] == read[0] + 1
    rig.end()


def test_leaving_says_whether_a_function_runs() -> None:
    go_on, begun = threading.Event(), threading.Event()

    def run(effect: Invoke) -> list[Completed]:
        begun.set()
        assert go_on.wait(10)
        return completed()

    rig = Rig(run)
    rig.call()
    assert begun.wait(10)
    assert rig.loop.finish() is True
    go_on.set()
    rig.thread.join(10)
    assert not rig.thread.is_alive()


def test_a_function_may_wait_for_an_event_in_its_own_thread() -> None:
    done = threading.Event()

    def run(effect: Invoke) -> list[Completed]:
        rig.loop.wait_for(StopRequested(9.0), done)
        return completed()

    rig = Rig(run)
    rig.call()
    rig.driver.react = lambda event: (
        done.set() if event == StopRequested(9.0) else rig._begin(event)
    )
    until(lambda: any(isinstance(event, Completed) for event in rig.driver.events))
    rig.end()


def test_another_thread_may_wait_for_an_event() -> None:
    rig = Rig()
    done = threading.Event()
    rig.driver.react = lambda event: done.set()
    rig.loop.wait_for(StopRequested(9.0), done)
    assert done.is_set()
    rig.end()


def test_a_function_that_waits_when_the_worker_stops_is_told_so() -> None:
    begun, errors = threading.Event(), []

    def run(effect: Invoke) -> list[Completed]:
        begun.set()
        with pytest.raises(PalmError, match="stopped before its master answered") as caught:
            rig.loop.wait_for(Tick(), threading.Event())
        errors.append(caught.value)
        return completed()

    rig = Rig(run)
    rig.call()
    assert begun.wait(10)
    rig.end()
    assert errors
    assert rig.finished[0] is True


@pytest.mark.parametrize("how", ["finished", "raised", "before"])
def test_another_thread_that_waits_when_the_worker_stops_is_told_so(how: str) -> None:
    def run(effect: Invoke) -> list[Completed]:
        raise RuntimeError("a bug")

    rig = Rig(run)
    if how == "before":
        rig.end()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(rig.loop.wait_for, Tick(), threading.Event())
        if how != "before":
            until(lambda: Tick() in rig.driver.events)
            rig.end() if how == "finished" else rig.call()
        with pytest.raises(PalmError, match="stopped before its master answered"):
            waits.result(10)
    rig.thread.join(10)
    assert not rig.thread.is_alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_no_thread_is_left_when_a_call_raises(error: BaseException) -> None:
    def run(effect: Invoke) -> list[Completed]:
        raise error

    rig = Rig(run)
    rig.call()
    rig.thread.join(10)
    assert rig.error is error
    assert not [t for t in threading.enumerate() if t.name == "palm-watcher"]


def test_the_watcher_sleeps_while_there_is_nothing_to_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workerloop, "WATCH_EVERY", 0.005)
    monkeypatch.setattr(workerloop, "CALM_AFTER", 3)
    rig = Rig(lambda effect: time.sleep(0.03) or completed())
    for _ in range(3):
        rig.call()
        until(lambda: not rig.loop._awake.is_set() and rig.loop._calls)
        calls = rig.loop._calls
        rig.call()
        until(lambda calls=calls: rig.loop._calls > calls)
    assert "palm-watcher" in rig.driver.steps
    rig.end()
