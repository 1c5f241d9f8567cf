"""A job: its results, its errors, its window and its end."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import palm.clients.feeder
import palm.wire.batch
import palm.wire.codec
from palm.clients import Client, Job
from palm.clients.window import MAX_MESSAGES
from palm.errors import ConfigError, FunctionNotFound, JobError, PayloadTooLarge, TaskError
from tests.support.cluster import ThreadCluster, interrupted, is_waited_for, until

Serve = Callable[..., Client]

#: What may be submitted beyond a window that has room for one more message: the rest of a batch.
BATCH = palm.wire.batch.MAX_MESSAGES


def identity(value: Any) -> Any:
    return value


def odd(value: int) -> int:
    """Fails for odd numbers."""
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


class Gate:
    """A function that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()

    def __call__(self, value: Any) -> Any:
        self.begun.set()
        assert self.open.wait(20)
        return value


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Closed until the test opens it, or is over."""
    gate = Gate()
    yield gate
    gate.open.set()


def in_two_parts(first: int, total: int, gate: Gate) -> Iterator[int]:
    """Numbers; those from ``first`` on only when the gate is open."""
    yield from range(first)
    gate.open.wait(20)
    yield from range(first, total)


class Counted:
    """An endless source that counts what is taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            self.taken += 1
            yield number


# Iterating


