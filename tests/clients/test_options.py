"""Options of a job, with a cluster in this process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import DeadlineExceeded, TaskError
from tests.support.cluster import ThreadCluster, until

Serve = Callable[..., Client]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_function_that_raises_at_first_is_tried_again(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def flaky(value: int) -> int:
        starts[value] += 1
        if starts[value] < 3 and value % 2:
            raise ConnectionResetError(f"try {starts[value]}")
        return value

    job = foo(flaky).job("foo.flaky", range(10), retries=2, retry_on=OSError)
    frame = job.to_frame()
    assert list(frame["result"]) == list(range(10))
    assert list(frame["attempts"]) == [1, 3] * 5
    assert job.progress.retried == 5


def test_other_errors_and_one_failure_too_many_are_outcomes(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def broken(value: int) -> int:
        starts[value] += 1
        raise (KeyError if value else OSError)(value)

    job = foo(broken).job("foo.broken", [0, 1], retries=1, retry_on=(OSError,), errors="return")
    errors = list(job)
    assert {(e.type, e.attempts) for e in errors} == {("OSError", 2), ("KeyError", 1)}
    assert all(isinstance(error, TaskError) for error in errors)
    assert starts == {0: 2, 1: 1}


def test_results_in_order_wait_for_a_retry(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def first_fails(value: int) -> int:
        starts[value] += 1
        if value == 0 and starts[value] == 1:
            raise ValueError
        return value

    job = foo(first_fails).job("foo.first_fails", range(50), ordered=True, retries=1)
    assert list(job) == list(range(50))


def test_urgent_job_overtakes(palm_home: Any, gate: threading.Event) -> None:
    cluster, order = ThreadCluster(), []

    def note(value: str) -> str:
        order.append(value)
        assert gate.wait(20)
        return value

    try:
        cluster.master()
        cluster.worker({"note": note})
        client = cluster.client()
        blocker = client.job("foo.note", ["blocker"])
        until(lambda: order)
        calm = client.job("foo.note", ["calm"] * 3)
        urgent = client.job("foo.note", ["urgent"] * 3, priority=1)
        until(lambda: len(cluster._served) == 2 and urgent._window.submitted == 3)
        client.set(1)  # answered after all that was submitted before
        gate.set()
        for job in (blocker, calm, urgent):
            job.collect()
    finally:
        gate.set()
        cluster.close()
    assert order == ["blocker", *["urgent"] * 3, *["calm"] * 3]


def waiting(gate: threading.Event) -> Callable[[Any], Any]:
    def wait(value: Any) -> Any:
        assert gate.wait(20)
        return value

    return wait


def test_deadline_ends_a_job_with_an_outcome_for_each_item(
    foo: Serve, gate: threading.Event
) -> None:
    client, began = foo(waiting(gate)), time.monotonic()
    job = client.job("foo.wait", range(300), deadline=0.3)
    frame = job.to_frame(errors="return")
    assert 0.3 <= time.monotonic() - began < 10
    assert len(frame) == 300 and job.state == "done"
    assert set(frame["error"]) == {"DeadlineExceeded: no outcome within the 0.3 s of its job"}
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
        next(iter(client.job("foo.wait", [1], deadline=0.01)))
    gate.set()
    assert client.eval("foo.wait", 5) == 5


def test_deadline_ends_an_endless_job(foo: Serve) -> None:
    def count() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def identity(value: int) -> int:
        return value

    job = foo(identity).job("foo.identity", count(), deadline=0.3, errors="coerce")
    results = list(job)
    assert job.state == "done" and len(job) == len(results)
    assert set(results) - {None} <= set(range(len(results)))


def test_deadline_ends_a_job_whose_source_does_not_go_on(foo: Serve, gate: threading.Event) -> None:
    def source() -> Iterator[int]:
        yield 1
        gate.wait(20)
        yield 2

    def identity(value: int) -> int:
        return value

    job = foo(identity).job("foo.identity", source(), deadline=0.5)
    assert list(job) == [1]
    assert job.state == "done"


def test_deadline_holds_without_a_master(palm_home: Any) -> None:
    with Client("nobody") as client:
        job = client.job("nobody.f", range(5), deadline=0.2, ordered=True, errors="return")
        assert [type(error) for error in job] == [DeadlineExceeded] * 5
        assert list(job.failures["input"]) == list(range(5))


def test_cancelled_job_has_no_deadline(foo: Serve, gate: threading.Event) -> None:
    job = foo(waiting(gate)).job("foo.wait", range(5), deadline=0.2, retries=2, priority=3)
    job.cancel()
    assert not job.wait(0.5) and job.state == "cancelled"


def test_messages_that_may_not_run_twice_run_once(foo: Serve) -> None:
    starts: Counter[int] = Counter()

    def count(value: int) -> int:
        starts[value] += 1
        return value

    client = foo(count)
    assert list(client.job("foo.count", range(3000), ordered=True, at_most_once=True)) == list(
        range(3000)
    )
    assert starts == Counter(range(3000))


def test_messages_of_a_key_run_in_order_and_one_at_a_time(palm_home: Any) -> None:
    running: Counter[str] = Counter()
    order: dict[str, list[int]] = {}
    overlaps, lock = [], threading.Lock()

    def note(item: dict[str, Any]) -> int:
        key = item["key"]
        with lock:
            running[key] += 1
            overlaps.extend([key] * (running[key] > 1))
            order.setdefault(key, []).append(item["n"])
        time.sleep(0.0005)  # the work, during which another would overlap
        with lock:
            running[key] -= 1
        return item["n"]

    cluster = ThreadCluster()
    try:
        cluster.master()
        for name in ("w0", "w1", "w2"):
            cluster.worker({"note": note}, name)
        items = [{"key": "abcde"[n % 5], "n": n} for n in range(400)]
        job = cluster.client().job("foo.note", items, key="key", ordered=True)
        assert list(job) == list(range(400))
        assert len(set(job.to_frame()["worker"])) > 1
    finally:
        cluster.close()
    assert not overlaps
    assert all(numbers == sorted(numbers) for numbers in order.values())


def test_item_without_a_key_is_an_error_of_its_own(foo: Serve) -> None:
    def identity(value: Any) -> Any:
        return value

    items = [{"k": 1}, {}, {"k": []}, {"k": 2}]
    client = foo(identity)
    results = list(client.job("foo.identity", items, key="k", ordered=True, errors="return"))
    assert results[0] == {"k": 1} and results[3] == {"k": 2}
    assert [error.type for error in results[1:3]] == ["KeyError", "TypeError"]
    assert client.job("foo.identity", [{"k": 1}], key="k").collect().state == "done"
