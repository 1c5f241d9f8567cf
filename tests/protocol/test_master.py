"""The master's rules, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.effects import Log, Note, Probe, Stopped
from palm.protocol.events import Garbled, Received
from palm.protocol.sessions import RETURN_WITHIN
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import (
    Ack,
    Bye,
    Close,
    Fault,
    Fetch,
    Keep,
    Kept,
    Message,
    Notice,
    Outcome,
    Recall,
    Reset,
    Returned,
    Revoke,
    Task,
    Welcome,
)
from palm.wire.outcome import Kind, decode_failure
from tests.support.machines import MasterBench, Peer, payloads
from tests.support.messages import any_message

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def ack_all(client: Peer) -> None:
    """Acknowledge every outcome so far."""
    serials = [m.serial for m, _ in client.inbox if isinstance(m, Outcome)]
    if serials:
        client.send(Ack(0, max(serials)))


# Peers


def test_a_peer_is_welcomed_with_a_link_of_its_own(bench: MasterBench) -> None:
    first, second = bench.worker("a"), bench.client("b")
    assert first.link and second.link and first.link != second.link
    (welcome,) = second.take(Welcome)
    assert (welcome.name, welcome.epoch) == ("foo", b"epoch")


@pytest.mark.parametrize(
    ("hello", "code"),
    [({"version": 99}, "version"), ({"roles": frozenset({"client"})}, "role")],
    ids=["another version", "a key that does not allow the role"],
)
def test_a_greeting_is_refused(bench: MasterBench, hello: dict[str, object], code: str) -> None:
    peer = bench.worker("a", **hello)
    assert [fault.code for fault in peer.take(Fault)] == [code]
    assert not peer.take(Welcome)


def test_a_stranger_gets_one_reset_for_its_link(bench: MasterBench) -> None:
    stranger = Peer(bench, "client", "c", b"c" * 16)
    stranger.link = 7
    for _ in range(3):
        stranger.send(Ack(0, 1))
    assert [reset.link for reset in stranger.take(Reset)] == [7]


def test_frames_of_an_earlier_link_are_ignored(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.link -= 1
    client.submit(JOB, payloads(1))
    assert not worker.tasks()
    assert client.take(Reset)


def test_a_peer_that_breaks_the_protocol_thrice_has_to_greet_again(bench: MasterBench) -> None:
    client = bench.client()
    for _ in range(3):
        bench.handle(Garbled(client.id, "no header"))
    assert len(client.take(Fault)) == 3
    client.submit(JOB, payloads(1))
    assert client.take(Reset)


def test_a_client_may_not_do_what_workers_do(bench: MasterBench) -> None:
    client = bench.client()
    client.send(Returned(0, [1]))
    assert [fault.code for fault in client.take(Fault)] == ["broken"]


@pytest.mark.parametrize("state", ["stranger", "client", "worker", "working", "stopping"])
@given(messages=st.lists(st.tuples(any_message, st.booleans()), min_size=1, max_size=6))
def test_every_message_is_answered_in_every_state(
    state: str, messages: list[tuple[tuple[Message, Batch | None], bool]]
) -> None:
    bench = MasterBench()
    peer = Peer(bench, "client", "c", b"c" * 16)
    if state == "client":
        peer = bench.client()
    elif state != "stranger":
        peer = bench.worker()
    if state in ("working", "stopping"):
        bench.client("other").submit(JOB, payloads(20))
    if state == "stopping":
        bench.stop()
    for (message, batch), ours in messages:
        if ours:
            message.link = peer.link
        bench.handle(Received(peer.id, message, batch, frozenset({"client", "worker"})))
    bench.pass_time(100.0)


# Leases


def test_a_message_goes_to_a_worker_that_serves_its_function(bench: MasterBench) -> None:
    client, other, server = bench.client(), bench.worker("a", ["g"]), bench.worker("b", ["f"])
    client.submit(JOB, payloads(1))
    assert not other.tasks()
    ((task, batch),) = server.tasks()
    assert (task.function, task.attempt, batch.payloads()) == ("f", 1, [b"0"])


def test_the_first_lease_holds_one_message_and_later_ones_grow(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1000), last=False)
    sizes = worker.work(seconds=1e-6)
    assert sizes[0] == 1
    assert sizes == sorted(sizes[:-1]) + sizes[-1:]
    assert max(sizes) > 200
    assert len(client.outcomes()) == 1000


def test_long_calls_are_leased_one_by_one_and_not_ahead(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(10), last=False)
    for _ in range(10):
        ((task, batch),) = worker.tasks()
        assert task.n == 1
        worker.answer(task, batch, seconds=0.5)


def test_idle_workers_come_first(bench: MasterBench) -> None:
    client = bench.client()
    workers = [bench.worker(name) for name in ("a", "b", "c")]
    client.submit(JOB, payloads(3), last=False)
    assert [[task.n for task, _ in worker.tasks()] for worker in workers] == [[1], [1], [1]]


@pytest.mark.parametrize(("seconds", "most"), [(2e-4, 10), (1e-6, 40)])
def test_near_the_end_nobody_gets_all_that_is_left_unless_it_is_next_to_nothing(
    bench: MasterBench, seconds: float, most: int
) -> None:
    client, a, b = bench.client(), bench.worker("a"), bench.worker("b")
    client.submit(JOB, payloads(100), last=False)
    a.work(seconds), b.work(seconds)
    client.submit(JOB, payloads(40), first=100, last=True)
    assert max(task.n for worker in (a, b) for task, _ in worker.tasks()) == most


def test_jobs_take_turns(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    for job in (b"a", b"b"):
        client.submit(job, payloads(4), last=False)
    order = []
    while tasks := worker.tasks():
        for task, batch in tasks:
            order.append(task.job)
            worker.answer(task, batch, seconds=0.5)
    assert order[1:7] == [b"a", b"b"] * 3  # the first was leased before b was there


def test_what_a_busy_worker_has_not_begun_is_recalled_for_an_idle_one(bench: MasterBench) -> None:
    client, busy = bench.client(), bench.worker("busy")
    client.submit(JOB, payloads(2), last=False)
    busy.work(0.008)  # short ones, so that more is given ahead
    client.submit(JOB, payloads(4), first=2, last=False)
    leases = busy.tasks()
    assert len(leases) > 1
    idle = bench.worker("idle")
    bench.pass_time(1.0)
    (recall,) = busy.take(Recall)[:1]
    assert leases[0][0].lease not in recall.leases
    busy.send(Returned(0, recall.leases))
    assert idle.tasks()


# Loss


def test_a_begun_lease_is_run_again_message_by_message(bench: MasterBench) -> None:
    client, first = bench.client(), bench.worker("a")
    client.submit(JOB, payloads(200), last=False)
    while True:
        tasks = first.tasks()
        begun, batch = tasks[0]
        if begun.n >= 4:
            break
        for task, each in tasks:
            first.answer(task, each, seconds=1e-6)
    first.answer(begun, batch, 0, 2)
    first.lose()
    second = bench.worker("b")
    suspects = []
    for _ in range(begun.n - 2):
        ((task, each),) = second.tasks()
        suspects.append((task.first, task.n, task.attempt))
        second.answer(task, each)
    expected = range(begun.first + 2, begun.first + begun.n)
    assert suspects == [(index, 1, 2) for index in expected]
    second.work()
    assert len(client.outcomes()) == 200


def test_a_lease_that_was_not_begun_goes_back_without_blame(bench: MasterBench) -> None:
    client, first = bench.client(), bench.worker("a")
    client.submit(JOB, payloads(60), last=False)
    first.answer(*first.tasks()[0], seconds=1e-4)
    begun, *others = first.tasks()
    assert others
    first.lose()
    second = bench.worker("b")
    attempts = {}
    while tasks := second.tasks():
        for task, batch in tasks:
            attempts.update({task.first + i: task.attempt for i in range(task.n)})
            second.answer(task, batch)
    blamed = range(begun[0].first, begun[0].first + begun[0].n)
    assert {index for index, attempt in attempts.items() if attempt == 2} == set(blamed)


def test_a_message_that_ends_three_workers_alone_is_poison(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    attempts = []
    for number in range(10):
        worker = bench.worker(f"w{number}")
        tasks = worker.tasks()
        if not tasks:
            break
        attempts.append(tasks[0][0].attempt)
        worker.lose()
    assert attempts == [1, 2, 3, 4]  # once in company, three times alone
    assert not client.outcomes(), "one of them may still come back"
    bench.pass_time(RETURN_WITHIN + 0.1)
    ((kind, payload),) = client.outcomes().values()
    assert kind == Kind.POISON_TASK
    assert "3 workers" in decode_failure(payload).text


def test_a_late_result_counts_once(bench: MasterBench) -> None:
    client, slow = bench.client(), bench.worker("slow")
    client.submit(JOB, payloads(1))
    ((task, batch),) = slow.tasks()
    slow.lose()
    back = slow.reconnect()
    assert back.tasks()  # it is run again, by the same worker
    back.answer(Task(0, 0, task.session, JOB, 0, 1, 1, "f", 0), batch)
    assert len(client.outcomes()) == 1
    back.answer(Task(0, 0, task.session, JOB, 0, 1, 2, "f", 0), batch)
    assert not client.outcomes()
    assert bench.master.late_results == 1


def test_a_worker_on_another_host_may_come_back_within_the_grace(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker("far", local=False)
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    worker.lose()
    bench.pass_time(1.0)
    back = worker.reconnect(holds=[task.lease], local=False)
    (welcome,) = back.take(Welcome)
    assert welcome.keep == [task.lease]
    back.answer(task, batch)
    assert len(client.outcomes()) == 1


def test_a_worker_that_leaves_returns_what_it_has_without_blame(bench: MasterBench) -> None:
    client, leaving = bench.client(), bench.worker("a")
    client.submit(JOB, payloads(1))
    leaving.send(Bye(0, "it was stopped"))
    ((task, _),) = bench.worker("b").tasks()
    assert task.attempt == 1


def test_peers_that_hold_work_are_probed(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    bench.pass_time(11.0)
    probes = [effect for effect in bench.effects if isinstance(effect, Probe)]
    assert {probe.peer for probe in probes} == {worker.id}
    assert len(probes) == 2


# Clients


def test_outcomes_are_sent_again_until_they_are_acknowledged(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(3), last=False)
    worker.work()
    ack_all(client)
    assert len(client.outcomes()) == 3
    client.submit(JOB, payloads(2), first=3)
    worker.work()
    client.lose()
    assert set(client.reconnect().outcomes()) == {3, 4}


def test_messages_that_are_submitted_again_are_not_run_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(2), last=False)
    client.lose()
    back = client.reconnect()
    back.submit(JOB, payloads(3))
    worker.work()
    assert set(back.outcomes()) == {0, 1, 2}
    assert bench.master.late_results == 0


def test_a_job_is_forgotten_when_all_is_acknowledged(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(30))
    worker.work()
    assert bench.master.holdings()
    ack_all(client)
    assert bench.master.holdings() == {}


def test_a_closed_job_is_revoked_and_forgotten(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(5))
    ((task, _),) = worker.tasks()
    client.send(Close(0, JOB))
    assert [revoke.leases for revoke in worker.take(Revoke)] == [[task.lease]]
    worker.send(Returned(0, [task.lease]))
    assert bench.master.holdings() == {}
    assert not worker.tasks()


def test_a_client_that_vanishes_is_forgotten_after_a_while(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(5))
    client.lose()
    bench.pass_time(59.0)
    assert bench.master.holdings()
    bench.pass_time(2.0)
    assert worker.take(Revoke)
    worker.send(Returned(0, [task.lease for task, _ in worker.tasks()]))
    assert bench.master.holdings() == {}


def test_results_of_jobs_not_known_yet_are_kept_after_a_restart(bench: MasterBench) -> None:
    worker, client = bench.worker(), bench.client()
    old = Task(0, 99, client.session, JOB, 0, 2, 1, "f", 0)
    worker.answer(old, Batch.pack(payloads(2)))
    client.submit(JOB, payloads(3))
    ((task, each),) = worker.tasks()
    assert (task.first, task.n) == (2, 1)
    worker.answer(task, each)
    assert set(client.outcomes()) == {0, 1, 2}


@pytest.mark.parametrize("function", ["foo.f", "test.f", "f"])
def test_own_name_alias_and_bare_name_reach_the_function(bench: MasterBench, function: str) -> None:
    client, worker = bench.client(server="test"), bench.worker()
    client.submit(JOB, payloads(1), function=function)
    assert worker.tasks()


# Functions that nobody serves


def test_a_job_without_a_worker_waits_and_says_so(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    bench.pass_time(1.9)
    assert not client.take(Notice)
    bench.pass_time(0.2)
    (notice,) = client.take(Notice)
    assert "no worker of 'foo' serves 'f' yet" in notice.text
    bench.worker().work()
    assert len(client.outcomes()) == 1


def test_an_unknown_function_is_an_error_with_the_nearest_name(bench: MasterBench) -> None:
    bench.worker(functions=["price", "volume"])
    client = bench.client()
    client.submit(JOB, payloads(2), function="foo.pric")
    bench.pass_time(3.0)
    outcomes = client.outcomes()
    assert [kind for kind, _ in outcomes.values()] == [Kind.FUNCTION_NOT_FOUND] * 2
    assert "did you mean 'price'?" in decode_failure(outcomes[0][1]).text


def test_a_function_that_was_served_before_is_waited_for(bench: MasterBench) -> None:
    bench.worker("a", ["f"]).lose()
    bench.worker("b", ["g"])
    client = bench.client()
    client.submit(JOB, payloads(1))
    bench.pass_time(10.0)
    assert not client.outcomes()
    bench.worker("c", ["f"]).work()
    assert len(client.outcomes()) == 1


# The cache, broken results, the end


def test_a_cache_operation_is_carried_out_once(bench: MasterBench) -> None:
    client = bench.client()
    client.send(Keep(0, 1, "k", Codec.RAW), Batch.pack([b"v"]))
    client.send(Fetch(0, 2, "k", delete=True))
    client.send(Fetch(0, 2, "k", delete=True))
    assert [kept.found for kept in client.take(Kept)] == [False, True, True]


def test_a_result_that_does_not_fit_its_lease_is_a_strike(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    worker.answer(Task(0, task.lease, task.session, JOB, 5, 1, 1, "f", 0), batch)
    assert worker.take(Fault)
    worker.answer(task, batch)
    assert len(client.outcomes()) == 1


def test_a_master_that_stops_waits_for_what_runs(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), last=False)
    ((task, batch),) = worker.tasks()
    client.submit(JOB, payloads(1), first=1)
    assert not any(isinstance(effect, Stopped) for effect in bench.stop())
    worker.answer(task, batch)
    assert any(isinstance(effect, Stopped) for effect in bench.effects)
    assert len(client.outcomes()) == 1
    assert client.take(Bye) and worker.take(Bye)


def test_a_master_does_not_wait_longer_than_its_grace(bench: MasterBench) -> None:
    client, _worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    bench.stop(grace=2.0)
    bench.pass_time(2.5)
    assert any(isinstance(effect, Stopped) for effect in bench.effects)


def test_what_happens_to_workers_is_logged(bench: MasterBench) -> None:
    bench.worker("w").lose()
    texts = [effect.text for effect in bench.effects if isinstance(effect, Log)]
    assert texts == ["worker w joined, serves f", "worker w was lost"]
    assert not any(isinstance(effect, Note) for effect in bench.effects)


def test_a_result_says_who_ran_it_and_when(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker("ada")
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    worker.answer(task, batch)
    (outcome,) = client.take(Outcome)
    assert (outcome.worker, outcome.attempt, len(outcome.durations)) == ("ada", 1, 4)
