"""Jobs whose time is over, and calls that take longer than they may."""

from __future__ import annotations

import pytest

from palm.protocol.dispatch import HUNG_AFTER
from palm.protocol.sessions import RETURN_WITHIN
from palm.wire.message import Ack, Outcome, Returned, Revoke, Terms
from palm.wire.outcome import Kind, decode_failure
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."


def limited(seconds: float, left: float | None = None) -> Terms:
    return Terms(deadline=seconds, remaining=seconds if left is None else left)


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def kinds(client: Peer) -> dict[int, int]:
    return {index: kind for index, (kind, _) in client.outcomes().items()}


def test_what_has_no_outcome_at_the_deadline_gets_one(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(4), terms=limited(5.0, 2.0))
    ((task, batch),) = worker.tasks()
    worker.answer(task, batch, seconds=1.0)
    ((task, batch),) = worker.tasks()
    bench.pass_time(1.9)
    assert kinds(client) == {0: Kind.RESULT}
    bench.pass_time(0.2)
    outcomes = client.outcomes()
    assert {kind for kind, _ in outcomes.values()} == {Kind.DEADLINE_EXCEEDED}
    assert sorted(outcomes) == [1, 2, 3]
    assert decode_failure(outcomes[1][1]).text == "no outcome within the 5 s of its job"
    (revoke,) = worker.take(Revoke)
    assert revoke.leases == [task.lease]
    worker.answer(task, batch)
    assert not client.outcomes() and not worker.tasks()


def test_what_comes_after_the_deadline_is_not_leased(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1), terms=limited(1.0), last=False)
    bench.pass_time(1.1)
    worker = bench.worker()
    client.submit(JOB, payloads(2), first=1, terms=limited(1.0, 0.0))
    assert set(kinds(client).values()) == {Kind.DEADLINE_EXCEEDED} and not worker.tasks()
    client.send(Ack(0, 2))
    bench.pass_time(60.0)
    assert bench.master.holdings() == {} and bench.master.next_deadline is None


def test_retry_does_not_outlive_the_deadline(bench: MasterBench) -> None:
    client, doomed = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(1), terms=limited(1.0))
    doomed.tasks()
    doomed.lose()
    bench.pass_time(1.1)
    assert kinds(client) == {0: Kind.DEADLINE_EXCEEDED}
    assert not bench.worker("next").tasks()


def test_finished_job_forgets_its_deadline(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=limited(100.0))
    worker.work()
    (outcome,) = client.take(Outcome)
    client.send(Ack(0, outcome.serial))
    bench.pass_time(20.0)
    assert bench.master.next_deadline is None


def test_worker_that_ended_itself_over_a_call_is_not_blamed_twice(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(2), terms=Terms(timeout=1.0))
    worker.tasks()
    bench.pass_time(1.1)
    worker.lose()
    ((kind, failure),) = client.outcomes().values()
    assert kind == Kind.DEADLINE_EXCEEDED and "1 s" in decode_failure(failure).text
    bench.pass_time(RETURN_WITHIN + 1.0)
    assert bench.worker("next").work() == [1]
    assert kinds(client) == {1: Kind.RESULT}


def test_death_before_the_limit_is_a_death(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(1), terms=Terms(timeout=5.0))
    worker.tasks()
    bench.pass_time(1.0)
    worker.lose()
    assert not client.outcomes()
    assert bench.worker("next").work() == [1]


def test_call_that_its_worker_does_not_end_is_not_waited_for(bench: MasterBench) -> None:
    client, hung = bench.client(), bench.worker("hung")
    client.submit(JOB, payloads(2), terms=Terms(timeout=1.0))
    ((task, batch),) = hung.tasks()
    bench.pass_time(1.0 + HUNG_AFTER + 0.1)
    assert kinds(client) == {0: Kind.DEADLINE_EXCEEDED}
    assert hung.take(Revoke) and not hung.tasks(), "it may hang for ever"
    assert bench.worker("next").work() == [1]
    assert kinds(client) == {1: Kind.RESULT}
    hung.answer(task, batch)
    assert not client.outcomes()
    client.submit(b"more", payloads(1))
    bench.pass_time(1.0)
    assert len(hung.tasks()) + len(bench.peers()[-1].tasks()) == 1


def test_worker_whose_hung_call_ended_after_all_is_trusted_again(bench: MasterBench) -> None:
    client, hung = bench.client(), bench.worker("hung")
    client.submit(JOB, payloads(1), terms=Terms(timeout=1.0))
    ((task, batch),) = hung.tasks()
    bench.pass_time(1.0 + HUNG_AFTER + 0.1)
    client.submit(b"more", payloads(1))
    assert not hung.tasks()
    hung.answer(task, batch)
    assert len(hung.tasks()) == 1


def test_worker_whose_hung_call_ended_without_an_answer_is_trusted_again(
    bench: MasterBench,
) -> None:
    client, hung = bench.client(), bench.worker("hung")
    client.submit(JOB, payloads(1), terms=Terms(timeout=1.0))
    ((task, _),) = hung.tasks()
    bench.pass_time(1.0 + HUNG_AFTER + 0.1)
    client.submit(b"more", payloads(1))
    assert not hung.tasks()
    hung.send(Returned(0, [task.lease]))
    assert len(hung.tasks()) == 1


def test_worker_that_answers_in_time_is_left_alone(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(20), terms=Terms(timeout=4.0))
    for _ in range(20):
        ((task, batch),) = worker.tasks()
        bench.pass_time(3.0)
        worker.answer(task, batch, seconds=3.0)
    assert set(kinds(client).values()) == {Kind.RESULT} and not worker.take(Revoke)
