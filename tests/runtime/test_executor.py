"""What becomes of the messages of a lease."""

from __future__ import annotations

import sys
import threading
import time
from array import array
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import pytest

from palm.errors import WireError
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime import executor
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.wire import batch, codec, outcome
from palm.wire.batch import INLINE_LIMIT, Batch
from palm.wire.codec import Codec, decode_values, encode_values
from palm.wire.message import Task
from palm.wire.outcome import Failure, Kind, decode_failure


def invoke_of(items: list[Any], start: int = 0, lease: int = 1) -> Invoke:
    kind, payloads = encode_values(items)
    task = Task(1, lease, b"s" * 16, b"j" * 8, 0, len(items), 1, "function", kind)
    return Invoke(task, Batch.pack(payloads), start, len(items))


def run(function: Callable[[Any], Any], items: list[Any]) -> Completed:
    (completed,) = Executor(FunctionTable({"function": function})).run(invoke_of(items))
    return completed


@pytest.fixture(autouse=True)
def _runs_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is; but for the tests of that."""
    monkeypatch.setattr(executor, "ANSWER_AFTER", 20.0)


def results(completed: Completed) -> list[Any]:
    """Results, and failures in the places of those that have none."""
    payloads = completed.batch.payloads()
    kinds = completed.kinds or bytes(completed.n)
    return [
        decode_failure(payload) if kind else decode_values(completed.codec, [payload])[0]
        for kind, payload in zip(kinds, payloads, strict=True)
    ]


def fail_with(error: BaseException) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        raise error

    return function


def only_failure(completed: Completed) -> Failure:
    (failure,) = results(completed)
    assert isinstance(failure, Failure)
    return failure


def test_results_come_in_order_with_their_seconds() -> None:
    before = time.time()
    completed = run(lambda value: value + 1, [1, 2, 3])
    assert results(completed) == [2, 3, 4]
    assert (completed.lease, completed.n, completed.kinds) == (1, 3, b"")
    assert before <= completed.started <= time.time()
    seconds = array("f", completed.durations)
    assert len(seconds) == 3
    assert all(0 <= value < 1 for value in seconds)


def test_answers_are_cut_where_a_body_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_BODY", 2 * INLINE_LIMIT)

    def blow_up(size: int) -> bytes:
        if size == 13:
            raise ValueError(size)
        return bytes(size)

    sizes = [16_000, 16_000, 16_000, 20_000, 1, 15_000, 13, 16_000, 16_000]
    answers = Executor(FunctionTable({"function": blow_up})).run(invoke_of(sizes))
    assert [answer.over for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert all(len(answer.batch.body) <= 2 * INLINE_LIMIT for answer in answers)
    assert [answer.n for answer in answers][:2] == [2, 5]
    assert sum(len(answer.durations) for answer in answers) == 4 * len(sizes)
    found = [result for answer in answers for result in results(answer)]
    assert isinstance(found.pop(6), Failure)
    assert list(map(len, found)) == [size for size in sizes if size != 13]


def test_bytes_pass_untouched() -> None:
    completed = run(lambda value: value + b"!", [b"a", b"b"])
    assert completed.codec == Codec.RAW
    assert results(completed) == [b"a!", b"b!"]


def test_a_long_lease_is_answered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "ANSWER_AFTER", 0.02)
    machine = Executor(FunctionTable({"function": lambda value: time.sleep(0.008) or value}))
    items = list(range(10))
    invoke = invoke_of(items)
    seen: list[int] = []
    while len(seen) < 10:
        invoke.start = len(seen)
        (completed,) = machine.run(invoke)
        assert 1 <= completed.n <= 4
        seen += results(completed)
    assert seen == items


def test_large_results_are_answered_in_parts() -> None:
    machine = Executor(FunctionTable({"function": lambda value: bytes(1000)}))
    (completed,) = machine.run(invoke_of([0] * 1024))
    assert completed.n == 1024
    (completed,) = machine.run(invoke_of([0] * 1024, lease=2))
    assert completed.n * 1000 <= executor.ANSWER_SIZE


def test_small_results_after_large_ones_are_soon_answered_together_again() -> None:
    size = 100_000
    machine = Executor(FunctionTable({"function": lambda value: bytes(size)}))
    machine.run(invoke_of([0] * 16))
    (completed,) = machine.run(invoke_of([0] * 16, lease=2))
    assert completed.n == 2
    size = 16
    for lease in range(3, 14):
        (completed,) = machine.run(invoke_of([0] * 1024, lease=lease))
    assert completed.n == 1024


def test_short_calls_are_timed_together() -> None:
    before = time.perf_counter()
    completed = run(lambda value: value, list(range(4000)))
    elapsed = time.perf_counter() - before
    seconds = array("f", completed.durations)
    assert len(set(seconds)) < 4000 / 4
    assert 0 < sum(seconds) <= elapsed


def test_calls_are_timed_one_by_one_once_some_took_long() -> None:
    machine = Executor(FunctionTable({"function": lambda seconds: time.sleep(seconds)}))
    items = [0.0] * 5 + [0.05, 0.05] + [0.0] * 5
    (first,) = machine.run(invoke_of(items))
    (second,) = machine.run(invoke_of(items, lease=2))
    assert sum(array("f", first.durations)) > 0.099
    seconds = array("f", second.durations)
    assert min(seconds[5:7]) > 0.049
    assert sum(array("f", second.durations)) > 0.099


def test_what_is_done_can_be_answered_while_a_call_goes_on() -> None:
    early: list[Completed | None] = []

    def function(value: int) -> int:
        if value == 500:
            early.append(machine.take_early())
        return value

    machine = Executor(FunctionTable({"function": function}))
    (rest,) = machine.run(invoke_of(list(range(1000))))
    (first,) = early
    assert first is not None
    assert results(first) == list(range(500))
    assert results(rest) == list(range(500, 1000))
    assert len(first.durations) == len(rest.durations) == 4 * 500
    assert min(array("f", first.durations + rest.durations)) >= 0
    assert (first.over, rest.over) == (False, True)


def test_function_of_two_arguments_is_told_that_it_gets_one() -> None:
    (failure,) = results(run(lambda x, y: x, [1]))
    assert failure.text.endswith("(a function is called with one argument, the payload)")
    (failure,) = results(run(lambda x: divmod(x), [1]))
    assert "the payload" not in failure.text, "that is the user's own call"


def test_async_function_says_what_to_write_instead() -> None:
    async def later(value: int) -> int:
        return value

    (failure,) = results(run(later, [1]))
    assert (failure.type, failure.text) == (
        "TypeError",
        "the function is async, and was not run: serve a plain one that calls asyncio.run",
    )


def test_call_has_its_time_when_it_is_taken_as_it_ends() -> None:
    early: list[Completed | None] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.001):
            early.append(machine.take_early())

    def function(n: int) -> int:
        kept = list(map(float, range(n)))
        return len(kept)  # to free it takes long: whoever waits meanwhile goes on before we do

    machine = Executor(FunctionTable({"function": function}))
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        began = time.perf_counter()
        last = machine.run(invoke_of([2_000_000]))
        took = time.perf_counter() - began
    finally:
        over.set()
        asking.join()
    durations = array("f", b"".join(each.durations for each in [*early, *last] if each))
    assert len(durations) == 1
    assert took / 2 < durations[0] <= took


def test_what_nobody_wants_any_more_is_not_begun() -> None:
    calls: list[int] = []
    invoke = invoke_of([1, 2, 3])

    def function(value: int) -> int:
        calls.append(value)
        invoke.stop = 0
        return value

    (completed,) = Executor(FunctionTable({"function": function})).run(invoke)
    assert (calls, completed.n) == ([1], 1)


def test_an_error_takes_the_place_of_its_result_only() -> None:
    completed = run(lambda value: 6 / value, [1, 0, 3])
    assert completed.kinds == bytes([0, Kind.TASK_ERROR, 0])
    first, failure, last = results(completed)
    assert (first, last) == (6.0, 2.0)
    assert (failure.type, failure.text) == ("ZeroDivisionError", "division by zero")


def test_a_traceback_begins_with_the_function() -> None:
    def function(value: Any) -> Any:
        raise LookupError("here")

    text = only_failure(run(function, [1])).traceback
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'raise LookupError("here")' in text
    assert "in function" in text
    assert "palm/runtime/executor.py" not in text


def test_a_traceback_has_its_cause() -> None:
    def function(value: Any) -> Any:
        try:
            {}[value]
        except KeyError as error:
            raise ValueError("wrong key") from error

    text = only_failure(run(function, ["k"])).traceback
    assert "KeyError: 'k'" in text
    assert "direct cause" in text


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: 1, "takes 0 positional arguments but 1 was given"),
        (lambda a, b: 1, "missing 1 required positional argument: 'b'"),
    ],
)
def test_a_function_of_another_number_of_arguments_fails(function: Any, text: str) -> None:
    failure = only_failure(run(function, [1]))
    assert failure.type == "TypeError"
    assert text in failure.text
    assert "palm/runtime/executor.py" not in failure.traceback


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit("over"), MemoryError()])
def test_a_function_cannot_end_its_worker(error: BaseException) -> None:
    failure = only_failure(run(fail_with(error), [1]))
    assert failure.type == type(error).__name__


def test_sys_exit_says_its_code() -> None:
    failure = only_failure(run(lambda value: sys.exit(value), [3]))
    assert (failure.type, failure.text) == ("SystemExit", "3")


def test_an_interrupt_ends_the_worker() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(fail_with(KeyboardInterrupt()), [1])


class BrokenTextError(Exception):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __str__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no text"), SystemExit(1)])
def test_an_error_without_a_text_has_its_type(error: BaseException) -> None:
    failure = only_failure(run(fail_with(BrokenTextError(error)), [1]))
    assert failure.type == "BrokenTextError"
    assert type(error).__name__ in failure.text
    assert "BrokenTextError" in failure.traceback


def test_a_text_that_is_no_unicode_is_escaped() -> None:
    failure = only_failure(run(fail_with(ValueError("a\udcffb")), [1]))
    assert failure.text == "a\\udcffb"


def test_a_deep_recursion_is_a_short_traceback() -> None:
    def one(value: int) -> int:
        return two(value)

    def two(value: int) -> int:
        return one(value)

    failure = only_failure(run(one, [1]))
    assert failure.type == "RecursionError"
    assert len(failure.traceback) <= outcome.MAX_TEXT + 100
    assert failure.traceback.startswith("Traceback")
    assert "characters left out" in failure.traceback
    assert failure.traceback.rstrip().splitlines()[-1].startswith("RecursionError")


def test_a_huge_text_is_cut_in_the_middle() -> None:
    failure = only_failure(run(fail_with(ValueError("a" + 1_000_000 * "-" + "z")), [1]))
    assert len(failure.text) <= outcome.MAX_TEXT + 100
    assert failure.text[0] + failure.text[-1] == "az"
    assert len(failure.traceback) <= outcome.MAX_TEXT + 100


def test_an_error_that_is_returned_is_a_result() -> None:
    completed = run(lambda value: ValueError(value), ["x"])
    assert completed.kinds == b""
    (value,) = results(completed)
    assert type(value) is ValueError
    assert value.args == ("x",)


def test_a_result_that_cannot_be_pickled_fails_alone() -> None:
    def function(value: int) -> Any:
        return sys._getframe() if value == 1 else {value}

    completed = run(function, [0, 1, 2])
    first, failure, last = results(completed)
    assert (first, last) == ({0}, {2})
    assert failure.type == "TypeError"
    assert failure.text == "its result cannot be sent: cannot pickle 'frame' object"


class Moody:
    """Can be pickled every other time."""

    times = 0

    def __reduce__(self) -> Any:
        type(self).times += 1
        if type(self).times % 2:
            raise ValueError("not now")
        return Moody, ()


class Exiting:
    def __reduce__(self) -> Any:
        raise SystemExit("from a result")


def test_a_result_that_ends_its_pickling_fails_alone() -> None:
    completed = run(lambda n: Exiting() if n == 1 else {n}, [0, 1, 2])
    first, failure, last = results(completed)
    assert (first, last) == ({0}, {2})
    assert failure.text == "its result cannot be sent: from a result"


def test_a_result_that_can_be_pickled_now_and_then_ends_nothing() -> None:
    Moody.times = 0
    completed = run(lambda n: Moody() if n == 1 else {n}, [0, 1, 2])
    assert completed.n == 3
    assert results(completed)[::2] == [{0}, {2}]


def test_failures_and_unpicklable_results_keep_their_places() -> None:
    def function(value: int) -> Any:
        return {1: lambda: 1 / 0, 2: sys._getframe}.get(value, lambda: value)()

    completed = run(function, [0, 1, 2, 3])
    types = [getattr(value, "type", value) for value in results(completed)]
    assert types == [0, "ZeroDivisionError", "TypeError", 3]


def test_a_result_beyond_the_limit_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "MAX_PAYLOAD", 1000)
    monkeypatch.setattr(codec, "MAX_PAYLOAD", 1000)
    for make in (bytes, lambda size: {b"x" * size}):
        completed = run(make, [10, 2000])
        assert completed.kinds == bytes([0, Kind.PAYLOAD_TOO_LARGE])
        failure = results(completed)[1]
        assert failure.limit == 1000
        assert "result" in failure.text


class Unreadable:
    """Cannot be read where it arrives."""

    def __init__(self, error: str) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return _fail, (self.error,)


def _fail(error: str) -> Any:
    raise {"exit": SystemExit("at import"), "missing": ModuleNotFoundError("no 'x'")}[error]


@pytest.mark.parametrize(("error", "kind"), [("exit", SystemExit), ("missing", ImportError)])
def test_a_payload_that_cannot_be_read_fails_alone(error: str, kind: type) -> None:
    calls: list[Any] = []
    completed = run(lambda value: calls.append(value), [1, Unreadable(error), {2}])
    failure = results(completed)[1]
    assert results(completed)[::2] == [None, None]
    assert calls == [1, {2}]
    assert failure.type in ("SystemExit", "ModuleNotFoundError")
    assert failure.text.startswith("its payload cannot be read: ")
    assert issubclass(kind, (SystemExit, ImportError))


def test_bytes_that_are_no_pickle_fail() -> None:
    invoke = invoke_of([{1}])
    invoke.batch = Batch.pack([b"\0\0\0\0nonsense"])
    (completed,) = Executor(FunctionTable({"function": print})).run(invoke)
    assert only_failure(completed).type in (WireError.__name__, UnpicklingError.__name__)


def test_payloads_of_the_lease_before_are_not_seen() -> None:
    machine = Executor(FunctionTable({"function": lambda value: value}))
    assert results(*machine.run(invoke_of([1, 2]))) == [1, 2]
    assert results(*machine.run(invoke_of([3, 4], start=1, lease=2))) == [4]
    assert results(*machine.run(invoke_of([5, 6], lease=2))) == [5, 6]
