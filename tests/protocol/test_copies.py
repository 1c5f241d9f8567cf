"""What of a payload the master copies: nothing, whatever becomes of its batch."""

from __future__ import annotations

from typing import Any

import pytest

from palm.wire.batch import INLINE_LIMIT, Batch
from palm.wire.codec import Codec
from palm.wire.message import Outcome, Submit
from tests.support.machines import MasterBench

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def base_of(frame: Any) -> Any:
    """Return the object whose memory a frame shows."""
    return memoryview(frame).obj


def submit(bench: MasterBench, payloads: list[bytes]) -> tuple[Batch, list[tuple[Any, Batch]]]:
    """Submit a batch; return it and the leases that come of it, all of them answered."""
    client, worker = bench.client(), bench.worker()
    batch = Batch.pack(payloads)
    client.send(Submit(0, JOB, 0, batch.n, "foo.f", Codec.RAW, True), batch)
    leases = []
    while tasks := worker.tasks():
        for task, part in tasks:
            leases.append((task, part))
            worker.answer(task, part)
    outcomes = [part for message, part in client.inbox if isinstance(message, Outcome)]
    assert sum(part.n for part in outcomes if part is not None) == batch.n
    return batch, leases


def test_small_payloads_are_leased_from_the_memory_they_came_in(bench: MasterBench) -> None:
    batch, leases = submit(bench, [b"%016d" % number for number in range(500)])
    assert len(leases) > 2
    assert all(base_of(part.body) is batch.body for _, part in leases)


def test_large_payloads_are_passed_on_as_the_frames_they_came_in(bench: MasterBench) -> None:
    large = [bytes(INLINE_LIMIT + number) for number in range(20)]
    _, leases = submit(bench, large)
    assert [id(frame) for _, part in leases for frame in part.large] == [id(each) for each in large]


def test_results_are_passed_on_in_the_memory_they_came_in(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    batch = Batch.pack([b"x" * 100])
    client.send(Submit(0, JOB, 0, 1, "foo.f", Codec.RAW, True), batch)
    ((task, _),) = worker.tasks()
    result = Batch.pack([b"y" * 100])
    worker.answer(task, result)
    ((_, outcome),) = [pair for pair in client.inbox if isinstance(pair[0], Outcome)]
    assert outcome is not None
    assert outcome.body is result.body
