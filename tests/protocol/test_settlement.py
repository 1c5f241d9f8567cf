"""What becomes of messages: outcomes once, kept until acknowledged, whenever results come."""

from __future__ import annotations

import pytest

from palm.protocol.master import REMOTE_GRACE, SESSION_TTL
from palm.protocol.settlement import PARK_FOR
from palm.wire.batch import Batch
from palm.wire.message import Ack, Outcome, Result, Task
from palm.wire.outcome import Kind
from tests.support.machines import MasterBench, Peer, payloads
from tests.support.messages import durations

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def late_task(client: Peer, first: int = 0, n: int = 1) -> Task:
    """A lease of an earlier master, or of one that took the worker for lost."""
    return Task(0, 0, client.session, JOB, first, n, 1, "f", 0)


# Results that come before their job


def test_results_wait_for_their_job_only_so_long_after_a_start(bench: MasterBench) -> None:
    worker, client = bench.worker(), bench.client()
    worker.answer(late_task(client, 0, 2), Batch.pack(payloads(2)))
    assert bench.master.holdings() == {"parked": 1}
    bench.pass_time(PARK_FOR + 0.1)
    assert bench.master.holdings() == {}
    assert bench.master.late_results == 2
    worker.answer(late_task(client, 2), Batch.pack(payloads(1)))
    assert bench.master.holdings() == {}
    assert bench.master.late_results == 3


def test_results_wait_until_all_of_their_messages_are_known(bench: MasterBench) -> None:
    worker, client = bench.worker(functions=["g"]), bench.client()
    worker.answer(late_task(client, 0, 4), Batch.pack(payloads(4)))
    client.submit(JOB, payloads(2), last=False)
    assert not client.outcomes()
    client.submit(JOB, payloads(2), first=2)
    assert set(client.outcomes()) == {0, 1, 2, 3}


def test_results_of_one_client_are_not_given_to_another(bench: MasterBench) -> None:
    worker, one, other = bench.worker(functions=["g"]), bench.client("one"), bench.client("two")
    worker.answer(late_task(one), Batch.pack([b"secret"]))
    other.submit(JOB, payloads(1), last=False)
    assert not other.outcomes()
    one.submit(JOB, payloads(1))
    assert one.outcomes() == {0: (Kind.RESULT, b"secret")}


# Results that come late


def test_result_in_part_known_counts_for_the_rest(bench: MasterBench) -> None:
    client, lost, next_ = bench.client(), bench.worker("a"), bench.worker("b", ["g"])
    client.submit(JOB, payloads(3), last=False)
    ((task, batch),) = lost.tasks()
    lost.answer(task, batch)
    next_.answer(late_task(client, 0, 3), Batch.pack([b"x", b"y", b"z"]))
    assert {at: payload for at, (_, payload) in client.outcomes().items()} == {
        0: b"0",
        1: b"y",
        2: b"z",
    }
    assert bench.master.late_results == 1


def test_late_result_takes_its_message_out_of_the_queue(bench: MasterBench) -> None:
    client, gone = bench.client(), bench.worker("a")
    client.submit(JOB, payloads(3), last=False)
    gone.lose()
    back = gone.reconnect()
    back.tasks()
    back.answer(late_task(client, 1, 2), Batch.pack(payloads(2)))
    other = bench.worker("b")
    back.lose()
    ran = [task.first for task, _ in other.tasks()]
    other.work()
    assert ran == [0]
    assert set(client.outcomes()) == {1, 2}


def test_worker_on_another_host_that_stays_away_loses_its_work(bench: MasterBench) -> None:
    client, far = bench.client(), bench.worker("far", local=False)
    client.submit(JOB, payloads(1))
    ((task, batch),) = far.tasks()
    near = bench.worker("near")
    far.lose()
    bench.pass_time(REMOTE_GRACE - 0.1)
    assert not near.tasks(), "it may come back"
    bench.pass_time(0.2)
    ((again, _),) = near.tasks()
    assert again.attempt == 2
    back = far.reconnect(holds=[task.lease], local=False)
    task.lease = 0  # the master does not count it any more
    back.answer(task, batch)
    assert len(client.outcomes()) == 1
    near.answer(again, batch)
    assert not client.outcomes() and bench.master.late_results == 1


def test_failures_keep_their_places_when_a_result_is_cut(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker(functions=["g"])
    client.submit(JOB, payloads(4), last=False)
    one = Result(0, 0, client.session, JOB, 1, 1, 1, 0, 5.0, durations(1), b"")
    worker.send(one, Batch.pack([b"first"]))
    kinds = bytes([Kind.RESULT, Kind.TASK_ERROR, Kind.RESULT, Kind.TASK_ERROR])
    four = Result(0, 0, client.session, JOB, 0, 4, 1, 0, 10.0, durations(4, 1.0), kinds)
    worker.send(four, Batch.pack([b"a", b"b", b"c", b"d"]))
    _, head, tail = client.take(Outcome)
    assert (head.first, head.n, head.started, head.kinds) == (0, 1, 10.0, kinds[:1])
    assert (tail.first, tail.n, tail.started, tail.kinds) == (2, 2, 12.0, kinds[2:])
    assert len(tail.durations) == 8


# Acknowledgements


def test_acknowledgement_counts_for_all_before_it(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(5), last=False)
    while tasks := worker.tasks():
        for task, batch in tasks:
            for at in range(task.n):
                worker.answer(task, batch, at, at + 1)
    serials = [outcome.serial for outcome in client.take(Outcome)]
    assert serials == sorted(serials) and len(serials) == 5
    client.send(Ack(0, serials[2]))
    client.lose()
    again = client.reconnect()
    assert [outcome.serial for outcome in again.take(Outcome)] == serials[3:]
    again.send(Ack(0, serials[1]))  # one from the past changes nothing
    assert bench.master.holdings()["outcomes"] == 2
    again.send(Ack(0, serials[-1] + 1000))
    assert "outcomes" not in bench.master.holdings()


def test_outcomes_wait_for_a_client_that_is_away(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(3))
    client.lose()
    worker.work()
    bench.pass_time(SESSION_TTL - 1.0)
    assert set(client.reconnect().outcomes()) == {0, 1, 2}
    bench.pass_time(SESSION_TTL + 1.0)
    assert bench.master.holdings()["outcomes"]


def test_client_that_was_forgotten_begins_anew(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    client.lose()
    bench.pass_time(SESSION_TTL + 1.0)
    back = client.reconnect()
    back.submit(JOB, payloads(1))
    worker.answer(task, batch)  # it ran all the time
    assert len(back.outcomes()) == 1
    assert not worker.tasks(), "it is not run again"
