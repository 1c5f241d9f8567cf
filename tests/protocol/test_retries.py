"""A message whose function raised is tried again, if its job wants that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.retries import LONGEST, SHORTEST, back_off, is_worth_it
from palm.wire.batch import Batch
from palm.wire.message import Ack, Close, Outcome, Result, Task, Terms
from palm.wire.outcome import Failure, Kind, encode_failure, failure_of
from tests.support.machines import MasterBench, Peer, payloads
from tests.support.messages import durations

JOB = b"job-one."


class FlakyError(ConnectionError):
    """An error that might not come again."""


def failure(error: BaseException) -> bytes:
    return encode_failure(failure_of(error)[1])


def answer(worker: Peer, task: Task, answers: list[bytes | BaseException], start: int = 0) -> None:
    """Answer messages of a lease, from ``start`` on, with results and errors."""
    kinds = bytes(int(isinstance(each, BaseException)) for each in answers)
    parts = [failure(each) if isinstance(each, BaseException) else each for each in answers]
    result = Result(
        0, task.lease, task.session, task.job, task.first + start, len(parts), task.attempt, 0,
        0.0, durations(len(parts), 0.001), kinds,
    )  # fmt: skip
    worker.send(result, Batch.pack(parts))


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench(jitter=lambda: 0.5)


@given(st.integers(1, 1000), st.floats(0, 1))
def test_waits_double_up_to_the_longest(raised: int, jitter: float) -> None:
    wait = back_off(raised, jitter)
    assert min(SHORTEST * 2 ** (min(raised, 30) - 1), LONGEST * 0.8) <= wait <= LONGEST
    assert wait >= back_off(raised, 0.0)


def test_first_waits() -> None:
    assert [back_off(n, 0.0) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]


def test_class_matches_by_its_bases() -> None:
    found = failure_of(FlakyError("no"))[1]
    assert found.bases[0] == f"{__name__}.FlakyError"
    assert is_worth_it(Terms(retries=1, retry_on=["builtins.OSError"]), 1, found)
    assert not is_worth_it(Terms(retries=1, retry_on=["builtins.ValueError"]), 1, found)
    assert not is_worth_it(Terms(retries=1), 2, found)
    assert not is_worth_it(Terms(retries=1, retry_on=["a.B"]), 1, Failure("B", "from before"))


def test_message_that_raised_is_tried_again_after_its_back_off(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=Terms(retries=2))
    for wait in (0.1, 0.2):
        ((task, _),) = worker.tasks()
        answer(worker, task, [ValueError("no")])
        bench.pass_time(wait)
        assert not worker.tasks(), "too early"
        bench.pass_time(wait * 0.2)
    ((task, batch),) = worker.tasks()
    assert task.attempt == 3 and bytes(batch.body) == b"0"
    assert not client.outcomes()
    answer(worker, task, [ValueError("still no")])
    (outcome,) = [m for m, _ in client.inbox if isinstance(m, Outcome)]
    assert (outcome.attempt, outcome.kinds) == (3, bytes([Kind.TASK_ERROR]))
    client.send(Ack(0, outcome.serial))
    bench.pass_time(10.0)
    assert bench.master.holdings() == {} and bench.master.next_deadline is None


def test_only_what_failed_of_a_batch_is_tried_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(20), terms=Terms(retries=1, retry_on=["builtins.ValueError"]))
    ((task, batch),) = worker.tasks()
    worker.answer(task, batch, seconds=1e-6)
    task, batch = worker.tasks()[0]
    assert task.n >= 4
    answer(worker, task, [b"x", ValueError(), ValueError(), KeyError(), *[b"y"] * (task.n - 4)])
    outcomes = client.outcomes()
    first = task.first
    assert first + 1 not in outcomes and first + 2 not in outcomes
    assert outcomes[first + 3][0] == Kind.TASK_ERROR and outcomes[first] == (0, b"x")
    worker.work(1e-6)
    bench.pass_time(0.2)
    worker.work(1e-6)
    assert client.outcomes()[first + 1] == (0, b"%d" % (first + 1))


def test_what_is_shared_after_it_failed_is_tried_no_more_often(bench: MasterBench) -> None:
    """Messages that failed together are tried again by two workers: each part knows that."""
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(40), terms=Terms(retries=1))
    ((task, batch),) = worker.tasks()
    worker.answer(task, batch, seconds=0.01)
    while tasks := worker.tasks():
        for task, _ in tasks:
            answer(worker, task, [ValueError("no")] * task.n)
    other = bench.worker("other")
    for _ in range(20):
        bench.pass_time(0.2)
        for each in (worker, other):
            for task, _ in each.tasks():
                assert task.attempt <= 2
                answer(each, task, [ValueError("still no")] * task.n)
    assert len(client.outcomes()) == 40


def test_death_of_a_worker_is_no_failure_of_the_function(bench: MasterBench) -> None:
    client, doomed = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(1), terms=Terms(retries=1))
    doomed.lose()
    worker = bench.worker()
    ((task, _),) = worker.tasks()
    assert task.attempt == 2
    answer(worker, task, [ValueError()])
    bench.pass_time(1.0)
    ((task, batch),) = worker.tasks()
    assert task.attempt == 3
    worker.answer(task, batch)
    assert client.outcomes() == {0: (0, b"0")}


def test_cancelled_job_is_not_tried_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=Terms(retries=5))
    ((task, _),) = worker.tasks()
    answer(worker, task, [ValueError()])
    client.send(Close(0, JOB))
    bench.pass_time(60.0)
    assert not worker.tasks() and not client.outcomes()
    assert bench.master.next_deadline is None


def test_late_failure_of_a_message_that_runs_elsewhere_does_not_count(bench: MasterBench) -> None:
    client, slow = bench.client(), bench.worker("slow")
    client.submit(JOB, payloads(1), terms=Terms(retries=1))
    ((old, _),) = slow.tasks()
    slow.lose()
    bench.pass_time(10.0)
    worker = bench.worker("next")
    ((task, batch),) = worker.tasks()
    back = slow.reconnect()
    old.lease = 0
    answer(back, old, [ValueError()])
    assert not client.outcomes() and bench.master.late_results == 1
    worker.answer(task, batch)
    assert client.outcomes() == {0: (0, b"0")}
