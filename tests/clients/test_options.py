"""Options of a job, with a cluster in this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import TaskError
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
