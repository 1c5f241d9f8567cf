"""Results become outcomes, once; outcomes are kept until the client has them."""

from __future__ import annotations

import struct

import pytest

from palm.protocol.sessions import SESSION_TTL
from palm.protocol.settlement import PARK_FOR
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Ack, Close, Outcome, Result, Returned
from palm.wire.outcome import Kind
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def answer(
    worker: Peer, session: bytes, first: int, n: int, *, job: bytes = JOB, lease: int = 0,
    kinds: bytes = b"", started: float = 0.0,
) -> None:  # fmt: skip
    """Send a result, by default one whose lease the master does not count."""
    took = struct.pack(f"<{n}f", *[0.5] * n)
    result = Result(0, lease, session, job, first, n, 1, Codec.RAW, started, took, kinds)
    worker.send(result, Batch.pack([b"%d" % (first + at) for at in range(n)]))


def unasked(bench: MasterBench, n: int, **submit: bool) -> tuple[Peer, Peer]:
    """Return a client with ``n`` messages that nobody serves, and a worker of something else."""
    client, worker = bench.client(), bench.worker(functions=["g"])
    client.submit(JOB, payloads(n), **submit)
    return client, worker


# Results without a lease


def test_result_without_a_lease_counts_where_its_messages_are_open(bench: MasterBench) -> None:
    client, worker = unasked(bench, 6)
    answer(worker, client.session, 1, 2)
    answer(worker, client.session, 0, 4)
    assert client.outcomes() == {at: (0, b"%d" % at) for at in range(4)}
    assert bench.master.late_results == 2


def test_pieces_of_a_result_have_their_own_times_and_kinds(bench: MasterBench) -> None:
    client, worker = unasked(bench, 4)
    answer(worker, client.session, 1, 1)
    client.take(Outcome)
    kinds = bytes([Kind.RESULT, Kind.RESULT, Kind.TASK_ERROR, Kind.RESULT])
    answer(worker, client.session, 0, 4, kinds=kinds, started=100.0)
    first, second = client.take(Outcome)
    assert (first.first, first.n, first.started, first.kinds) == (0, 1, 100.0, kinds[:1])
    assert (second.first, second.n, second.started, second.kinds) == (2, 2, 101.0, kinds[2:])
    assert struct.unpack("<2f", second.durations) == (0.5, 0.5)


def test_what_was_answered_without_a_lease_is_not_leased_again(bench: MasterBench) -> None:
    client, worker = unasked(bench, 5)
    answer(worker, client.session, 1, 3)
    server = bench.worker("server")
    server.work()
    assert set(client.outcomes()) == set(range(5))
    assert bench.master.late_results == 0, "something ran for nothing"


def test_lease_that_comes_back_is_leased_again_without_what_was_answered(
    bench: MasterBench,
) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(5), last=False)
    worker.work(1e-5)
    client.submit(JOB, payloads(8), first=5, last=False)
    task = next(task for task, _ in worker.tasks() if task.n > 3)
    answer(bench.worker("g", ["g"]), client.session, task.first + 1, 2)
    other = bench.worker("other")
    client.submit(JOB, payloads(1), first=13, last=False)
    assert other.tasks(), "the queue was looked through"
    worker.send(Returned(0, [task.lease]))
    again = [n for t, _ in worker.tasks() for n in range(t.first, t.first + t.n)]
    assert task.first in again
    assert not {task.first + 1, task.first + 2} & set(again)


# Results of jobs not known yet


def test_results_wait_for_their_job_only_for_a_while_after_a_start(bench: MasterBench) -> None:
    worker = bench.worker(functions=["g"])
    client = Peer(bench, "client", "client", b"client".ljust(16, b"."))
    answer(worker, client.session, 0, 1)
    assert bench.master.holdings() == {"parked": 1}
    bench.pass_time(PARK_FOR + 1.0)
    assert bench.master.holdings() == {}
    answer(worker, client.session, 1, 1)
    assert bench.master.holdings() == {}
    assert bench.master.late_results == 2
    client.hello()
    client.submit(JOB, payloads(2))
    assert not client.outcomes()


def test_results_that_come_before_their_messages_wait_for_these(bench: MasterBench) -> None:
    client, worker = unasked(bench, 2, last=False)
    answer(worker, client.session, 1, 3)
    assert set(client.outcomes()) == {1}, "the others are not there yet"
    client.submit(JOB, payloads(1), first=2, last=False)
    assert set(client.outcomes()) == {2}
    client.submit(JOB, payloads(1), first=3)
    assert set(client.outcomes()) == {3}
    assert "parked" not in bench.master.holdings()


def test_results_of_several_jobs_wait_each_for_its_own(bench: MasterBench) -> None:
    worker, client = bench.worker(functions=["g"]), bench.client()
    for job in (b"a", b"b"):
        answer(worker, client.session, 0, 1, job=job)
        answer(worker, client.session, 1, 1, job=job)
    client.submit(b"b", payloads(2))
    assert set(client.outcomes()) == {0, 1}
    assert bench.master.holdings()["parked"] == 2
    client.submit(b"a", payloads(2))
    assert set(client.outcomes()) == {0, 1}


# Outcomes until they are acknowledged


def test_outcomes_that_are_not_acknowledged_are_sent_again_in_their_order(
    bench: MasterBench,
) -> None:
    client, worker = unasked(bench, 4)
    for first in range(4):
        answer(worker, client.session, first, 1)
    client.send(Ack(0, 2))
    client.lose()
    back = client.reconnect()
    assert [(o.serial, o.first, o.link) for o in back.take(Outcome)] == [
        (3, 2, back.link), (4, 3, back.link),
    ]  # fmt: skip
    back.send(Ack(0, 4))
    assert bench.master.holdings() == {}


def test_outcomes_wait_while_the_client_is_away(bench: MasterBench) -> None:
    client, worker = unasked(bench, 1)
    client.lose()
    answer(worker, client.session, 0, 1)
    assert not client.outcomes()
    assert set(client.reconnect().outcomes()) == {0}


def test_acknowledging_twice_or_too_much_is_no_harm(bench: MasterBench) -> None:
    client, worker = unasked(bench, 2, last=False)
    answer(worker, client.session, 0, 1)
    for serial in (0, 1, 1, 99):
        client.send(Ack(0, serial))
    answer(worker, client.session, 1, 1)
    assert bench.master.holdings() == {"jobs": 1, "outcomes": 1}
    client.send(Ack(0, 2))
    assert bench.master.holdings() == {"jobs": 1}


def test_nothing_is_kept_of_a_job_that_was_closed(bench: MasterBench) -> None:
    client, worker = unasked(bench, 2)
    client.submit(b"other", payloads(1))
    answer(worker, client.session, 0, 1)
    answer(worker, client.session, 0, 1, job=b"other")
    client.send(Close(0, JOB))
    client.take(Outcome)
    back = client.reconnect()
    assert [outcome.job for outcome in back.take(Outcome)] == [b"other"]
    back.send(Ack(0, 99))
    assert bench.master.holdings() == {}


def test_nothing_is_kept_for_a_client_that_is_forgotten(bench: MasterBench) -> None:
    client, worker = unasked(bench, 2)
    answer(worker, client.session, 0, 1)
    client.lose()
    bench.pass_time(SESSION_TTL + 1.0)
    assert bench.master.holdings() == {}
    answer(worker, client.session, 1, 1)
    assert bench.master.holdings() == {}
    assert bench.master.late_results == 1