def test_results_come_as_they_are(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", range(5000))
    assert sorted(job) == list(range(5000))
    assert job.state == "done"


def test_a_function_needs_no_name_of_its_master(foo: Serve) -> None:
    assert list(foo(identity).job("identity", [1, 2], ordered=True)) == [1, 2]


def test_ordered_results_come_in_the_order_of_the_items(cluster: ThreadCluster) -> None:
    def uneven(value: int) -> int:
        time.sleep(0.003 if value % 5 == 0 else 0)
        return value

    cluster.master()
    for name in ("a", "b", "c"):
        cluster.worker({"uneven": uneven}, name)
    assert list(cluster.client().job("foo.uneven", range(300), ordered=True)) == list(range(300))


def test_next_goes_on_after_an_error(foo: Serve) -> None:
    job = foo(odd).job("foo.odd", range(4), ordered=True)
    assert next(job) == 0
    with pytest.raises(TaskError, match="1 is odd"):
        next(job)
    assert next(job) == 2
    with pytest.raises(TaskError, match="3 is odd"):
        next(job)
    with pytest.raises(StopIteration):
        next(job)
    with pytest.raises(StopIteration):
        next(job)


def test_a_loop_goes_on_after_an_error(foo: Serve) -> None:
    job = foo(odd).job("foo.odd", range(100), ordered=True)
    seen: list[Any] = []
    while len(seen) < 100:
        try:
            seen.extend(iter(job.__next__, object()))
        except TaskError as error:
            seen.append(error.index)
        except StopIteration:
            break
    assert sorted(seen) == list(range(100))


def test_a_loop_that_was_left_is_taken_up_again(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", range(3000), ordered=True).collect()
    seen = []
    for value in job:
        seen.append(value)
        if value % 700 == 500:
            break
    for value in job:
        seen.append(value)
        if value % 700 == 600:
            break
    seen.append(next(job))
    seen.extend(job)
    assert seen == list(range(3000))


def test_errors_are_returned_in_their_places(foo: Serve) -> None:
    results = list(foo(odd).job("foo.odd", range(5), ordered=True, errors="return"))
    assert results[::2] == [0, 2, 4]
    assert [type(error) for error in results[1::2]] == [TaskError, TaskError]
    error = results[3]
    assert (error.type, error.text, error.index) == ("ValueError", "3 is odd", 3)
    assert (error.function, error.worker, error.attempts) == ("foo.odd", "w", 1)
    assert str(error).rstrip().endswith("ValueError: 3 is odd")


def test_errors_are_none_in_their_places(foo: Serve) -> None:
    job = foo(odd).job("foo.odd", range(5), ordered=True, errors="coerce")
    assert list(job) == [0, None, 2, None, 4]


def test_another_way_with_errors_is_refused(foo: Serve) -> None:
    client = foo(identity)
    with pytest.raises(ConfigError, match="'raise', 'return', 'coerce'"):
        client.job("foo.identity", [1], errors="ignore")
    assert client.jobs == []
    with pytest.raises(ConfigError, match="'raise', 'return', 'coerce'"):
        client.job("foo.identity", [1]).to_frame(errors="ignore")


def test_an_iterated_job_is_over(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", range(3))
    assert sorted(job) == [0, 1, 2]
    assert list(job) == []


def test_results_of_a_job_are_the_items_of_another(foo: Serve) -> None:
    def twice(value: int) -> int:
        return 2 * value

    client = foo(identity, twice)
    inner = client.job("foo.identity", (n for n in range(3000)), ordered=True)
    outer = client.job("foo.twice", inner)
    assert outer.to_frame()["result"].tolist() == list(range(0, 6000, 2))


# Frames of jobs with errors


def test_a_frame_raises_the_first_error_and_counts_the_others(foo: Serve) -> None:
    def picky(value: int) -> float:
        if value == 50:
            raise LookupError("fifty")
        return 1 / (value % 3)

    calls: list[int] = []

    def counted(value: int) -> float:
        calls.append(value)
        return picky(value)

    job = foo(counted).job("foo.counted", range(100))
    with pytest.raises(TaskError, match="division by zero") as caught:
        job.to_frame()
    assert caught.value.index == 0
    (note,) = caught.value.__notes__
    assert note.startswith("35 of 100 messages failed: ZeroDivisionError 34, LookupError 1. ")
    assert 'job.to_frame(errors="return")' in note
    assert job.state == "done"
    assert len(calls) == 100
    result = job.to_frame(errors="return")
    assert len(calls) == 100
    assert result["error"].notna().sum() == 35
    assert result.loc[50, "error"] == "LookupError: fifty"
    with pytest.raises(TaskError) as again:
        job.to_frame()
    assert len(again.value.__notes__) == 1


def test_a_single_error_needs_no_note(foo: Serve) -> None:
    with pytest.raises(TaskError) as caught:
        foo(odd).job("foo.odd", [0, 1, 2]).to_frame()
    assert not hasattr(caught.value, "__notes__")


def test_ten_thousand_failures_are_one_traceback(foo: Serve) -> None:
    def wrong(value: int) -> Any:
        return {}[value] if value % 10 else 1 / 0

    job = foo(wrong).job("foo.wrong", range(10_000))
    with pytest.raises(TaskError) as caught:
        job.to_frame()
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("in wrong") == 1
    assert "10,000 of 10,000 messages failed: KeyError 9,000, ZeroDivisionError 1,000." in text
    assert len(text) < 5000
    failures = job.failures
    assert failures["type"].value_counts().to_dict() == {
        "KeyError": 9000,
        "ZeroDivisionError": 1000,
    }
    assert failures["input"].tolist() == list(range(10_000))


def test_failures_have_their_inputs_and_the_index(foo: Serve) -> None:
    def check(row: dict[str, Any]) -> int:
        if row["n"] > 1:
            raise ValueError(f"{row['name']} is too much")
        return row["n"]

    data = pd.DataFrame({"n": [1, 2, 3], "name": ["a", "b", "c"]}, index=["x", "y", "z"])
    job = foo(check).job("foo.check", data, errors="return").collect()
    failures = job.failures
    assert list(failures.columns) == ["input", "type", "error", "traceback", "worker", "attempts"]
    assert failures.index.tolist() == ["y", "z"]
    assert failures.loc["y", "input"] == {"n": 2, "name": "b"}
    assert failures["type"].tolist() == ["ValueError"] * 2
    assert failures["error"].tolist() == ["b is too much", "c is too much"]
    assert failures["traceback"].str.contains("in check").all()
    assert failures["worker"].tolist() == ["w", "w"]
    assert failures["attempts"].tolist() == [1, 1]
    assert failures["attempts"].dtype == np.dtype("int64")


def test_without_failures_there_is_an_empty_frame(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", [1]).collect()
    assert len(job.failures) == 0
    assert list(job.failures.columns)[:2] == ["input", "type"]


def test_failures_of_what_was_iterated_are_kept(foo: Serve) -> None:
    job = foo(odd).job("foo.odd", range(10), errors="coerce")
    list(job)
    assert job.failures["input"].tolist() == [1, 3, 5, 7, 9]
    assert job.to_frame()["error"].notna().sum() == 5


# Part of a frame


def test_a_part_of_the_frame_is_there_during_the_run(foo: Serve, gate: Gate) -> None:
    job = foo(identity).job("foo.identity", in_two_parts(5, 10, gate))
    until(lambda: job.progress.done == 5)
    part = job.to_frame(partial=True)
    assert part.index.tolist() == part["result"].tolist() == [0, 1, 2, 3, 4]
    assert job.state == "running"
    gate.open.set()
    assert job.to_frame()["result"].tolist() == list(range(10))


def test_a_part_has_the_index_of_its_rows(cluster: ThreadCluster, gate: Gate) -> None:
    def work(value: int) -> int:
        return gate(value) if value == 1 else value

    cluster.master()
    for name in ("w0", "w1"):
        cluster.worker({"work": work}, name)
    job = cluster.client().job("foo.work", pd.Series([1, 2, 3], index=list("abc")))
    until(lambda: job.progress.done == 2)
    part = job.to_frame(partial=True)
    assert part.index.tolist() == ["b", "c"]
    assert part["result"].tolist() == [2, 3]


def test_before_the_first_outcome_the_part_is_empty(foo: Serve, gate: Gate) -> None:
    job = foo(named("wait", gate)).job("foo.wait", [1, 2])
    part = job.to_frame(partial=True)
    assert len(part) == 0
    assert list(part.columns)[-1] == "error"


def named(name: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        return call(value)

    function.__name__ = name
    return function


@pytest.mark.parametrize(
    "take", [Job.to_frame, Job.collect, Job.wait, list], ids=lambda f: f.__name__
)
def test_an_interrupt_leaves_what_was_done(foo: Serve, gate: Gate, take: Any) -> None:
    client = foo(identity)
    job = client.job("foo.identity", in_two_parts(7, 20, gate))
    seven_are_done = lambda: job.progress.done == 7 and is_waited_for(job)  # noqa: E731
    with pytest.raises(KeyboardInterrupt), interrupted(seven_are_done):
        take(job)
    assert job.state == "cancelled"
    part = client.jobs[-1].to_frame(partial=True)
    assert part["result"].tolist() == list(range(7))
    assert client.eval("foo.identity", 3) == 3


def test_an_interrupt_of_the_callers_code_leaves_the_job_alone(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", range(3), ordered=True)

    def interrupt(value: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map(interrupt, job))
    assert job.state != "cancelled"
    assert next(job) == 1


def test_an_interrupt_ends_the_wait_for_a_master(cluster: ThreadCluster) -> None:
    client = cluster.client("nobody")
    started = time.monotonic()
    job = client.job("nobody.f", [1])
    with (
        pytest.raises(KeyboardInterrupt) as caught,
        interrupted(lambda: is_waited_for(job)),
    ):
        job.to_frame()
    assert time.monotonic() - started < 2
    assert "job.to_frame(partial=True)" in "".join(caught.value.__notes__), "the way out"


def test_a_cancelled_job_has_the_part_that_was_done(foo: Serve, gate: Gate) -> None:
    def work(value: int) -> int:
        return gate(value) if value >= 7 else value

    go_on = Gate()
    job = foo(work).job("foo.work", in_two_parts(7, 20, go_on))
    until(lambda: job.progress.done == 7)
    go_on.open.set()
    assert gate.begun.wait(10)
    job.cancel()
    assert job.to_frame(partial=True)["result"].tolist() == list(range(7))
    whole = job.to_frame(errors="return")
    assert whole.index.tolist() == list(range(len(whole)))
    assert whole["error"].iloc[:7].isna().all()
    assert set(whole["error"].iloc[7:]) == {"Cancelled: the job was cancelled"}


# How many


def test_messages_end_an_endless_source(foo: Serve) -> None:
    source = Counted()
    job = foo(identity).job("foo.identity", source, messages=1500)
    assert sorted(job) == list(range(1500))
    assert job.state == "done"
    assert source.taken == 1500
    assert len(job) == 1500


def test_messages_beyond_the_source_are_none(foo: Serve) -> None:
    client = foo(identity)
    assert len(client.job("foo.identity", [1, 2], messages=10)) == 2
    assert sorted(client.job("foo.identity", iter([1, 2]), messages=10)) == [1, 2]


def test_no_messages_are_no_work(foo: Serve) -> None:
    source = Counted()
    job = foo(identity).job("foo.identity", source, messages=0)
    assert list(job) == []
    assert source.taken == 0


def test_a_negative_number_of_messages_is_refused(foo: Serve) -> None:
    with pytest.raises(ConfigError, match="messages=-1"):
        foo(identity).job("foo.identity", [1], messages=-1)


def test_the_length_is_that_of_the_items(foo: Serve) -> None:
    client = foo(identity)
    assert len(client.job("foo.identity", [1, 2, 3])) == 3
    assert len(client.job("foo.identity", pd.DataFrame({"a": [1, 2]}))) == 2
    assert len(client.job("foo.identity", range(5), messages=4)) == 4


def test_the_length_of_a_generator_is_known_at_its_end(foo: Serve) -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert release.wait(10)
        yield 2

    job = foo(identity).job("foo.identity", source())
    with pytest.raises(TypeError, match="not known"):
        len(job)
    assert job.progress.total is None
    release.set()
    assert sorted(job) == [1, 2]
    assert len(job) == 2


def test_progress_counts_outcomes(foo: Serve, gate: Gate) -> None:
    class Sized:
        def __iter__(self) -> Iterator[int]:
            return in_two_parts(6, 10, gate)

        def __len__(self) -> int:
            return 10

    job = foo(odd).job("foo.odd", Sized(), errors="coerce")
    until(lambda: job.progress.done == 6)
    progress = job.progress
    assert progress[:4] == (6, 3, 0, 10)
    assert progress.rate > 0
    assert progress.remaining == pytest.approx(4 / progress.rate)
    gate.open.set()
    job.collect()
    assert job.progress[:4] == (10, 5, 0, 10)
    assert job.progress.remaining == 0
    assert job.progress == job.progress


def test_a_job_says_what_it_is(foo: Serve) -> None:
    job = foo(odd).job("foo.odd", range(2000), errors="coerce").collect()
    assert repr(job).startswith("<Job foo.odd: done, 2,000/2,000 done, 1,000 failed, ")
    assert job.function == "foo.odd"
    assert job.id
    assert isinstance(job.id, str)


def test_waiting_for_a_time_says_whether_it_is_done(foo: Serve, gate: Gate) -> None:
    job = foo(named("wait", gate)).job("foo.wait", [1])
    started = time.monotonic()
    assert job.wait(0.05) is False
    assert 0.05 <= time.monotonic() - started < 2
    assert job.state == "running"
    gate.open.set()
    assert job.wait(10) is True
    assert job.wait() is True


# The window


def test_a_job_that_nobody_takes_pauses_at_its_window(
    foo: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm.clients.job.PAUSE_NOTICE", 0.05)
    caplog.set_level(logging.INFO)
    source = Counted()
    job = foo(identity).job("foo.identity", source)
    until(lambda: job.state == "paused")
    assert MAX_MESSAGES <= job.progress.done <= MAX_MESSAGES + 2 * BATCH
    assert source.taken <= MAX_MESSAGES + 3 * BATCH
    until(lambda: "paused" in caplog.text)
    assert "iterate the job, or collect() it" in caplog.text
    assert caplog.text.count("paused") == 1
    taken = list(itertools.islice(job, 20_000))
    assert len(set(taken)) == 20_000
    assert source.taken > 20_000
    assert caplog.text.count("paused") == 1
    job.cancel()


def test_a_window_is_not_exceeded(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", itertools.count())
    until(lambda: job.state == "paused")
    done = job.progress.done
    job.cancel()
    assert done <= MAX_MESSAGES


def test_a_job_that_is_taken_in_part_pauses_again(foo: Serve) -> None:
    source = Counted()
    job = foo(identity).job("foo.identity", source)
    for taken in range(10):
        until(lambda: job.state == "paused", what=f"paused after {taken}")
        assert job.progress.done <= taken + MAX_MESSAGES + 2 * BATCH
        next(job)
    job.cancel()


def test_large_results_pause_a_job_early(foo: Serve) -> None:
    def grow(value: int) -> bytes:
        return bytes(100_000)

    job = foo(grow).job("foo.grow", itertools.count())
    until(lambda: job.state == "paused")
    held = job.progress.done * 100_000
    assert held <= 2 * 16 * 1024 * 1024
    assert sum(map(len, itertools.islice(job, 1000))) == 1000 * 100_000
    job.cancel()


def test_large_inputs_are_not_all_taken_at_once(foo: Serve, gate: Gate) -> None:
    taken = itertools.count()

    def source() -> Iterator[bytes]:
        for _ in range(200):
            next(taken)
            yield bytes(1024 * 1024)

    def length(value: bytes) -> int:
        gate(value)
        return len(value)

    job = foo(length).job("foo.length", source())
    assert gate.begun.wait(10)
    time.sleep(0.1)
    assert next(taken) < 40
    gate.open.set()
    assert set(job) == {1024 * 1024}


def test_collecting_takes_a_job_beyond_its_window(foo: Serve) -> None:
    n = MAX_MESSAGES + 20_000
    job = foo(identity).job("foo.identity", iter(range(n)))
    until(lambda: job.state == "paused")
    assert job.collect() is job
    assert job.state == "done"
    assert sorted(job) == list(range(n))
    assert len(job.to_frame()) == n


def test_what_was_iterated_and_is_too_much_is_not_kept(
    foo: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm.clients.kept.KEEP_BYTES", 100_000)
    job = foo(identity).job("foo.identity", [bytes(100)] * 5000)
    assert len(list(job)) == 5000
    with pytest.raises(JobError, match="iterated and not kept"):
        job.to_frame()


# Its end


def test_cancelling_again_does_nothing(foo: Serve, gate: Gate) -> None:
    client = foo(named("wait", gate))
    job = client.job("foo.wait", itertools.count())
    assert gate.begun.wait(10)
    for _ in range(3):
        job.cancel()
    assert job.state == "cancelled"
    assert list(job) == []
    gate.open.set()
    assert client.eval("foo.wait", 1) == 1


def test_cancelling_what_is_done_does_nothing(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", [1]).collect()
    job.cancel()
    assert job.state == "done"
    assert list(job) == [1]


@pytest.mark.parametrize("when", ["at once", "paused"])
def test_cancelling_frees_the_thread_of_the_source(foo: Serve, when: str) -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    job = foo(identity).job("foo.identity", source())
    if when == "paused":
        until(lambda: job.state == "paused")
    job.cancel()
    assert closed.wait(10)
    until(lambda: not [t for t in threading.enumerate() if t.name == "palm-feeder"])


def test_a_loop_ends_when_its_job_is_cancelled(foo: Serve, gate: Gate) -> None:
    job = foo(named("wait", gate)).job("foo.wait", [1])
    timer = threading.Timer(0.05, job.cancel)
    timer.start()
    assert list(job) == []
    timer.join()


def test_a_cancelled_job_is_not_complete(foo: Serve, gate: Gate) -> None:
    job = foo(named("wait", gate)).job("foo.wait", [1])
    job.cancel()
    assert job.wait(1) is False


# Sources


def raising(n: int, error: BaseException) -> Iterator[int]:
    yield from range(n)
    raise error


def test_a_source_that_raises_ends_its_job(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", raising(2000, OSError("the disk")), ordered=True)
    with pytest.raises(OSError, match="the disk"):
        list(job)
    assert job.state == "failed"
    assert len(job.to_frame(partial=True)) == 2000
    with pytest.raises(OSError, match="the disk"):
        job.to_frame()


def test_results_come_before_the_error_of_the_source(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", raising(2000, OSError("the disk")), ordered=True)
    seen: list[int] = []
    with pytest.raises(OSError, match="the disk"):
        seen.extend(job)
    assert seen == list(range(2000))


def test_a_source_that_fails_at_its_begin_ends_its_job(foo: Serve) -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise LookupError("no items")

    with pytest.raises(LookupError, match="no items"):
        foo(identity).job("foo.identity", Broken()).to_frame()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), GeneratorExit()], ids=repr)
def test_a_source_may_raise_anything(foo: Serve, error: BaseException) -> None:
    with pytest.raises(type(error)):
        list(foo(identity).job("foo.identity", raising(3, error)))


def test_a_source_that_blocks_holds_up_nothing(foo: Serve) -> None:
    go_on = threading.Event()

    def source() -> Iterator[int]:
        yield from range(10)
        assert go_on.wait(20)
        yield 10

    client = foo(identity)
    job = client.job("foo.identity", source(), ordered=True)
    assert [next(job) for _ in range(10)] == list(range(10))
    assert client.eval("foo.identity", "other") == "other"
    job.cancel()
    assert list(job) == []
    go_on.set()


def test_items_that_trickle_are_sent_at_once(foo: Serve) -> None:
    waits: list[float] = []
    answered = threading.Event()

    def source() -> Iterator[float]:
        for _ in range(20):
            yield time.monotonic()
            assert answered.wait(5), "the next item is wanted before the result of the last is sent"
            answered.clear()

    job = foo(identity).job("foo.identity", source())
    for sent in job:
        waits.append(time.monotonic() - sent)
        answered.set()
    assert len(waits) == 20
    assert sorted(waits)[10] < 0.1


def test_an_item_that_cannot_be_pickled_is_an_error_in_its_place(foo: Serve) -> None:
    items = [{1}, threading.Lock(), {3}, (n for n in [1]), {5}]
    job = foo(identity).job("foo.identity", items, errors="return")
    result = job.to_frame()
    assert result["result"].tolist()[::2] == [{1}, {3}, {5}]
    assert result["error"].isna().tolist() == [True, False, True, False, True]
    assert "it cannot be sent" in result["error"].iloc[1]
    assert "_thread.lock" in result["error"].iloc[1]
    assert result["worker"].tolist() == ["w", "", "w", "", "w"]
    assert result["attempts"].tolist() == [1, 0, 1, 0, 1]
    assert job.failures.index.tolist() == [1, 3]


class Odd:
    """Fails to be pickled in a way of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [SystemExit(1), BrokenTextError()], ids=["exit", "no text"])
def test_an_item_may_fail_to_be_pickled_in_any_way(foo: Serve, error: BaseException) -> None:
    job = foo(identity).job("foo.identity", [1, Odd(error), 3], errors="return")
    assert job.wait(2)
    result = job.to_frame()
    assert result["result"].tolist()[::2] == [1, 3]
    assert result["error"].iloc[1].startswith(type(error).__name__)


def test_a_payload_beyond_the_limit_is_an_error_in_its_place(
    foo: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = foo(identity)
    monkeypatch.setattr(palm.clients.feeder, "MAX_PAYLOAD", 100_000)
    monkeypatch.setattr(palm.wire.codec, "MAX_PAYLOAD", 100_000)
    items: list[Any] = [b"a", bytes(200_000), {b"b"}, {bytes(200_000)}, b"c"]
    results = list(client.job("foo.identity", items, ordered=True, errors="return"))
    assert results[::2] == [b"a", {b"b"}, b"c"]
    for error in results[1::2]:
        assert isinstance(error, PayloadTooLarge)
        assert error.limit == 100_000
        assert "200," in str(error)
        assert "100,000" in str(error)


# Several


def test_jobs_of_one_client_run_side_by_side(foo: Serve) -> None:
    def tag(value: tuple[str, int]) -> tuple[str, int]:
        return value

    client = foo(tag)
    jobs = {
        name: client.job("foo.tag", zip(itertools.repeat(name), range(2000)), ordered=True)
        for name in "abcd"
    }
    for number in range(100):
        assert [next(job) for job in jobs.values()] == [(name, number) for name in jobs]
    for name, job in jobs.items():
        rest = list(job)
        assert {value[0] for value in rest} == {name}
        assert job.state == "done"


def test_a_paused_job_holds_up_no_other(foo: Serve) -> None:
    client = foo(identity)
    paused = client.job("foo.identity", itertools.count())
    until(lambda: paused.state == "paused")
    assert len(client.job("foo.identity", range(20_000)).to_frame()) == 20_000
    paused.cancel()


def test_threads_share_a_client(foo: Serve) -> None:
    client = foo(identity)
    errors: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for round_ in range(10):
                items = range(number, number + 500)
                result = client.job("foo.identity", items).to_frame()["result"]
                assert result.tolist() == list(items)
                assert client.eval("foo.identity", (number, round_)) == (number, round_)
                key = client.set(round_, f"key-{number}")
                assert client.get(key) == round_
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=use, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_threads_share_the_results_of_a_job(foo: Serve) -> None:
    job = foo(identity).job("foo.identity", range(20_000))
    seen: list[list[int]] = [[], []]

    def take(found: list[int]) -> None:
        found.extend(iter(lambda: next(job, -1), -1))

    threads = [threading.Thread(target=take, args=(found,)) for found in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen[0] + seen[1]) == list(range(20_000))


# Whoever waits for its end in another way


def test_a_callback_is_called_once_when_the_job_has_ended(foo: Serve, gate: Gate) -> None:
    gate.__name__ = "wait"  # type: ignore[attr-defined]
    client = foo(gate)
    ended: list[str] = []
    over = threading.Event()
    job = client.job("foo.wait", [1])

    def note(found: Job) -> None:
        ended.append(found.state)
        over.set()

    job.add_done_callback(note)
    assert gate.begun.wait(10)
    assert ended == []
    gate.open.set()
    assert over.wait(10)
    assert list(job) == [1]
    job.cancel()
    assert ended == ["done"]
    job.add_done_callback(note)
    assert ended == ["done", "done"]


def test_a_callback_is_called_however_a_job_ends(foo: Serve, gate: Gate) -> None:
    gate.__name__ = "wait"  # type: ignore[attr-defined]
    client = foo(gate, connect_timeout=0.2)
    ended: list[str] = []
    jobs = [client.job("foo.wait", [1]) for _ in range(2)]
    jobs.append(Client("nobody", connect_timeout=0.1).job("nobody.f", [1]))
    over = threading.Event()
    for job in jobs:
        job.add_done_callback(lambda found: (ended.append(found.state), over.set()))
    jobs[0].cancel()
    assert ended == ["cancelled"]
    until(lambda: jobs[2].state == "failed")
    until(lambda: "failed" in ended)
    client.close()
    assert sorted(ended) == ["cancelled", "cancelled", "failed"]


def test_a_job_that_failed_before_its_source_ended_stays_so(foo: Serve, gate: Gate) -> None:
    gate.__name__ = "wait"  # type: ignore[attr-defined]
    client = foo(gate)
    go_on = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert go_on.wait(10)

    job = client.job("foo.wait", items())
    assert gate.begun.wait(10)
    job.fail(JobError("it is over"))
    assert job.state == "failed"
    go_on.set()
    until(lambda: job._total == 1, what="the source has ended")
    assert job.state == "failed"
    with pytest.raises(JobError, match="it is over"):
        list(job)


# What one may get wrong


def test_function_itself_is_refused_and_its_name_asked_for(foo: Serve) -> None:
    def double(value: int) -> int:
        return 2 * value

    client = foo(double)
    with pytest.raises(ConfigError, match="the name of a function") as caught:
        client.job(double, [1])  # type: ignore[arg-type]
    assert "'SERVER.double'" in str(caught.value)


def test_error_of_a_missing_function_names_its_class_once(foo: Serve) -> None:
    with pytest.raises(FunctionNotFound) as caught:
        list(foo(len).job("foo.lenn", ["a"]))
    (line, *_) = traceback.format_exception_only(caught.value)
    assert line == (
        "palm.errors.FunctionNotFound: no worker of 'foo' serves 'lenn'; did you mean 'len'?"
        " (served: len) (message 0 of foo.lenn)\n"
    )
