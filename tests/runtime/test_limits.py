"""How a call that takes too long is ended, in the main thread and beside it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from palm.protocol.effects import Invoke
from palm.runtime import limits
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.runtime.limits import OutOfTime, TimeLimit, limit_of
from palm.wire.batch import Batch
from palm.wire.codec import decode_values, encode_values
from palm.wire.message import Task
from palm.wire.outcome import Kind, decode_failure
from tests.support.cluster import until

LIMIT = 0.05


@pytest.fixture(autouse=True)
def _alarm_is_given_back() -> Iterator[None]:
    """The time limit of the test itself may be one."""
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    yield
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


def call(function: Callable[[Any], Any], seconds: float = LIMIT) -> Any:
    limit = TimeLimit()
    with limit.around(seconds, 0.0):
        return limit.call(function, 1)


def spin(value: Any) -> None:
    while True:
        pass


@pytest.mark.parametrize("function", [lambda value: time.sleep(30), spin])
def test_a_call_is_ended_in_the_main_thread(function: Any) -> None:
    started = time.monotonic()
    with pytest.raises(OutOfTime, match=r"^it took longer than its 0\.05 s, and was in "):
        call(function)
    assert LIMIT <= time.monotonic() - started < 5


def test_a_call_that_is_quick_is_left_alone() -> None:
    assert call(lambda value: value + 1, 30.0) == 2
    with pytest.raises(ZeroDivisionError):
        call(lambda value: value / 0, 30.0)


def test_what_comes_after_the_time_does_not_count() -> None:
    def returns(value: Any) -> str:
        with suppress(BaseException):
            time.sleep(30)
        return "too late"

    def raises(value: Any) -> None:
        try:
            time.sleep(30)
        except BaseException as error:
            raise ValueError from error

    for function in (returns, raises):
        with pytest.raises(OutOfTime):
            call(function)


def test_an_interrupt_goes_through() -> None:
    def interrupt(value: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(interrupt)


def test_calls_that_end_at_about_their_time_raise_nothing_else() -> None:
    limit = TimeLimit()
    ended = late = 0
    with limit.around(0.002, 0.0):
        for i in range(300):
            try:
                limit.call(lambda value: time.sleep(value), 0.0015 + 0.00001 * (i % 60))
                ended += 1
            except OutOfTime:
                late += 1
    assert ended + late == 300
    assert late


def test_what_is_held_is_ended_only_where_it_may_be() -> None:
    limit = TimeLimit()
    steps: list[str] = []

    def wait(value: Any) -> None:
        with limit.held() as check:
            time.sleep(3 * LIMIT)
            steps.append("whole")
            check()
            steps.append("never")

    with limit.around(LIMIT, 0.0), pytest.raises(OutOfTime):
        limit.call(wait, 1)
    assert steps == ["whole"]


def test_holding_without_a_limit_does_nothing() -> None:
    with TimeLimit().held() as check:
        check()


def test_beside_the_main_thread_nothing_is_raised_and_it_is_said_once() -> None:
    notes: list[str] = []
    limit = TimeLimit(notes.append)
    found: list[Any] = []

    def run() -> None:
        for _ in range(2):
            with limit.around(LIMIT, 0.0), pytest.raises(OutOfTime):
                limit.call(lambda value: time.sleep(2 * LIMIT) or found.append(value), 1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert found == [1, 1]
    assert len(notes) == 1
    assert "beside the main thread" in notes[0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.5, 1.5), (0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 0.0), (1e300, 0.0)],
)
def test_what_is_no_limit(seconds: float, expected: float) -> None:
    assert limit_of(seconds) == expected


# Through the executor


def invoke_of(items: list[Any], timeout: float) -> Invoke:
    kind, payloads = encode_values(items)
    task = Task(1, 1, b"s" * 16, b"j" * 8, 0, len(items), 1, "function", kind, timeout)
    return Invoke(task, Batch.pack(payloads), 0, len(items))


def test_one_that_is_out_of_time_fails_alone() -> None:
    executor = Executor(FunctionTable({"function": lambda value: time.sleep(value) or value}))
    (completed,) = executor.run(invoke_of([0.0, 30.0, 0.0], LIMIT))
    assert completed.n == 2, "it is answered before the next one begins"
    assert completed.kinds == bytes([Kind.RESULT, Kind.DEADLINE_EXCEEDED])
    failure = decode_failure(completed.batch.payloads()[1])
    assert failure.type == "DeadlineExceeded"
    assert "in <lambda> at test_limits.py:" in failure.text
    assert memoryview(completed.durations).cast("f")[1] >= LIMIT


def test_one_that_does_not_end_is_answered_by_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "GRACE", 0.1)
    go_on = threading.Event()

    def function(value: int) -> int:
        assert value < 2 or go_on.wait(20)
        return value

    executor = Executor(FunctionTable({"function": function}))
    invoke = invoke_of([0, 1, 2, 3], LIMIT)
    thread = threading.Thread(target=executor.run, args=(invoke,))
    thread.start()
    try:
        assert executor.take_overdue() == []
        early = until(executor.take_early)
        assert (early.n, early.over) == (2, False)
        (overdue,) = until(executor.take_overdue)
    finally:
        go_on.set()
        thread.join(20)
    assert (overdue.n, overdue.over) == (1, True)
    assert overdue.kinds == bytes([Kind.DEADLINE_EXCEEDED])
    failure = decode_failure(overdue.batch.payloads()[0])
    assert "and was in " in failure.text
    assert memoryview(overdue.durations).cast("f")[0] >= LIMIT + 0.1
    assert invoke.stop == 0, "nothing more is begun"
    assert executor.take_overdue() == []


def test_results_before_one_that_does_not_end_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE", 0.1)
    go_on = threading.Event()
    executor = Executor(
        FunctionTable({"function": lambda value: value if value < 2 else go_on.wait(20)})
    )
    thread = threading.Thread(target=executor.run, args=(invoke_of([0, 1, 2, 3], LIMIT),))
    thread.start()
    try:
        (overdue,) = until(executor.take_overdue)
    finally:
        go_on.set()
        thread.join(20)
    assert overdue.kinds == bytes([0, 0, Kind.DEADLINE_EXCEEDED])
    assert decode_values(overdue.codec, overdue.batch.payloads()[:2]) == [0, 1]
