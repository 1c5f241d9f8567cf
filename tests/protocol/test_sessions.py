"""A worker whose connection breaks has died, or comes back: messages answer for deaths only."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.dispatch import MAX_DEATHS
from palm.protocol.effects import Log
from palm.protocol.events import PeerLost
from palm.protocol.sessions import RETURN_WITHIN
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Close, Fetch, Keep, Kept, Welcome
from palm.wire.outcome import Kind, decode_failure
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."
RESULT = {0: (Kind.RESULT, b"0")}


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def come_back(worker: Peer, holds: list[int]) -> Peer:
    """Lose the connection, and greet over the next one."""
    worker.lose()
    return worker.reconnect(holds=holds)


def kill_alone(bench: MasterBench, n: int) -> None:
    """Let workers die on the one message there is until ``n`` ran it alone."""
    for number in range(n + 1):  # the first runs it in company
        worker = bench.worker(f"victim-{number}")
        assert worker.tasks()
        worker.lose()


def kept(worker: Peer) -> list[int]:
    """The leases that the last welcome keeps."""
    keep: list[int] = worker.take(Welcome)[-1].keep
    return keep


def is_poisoned(client: Peer) -> bool:
    return [kind for kind, _ in client.outcomes().values()] == [Kind.POISON_TASK]


# Those who come back


@pytest.mark.parametrize("holds", [True, False])
def test_message_is_not_blamed_for_connections_that_break(bench: MasterBench, holds: bool) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    for _ in range(3 * MAX_DEATHS):
        worker = come_back(worker, [task.lease] if holds else [])
        bench.pass_time(RETURN_WITHIN + 0.1)
        if not holds:  # it never came
            ((task, batch),) = worker.tasks()
    worker.answer(task, batch)
    assert client.outcomes() == RESULT


def test_worker_that_is_back_goes_on_with_what_it_ran(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    for _ in range(2):  # the second time it runs alone
        worker = come_back(worker, [task.lease])
        assert kept(worker) == [task.lease]
        assert not worker.tasks(), "it is not run twice"
    worker.answer(task, batch)
    assert client.outcomes() == RESULT
    assert bench.master.late_results == 0
    assert bench.master.holdings() == {"jobs": 1, "outcomes": 1}


def test_batch_is_gone_on_with_where_it_was(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(100), last=False)
    worker.answer(*worker.tasks()[0], seconds=1e-4)
    (task, batch), *others = worker.tasks()
    assert task.n > 2 and others
    worker.answer(task, batch, 0, 1)
    worker = come_back(worker, [task.lease, *(other.lease for other, _ in others)])
    assert kept(worker) == [task.lease], "what was not begun may go to others"
    worker.answer(task, batch, 1)
    worker.work()
    assert set(client.outcomes()) == set(range(100))


def test_what_others_were_given_meanwhile_is_theirs(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    other = bench.worker("other")
    worker.lose()
    ((again, _),) = other.tasks()
    back = worker.reconnect(holds=[task.lease])
    assert kept(back) == []
    task.lease = 0
    back.answer(task, batch)
    other.answer(again, batch)
    assert client.outcomes() == RESULT
    assert bench.master.holdings() == {"jobs": 1, "outcomes": 1}


def test_batch_of_which_others_were_lost_running_one_is_not_gone_on_with(
    bench: MasterBench,
) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(100), last=False)
    worker.answer(*worker.tasks()[0], seconds=1e-4)
    task, _ = worker.tasks()[0]
    worker.lose()
    victim = bench.worker("victim")
    ((single, _),) = victim.tasks()
    assert single.n == 1
    victim.lose()
    assert kept(worker.reconnect(holds=[task.lease])) == []


def test_workers_that_are_lost_together_and_come_back_are_not_counted(bench: MasterBench) -> None:
    client = bench.client()
    workers = [bench.worker(f"w{number}") for number in range(2 * MAX_DEATHS)]
    client.submit(JOB, payloads(1))
    given_to = 0
    while lost := [worker for worker in workers if worker.tasks()]:
        given_to += len(lost)
        for worker in lost:  # it never came: this one's connection had broken as well
            worker.lose()
    assert given_to == MAX_DEATHS + 1, "more must not be put at risk"
    back = [come_back(worker, []) for worker in workers]
    bench.pass_time(RETURN_WITHIN + 0.1)
    for worker in back:
        worker.work()
    assert client.outcomes() == RESULT


def test_message_is_given_to_no_other_slot_of_a_process_that_is_gone(bench: MasterBench) -> None:
    client = bench.client()
    slots = [bench.worker(f"w-{number}", process=b"p") for number in range(2 * MAX_DEATHS)]
    client.submit(JOB, payloads(1))
    (lost,) = [slot for slot in slots if slot.tasks()]
    lost.lose()
    slots.remove(lost)
    assert not any(slot.tasks() for slot in slots)
    for slot in slots:
        slot.lose()
    bench.worker("another").work()
    assert client.outcomes() == RESULT


def test_slot_of_a_process_that_is_there_after_all_is_given_work_again(bench: MasterBench) -> None:
    client = bench.client()
    lost, other = (bench.worker(f"w-{number}", process=b"p") for number in range(2))
    client.submit(JOB, payloads(1))
    if not lost.tasks():
        lost, other = other, lost
    lost.lose()
    assert not other.work()
    bench.pass_time(RETURN_WITHIN + 0.1)
    assert other.work() == [1]
    assert client.outcomes() == RESULT


def process_of(bench: MasterBench, name: str) -> list[Peer]:
    return [bench.worker(f"{name}-{number}", process=name.encode()) for number in range(4)]


def test_messages_that_run_alone_run_one_by_one_in_a_process(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(4))
    for slot in process_of(bench, "lost"):
        slot.lose()
    slots = process_of(bench, "there")
    for _ in range(4):
        (given,) = [(slot, tasks) for slot in slots if (tasks := slot.tasks())]
        slot, ((task, batch),) = given
        assert task.alone
        slot.answer(task, batch)
        bench.pass_time(0.01)
    assert set(client.outcomes()) == set(range(4))
    client.submit(b"other", payloads(4))
    assert [len(slot.tasks()) for slot in slots] == [1] * 4, "all slots are given work again"


def test_message_that_ends_a_process_of_several_slots_is_the_only_one_that_is_blamed(
    bench: MasterBench,
) -> None:
    client = bench.client()
    client.submit(JOB, payloads(4))
    kinds: dict[int, int] = {}
    for life in range(20):
        slots = process_of(bench, f"life{life}")
        while given := [(slot, *pair) for slot in slots for pair in slot.tasks()]:
            if any(task.first == 0 for _, task, _ in given):
                for slot in slots:
                    slot.lose()
                break
            for slot, task, batch in given:
                slot.answer(task, batch)
            bench.pass_time(0.01)
        bench.pass_time(RETURN_WITHIN + 0.1)
        kinds |= {index: kind for index, (kind, _) in client.outcomes().items()}
        if len(kinds) == 4:
            break
    assert kinds == {0: Kind.POISON_TASK, 1: Kind.RESULT, 2: Kind.RESULT, 3: Kind.RESULT}


def test_one_that_comes_back_gives_the_message_another_chance(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    kill_alone(bench, MAX_DEATHS - 1)
    last = bench.worker("last")
    assert last.tasks()
    back = come_back(last, [])
    bench.pass_time(RETURN_WITHIN + 0.1)
    back.work()
    assert client.outcomes() == RESULT


def test_late_answer_of_who_is_back_settles_a_message_in_doubt(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    kill_alone(bench, MAX_DEATHS - 1)
    last = bench.worker("last")
    ((task, batch),) = last.tasks()
    back = come_back(last, [])
    task.lease = 0
    back.answer(task, batch)
    assert client.outcomes() == RESULT
    bench.pass_time(RETURN_WITHIN + 0.1)
    assert not client.outcomes()


def test_news_of_the_end_that_comes_after_the_greeting_changes_nothing(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    for _ in range(2 * MAX_DEATHS):
        back = worker.reconnect(holds=[task.lease])
        bench.handle(PeerLost(worker.id))
        worker = back
        assert kept(worker) == [task.lease]
    worker.answer(task, batch)
    assert client.outcomes() == RESULT


def test_cache_operation_of_a_worker_that_is_back_is_not_carried_out_twice(
    bench: MasterBench,
) -> None:
    client, worker = bench.client(), bench.worker()
    worker.send(Keep(0, 1, "k", Codec.RAW), Batch.pack([b"first"]))
    client.send(Keep(0, 1, "k", Codec.RAW), Batch.pack([b"second"]))
    back = come_back(worker, [])
    back.send(Keep(0, 1, "k", Codec.RAW), Batch.pack([b"first"]))
    back.send(Fetch(0, 2, "k", delete=False))
    ((_, value),) = [(m, b) for m, b in back.inbox if isinstance(m, Kept) and m.op == 2]
    assert value is not None and value.payloads() == [b"second"]


# Those who have died


def test_message_in_doubt_waits_until_it_is_known_who_died(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1), last=False)
    kill_alone(bench, MAX_DEATHS)
    worker = bench.worker("next")
    assert not worker.tasks()
    client.submit(JOB, payloads(2)[1:], first=1)
    worker.work()
    assert set(client.outcomes()) == {1}, "others need not wait"
    bench.pass_time(RETURN_WITHIN - 0.1)
    assert not client.outcomes()
    bench.pass_time(0.2)
    ((kind, payload),) = client.outcomes().values()
    assert kind == Kind.POISON_TASK
    assert f"{MAX_DEATHS} workers" in decode_failure(payload).text


def test_worker_that_is_started_anew_has_died_before(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    for number in range(MAX_DEATHS + 1):
        worker = Peer(bench, "worker", "w", b"session-%d" % number)
        worker.hello(functions=["f"])
        assert worker.tasks()
        worker.lose()
    Peer(bench, "worker", "w", b"last").hello(functions=["f"])
    assert is_poisoned(client)


def test_worker_that_comes_back_too_late_counts_as_dead(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    for _ in range(MAX_DEATHS + 1):
        ((task, _),) = worker.tasks()
        worker.lose()
        bench.pass_time(RETURN_WITHIN + 0.1)
        worker = worker.reconnect(holds=[task.lease])
    assert not worker.tasks()
    assert is_poisoned(client)


def test_worker_that_stays_away_leaves_nothing(bench: MasterBench) -> None:
    bench.worker().lose()
    bench.pass_time(RETURN_WITHIN + 0.1)
    assert bench.master.next_deadline is None


@given(st.lists(st.sampled_from(["back", "back with it", "late", "dead", "anew"]), max_size=12))
def test_deaths_are_counted_and_nothing_else(fates: list[str]) -> None:
    bench = MasterBench()
    client, worker = bench.client(), bench.worker("w0")
    client.submit(JOB, payloads(1))
    deaths, lease = -1, 0  # the first runs it in company
    for number, fate in enumerate(["dead", *fates], 1):
        lease = ([lease] + [task.lease for task, _ in worker.tasks()])[-1]
        worker.lose()
        deaths += not fate.startswith("back")
        if fate == "back with it":
            worker = worker.reconnect(holds=[lease])
            assert kept(worker) == [lease]
        elif fate == "back":
            worker = worker.reconnect()
        elif fate == "anew":
            worker = Peer(bench, "worker", worker.name, b"anew-%d" % number)
            worker.hello(functions=["f"])
        else:
            bench.pass_time(RETURN_WITHIN + 0.1)
            worker = worker.reconnect() if fate == "late" else bench.worker(f"w{number}")
        if deaths >= MAX_DEATHS:
            break
    assert is_poisoned(client) == (deaths >= MAX_DEATHS)


# Besides


@pytest.mark.parametrize("state", ["away", "in doubt"])
def test_closed_job_leaves_nothing(bench: MasterBench, state: str) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    kill_alone(bench, MAX_DEATHS - 1 if state == "in doubt" else 0)
    last = bench.worker("last")
    ((task, _),) = last.tasks()
    last.lose()
    client.send(Close(0, JOB))
    assert kept(last.reconnect(holds=[task.lease])) == []
    bench.pass_time(RETURN_WITHIN + 0.1)
    assert bench.master.holdings() == {}
    assert bench.master._dispatcher._doubtful == {}


def test_coming_and_going_is_in_the_log(bench: MasterBench) -> None:
    come_back(bench.worker(), [])
    logged = [(effect.level, effect.text) for effect in bench.effects if isinstance(effect, Log)]
    assert logged == [
        (logging.INFO, "worker w joined, serves f"),
        (logging.WARNING, "worker w was lost"),
        (logging.INFO, "worker w is back"),
    ]


def test_session_of_who_is_away_cannot_become_a_clients(bench: MasterBench) -> None:
    worker = bench.worker()
    worker.lose()
    client = Peer(bench, "client", "c", worker.session)
    client.hello()
    assert not client.take(Welcome)
