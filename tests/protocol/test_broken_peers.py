"""Peers that break the protocol harm nobody: nothing raises, nothing is lost or doubled."""

from __future__ import annotations

import math
import struct
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm.protocol.effects import Deliver, Invoke
from palm.protocol.events import (
    Cancelled,
    Completed,
    Connected,
    Disconnected,
    Event,
    Garbled,
    LookedUp,
    PeerLost,
    Received,
    Refused,
    StopRequested,
    Submitted,
    Tick,
    Wanted,
)
from palm.protocol.pool import Pool, WorkerSession
from palm.wire.batch import Batch
from palm.wire.message import (
    VERSION,
    Fault,
    Fetch,
    Hello,
    Kept,
    Message,
    Outcome,
    Recall,
    Result,
    Returned,
    Revoke,
    Task,
    Welcome,
)
from tests.protocol.test_client import Bench as ClientBench
from tests.protocol.test_worker import Bench as WorkerBench
from tests.support.machines import MasterBench, Peer, payloads
from tests.support.messages import KINDS, any_message, messages_of

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


# Every message and every event in every state; the master's messages are in test_master.py


def events() -> list[Event]:
    """One event of each kind, messages left out."""
    batch = Batch.pack(payloads(2))
    return [
        Garbled(b"\0\0\0\1", "no header"),
        PeerLost(b"\0\0\0\1"),
        Connected(),
        Disconnected(),
        LookedUp(False, ("bar",)),
        Tick(),
        Submitted(JOB, 0, batch, "foo.f", 0, False),
        Cancelled(JOB),
        Wanted(Fetch(0, 0, "k", delete=False), print),
        Completed(1, 2, 0, batch, 0.0, bytes(8), b""),
        StopRequested(1.0),
        Refused("no"),
    ]


def prepared_client(state: str) -> ClientBench:
    bench = ClientBench()
    if state in ("up", "submitted", "stopped"):
        bench.connect()
    if state in ("submitted", "stopped"):
        bench.submit(4, last=False)
    if state == "greeting":
        bench.handle(Connected())
    if state == "stopped":
        bench.handle(StopRequested(0.0))
    if state == "failed":
        bench.handle(Refused("no"))
    return bench


def prepared_worker(state: str) -> WorkerBench:
    bench = WorkerBench()
    if state in ("up", "running", "stopping"):
        bench.connect()
    if state in ("running", "stopping"):
        bench.task(1, n=3), bench.task(2)
    if state == "greeting":
        bench.handle(Connected())
    if state == "stopping":
        bench.handle(StopRequested(5.0))
    if state == "failed":
        bench.handle(Refused("no"))
    return bench


CLIENT_STATES = ["down", "greeting", "up", "submitted", "stopped", "failed"]
WORKER_STATES = ["down", "greeting", "up", "running", "stopping", "failed"]


@pytest.mark.parametrize("state", CLIENT_STATES)
@given(messages=st.lists(any_message, min_size=1, max_size=6), ours=st.booleans())
def test_client_bears_every_message(
    state: str, messages: list[tuple[Message, Batch | None]], ours: bool
) -> None:
    bench = prepared_client(state)
    for message, batch in messages:
        if ours:
            message.link = 1
        bench.receive(message, batch)
    bench.pass_time(100.0)


@pytest.mark.parametrize("state", WORKER_STATES)
@given(messages=st.lists(any_message, min_size=1, max_size=6), ours=st.booleans())
def test_worker_bears_every_message(
    state: str, messages: list[tuple[Message, Batch | None]], ours: bool
) -> None:
    bench = prepared_worker(state)
    for message, batch in messages:
        if ours:
            message.link = 1
        bench.receive(message, batch)
    for _ in range(20):
        bench.now += 10.0
        bench.handle(Tick())


@given(st.tuples(*[messages_of(kind, st.just(1)) for kind in KINDS]))
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_each_kind_of_message_is_borne_in_each_state(
    messages: tuple[tuple[Message, Batch | None], ...],
) -> None:
    for message, batch in messages:
        for state in CLIENT_STATES:
            prepared_client(state).receive(message, batch)
        for state in WORKER_STATES:
            prepared_worker(state).receive(message, batch)


@pytest.mark.parametrize("role", ["client", "worker", "master"])
def test_each_pair_of_events_is_borne(role: str) -> None:
    for first, second in product(range(12), repeat=2):
        for state in {"client": CLIENT_STATES, "worker": WORKER_STATES}.get(role, ["new"]):
            if role == "master":
                bench: Any = MasterBench()
                Peer(bench, "client", "c", b"c" * 16)  # its routing id is that of the events
            else:
                bench = (prepared_client if role == "client" else prepared_worker)(state)
            for at in (first, second):
                bench.handle(events()[at])


# Greetings


def test_functions_that_are_announced_twice_are_served_once(bench: MasterBench) -> None:
    worker = bench.worker(functions=["f", "f"])
    bench.client().submit(JOB, payloads(2))
    worker.work()
    worker.lose()
    bench.worker("next", ["f", "f"]).send(Returned(0, []))


def test_second_session_over_one_connection_ends_the_first(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    assert worker.tasks()
    hello = Hello(0, VERSION, "worker", "other", b"other", "foo", ["g"], [])
    bench.handle(Received(worker.id, hello, None, frozenset({"worker"})))
    assert bench.worker("next").tasks(), "the first session's lease is lost"


# Workers' answers


def test_lease_that_is_returned_twice_is_leased_once(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, _),) = worker.tasks()
    worker.send(Returned(0, [task.lease, task.lease, 99]))
    worker.work()
    assert len(client.outcomes()) == 1


def test_answer_for_a_job_that_is_not_the_leases_is_a_strike(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    for session, job in [(b"other", JOB), (client.session, b"other")]:
        worker.answer(Task(0, task.lease, session, job, 0, 1, 1, "f", 0), batch)
    assert len(worker.take(Fault)) == 2
    worker.answer(task, batch)
    assert len(client.outcomes()) == 1


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 0.0])
def test_durations_that_make_no_sense_do_not_stop_the_work(
    bench: MasterBench, seconds: float
) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(400), last=False)
    worker.answer(*worker.tasks()[0], seconds=seconds)
    worker.work(seconds=2.7e-5)
    assert len(client.outcomes()) == 400
    client.submit(JOB, payloads(4000), first=400, last=False)
    ahead = [task.n for task, _ in worker.tasks()]
    assert len(ahead) > 1 and max(ahead) > 100, "it spoilt what was learnt since"


def test_calls_that_take_no_time_at_all_can_be_leased_for_ever() -> None:
    pool, client = Pool(), MasterBench().client()
    client.submit(JOB, payloads(1000), last=False)
    session = client.bench.master._clients[client.session]
    pool.measured("f", 1.0, 1)
    for _ in range(5000):  # a mean that halves each time ends among the smallest numbers
        pool.measured("f", 0.0, 1)
    assert pool.lease_size(session.jobs[JOB], WorkerSession(b"w", "w", ("f",))) >= 1


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(0, 9)), max_size=8))
def test_answers_of_any_shape_lose_and_double_nothing(
    answers: list[tuple[int, int, int]],
) -> None:
    bench = MasterBench()
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(12), last=False)
    for first, n, lease in answers:
        took = struct.pack(f"<{n}f", *[0.001] * n)
        result = Result(0, lease, client.session, JOB, first, n, 1, 0, 0.0, took, b"")
        worker.send(result, Batch.pack(payloads(n)))
    worker.reconnect(holds=range(10)).lose()
    last = bench.worker("last")
    last.work()
    assert set(client.outcomes()) == set(range(12))


# Masters' messages


@pytest.mark.parametrize("kind", [Recall, Revoke])
def test_lease_that_is_asked_back_twice_is_returned_once(
    kind: type[Recall] | type[Revoke],
) -> None:
    bench = WorkerBench()
    bench.connect()
    bench.task(1), bench.task(2)
    bench.receive(kind(1, [2, 2, 77]))
    assert [returned.leases for returned in bench.sent(Returned)] == [[2]]


def test_outcomes_of_messages_that_were_never_sent_are_ignored() -> None:
    bench = ClientBench()
    bench.connect()
    bench.submit(2, last=False)
    bench.submit(2, 5, last=False)
    for first, n in [(0, 7), (2, 3), (7, 1), (1, 1), (4, 2), (100, 5)]:
        bench.outcome(first, n)
    bench.outcome(0, 1), bench.outcome(5, 2)
    bench.submit(0, 7, last=True)
    delivered = [(d.outcome.first, d.outcome.n) for d in bench.all(Deliver)]
    assert sorted(delivered) == [(0, 1), (1, 1), (5, 2)]
    assert bench.machine._jobs == {}


def test_task_that_comes_twice_is_not_begun_while_the_first_runs() -> None:
    bench = WorkerBench()
    bench.connect()
    bench.task(1), bench.task(1)
    assert len([e for e in bench.effects if isinstance(e, Invoke)]) == 1
    bench.complete()


# The cache


def test_value_that_palm_did_not_store_is_read_without_harm(bench: MasterBench) -> None:
    bench.values["empty"] = b""
    client = bench.client()
    client.send(Fetch(0, 1, "empty", delete=False))
    assert [kept.found for kept in client.take(Kept)] == [True]


def test_refused_greeting_leaves_the_session_as_it_was(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    hello = Hello(0, VERSION, "worker", "c", client.session, "foo", ["f"], [])
    bench.handle(Received(client.id, hello, None, frozenset({"client", "worker"})))
    assert [fault.code for fault in client.take(Fault)] == ["role"]
    client.submit(JOB, payloads(1))
    worker.work()
    assert len(client.outcomes()) == 1
    assert not worker.take(Welcome)[1:] and not client.take(Outcome)


def test_stranger_may_leave(bench: MasterBench) -> None:
    stranger = Peer(bench, "client", "c", b"c" * 16)
    stranger.send(Fetch(0, 1, "k", delete=False))
    stranger.lose()
    stranger.lose()
    assert not bench.master._sessions.strangers
