"""A message that may not run twice is not leased again once it may have begun."""

from __future__ import annotations

import pytest

from palm.protocol.sessions import RETURN_WITHIN
from palm.protocol.settlement import PARK_FOR, PARK_LEAST
from palm.wire.message import Bye, Outcome, Returned, Terms
from palm.wire.outcome import Kind
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."
ONCE = Terms(at_most_once=True)


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def kinds(client: Peer) -> dict[int, int]:
    return {index: kind for index, (kind, _) in client.outcomes().items()}


def test_message_of_a_dead_worker_gets_workerlost(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(3), terms=ONCE)
    assert len(worker.tasks()) == 1
    worker.lose()
    bench.pass_time(RETURN_WITHIN + 0.1)
    assert kinds(client) == {0: Kind.WORKER_LOST}
    assert bench.worker("next").work() == [1, 1], "what had not begun is leased"
    assert kinds(client) == {1: Kind.RESULT, 2: Kind.RESULT}


def test_worker_that_is_back_goes_on(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=ONCE)
    ((task, batch),) = worker.tasks()
    worker.lose()
    other = bench.worker("other")
    assert not other.tasks() and not client.outcomes()
    worker.reconnect(holds=[task.lease]).answer(task, batch)
    bench.pass_time(10.0)
    assert kinds(client) == {0: Kind.RESULT}


def test_worker_that_is_back_without_it_has_run_it(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=ONCE)
    worker.lose()
    again = worker.reconnect()
    assert kinds(client) == {0: Kind.WORKER_LOST} and not again.tasks()


def test_worker_on_another_host_that_is_back_without_it_has_run_it(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker(local=False)
    client.submit(JOB, payloads(1), terms=ONCE)
    worker.lose()
    again = worker.reconnect(local=False)
    assert kinds(client) == {0: Kind.WORKER_LOST} and not again.tasks()


def test_lease_that_was_given_back_did_not_begin(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=ONCE)
    ((task, _),) = worker.tasks()
    worker.send(Returned(0, [task.lease]))
    assert worker.work() == [1] and kinds(client) == {0: Kind.RESULT}


def test_lease_that_is_given_back_after_a_greeting_may_have_run(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker(local=False)
    client.submit(JOB, payloads(1), terms=ONCE)
    ((task, _),) = worker.tasks()
    worker.lose()
    again = worker.reconnect(holds=[task.lease], local=False)
    again.send(Returned(0, [task.lease]))  # its answer was lost with a link in between
    assert not again.tasks() and kinds(client) == {0: Kind.WORKER_LOST}


@pytest.mark.parametrize("begun", [None, [], "it"])
def test_worker_that_leaves_says_what_it_began(bench: MasterBench, begun: object) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=ONCE)
    ((task, _),) = worker.tasks()
    worker.send(Bye(0, "stopped", [task.lease] if begun == "it" else begun))  # type: ignore[arg-type]
    sizes = bench.worker("next").work()
    assert sizes == ([1] if begun == [] else [])
    assert kinds(client) == {0: Kind.RESULT if begun == [] else Kind.WORKER_LOST}


def test_nothing_lies_behind_a_lease_that_may_not_run_twice(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(b"known", payloads(2))
    worker.work(1e-6)
    client.submit(JOB, payloads(2), terms=ONCE, last=False)
    client.submit(b"other", payloads(20))
    assert [task.job for task, _ in worker.tasks()] == [JOB]


def test_new_master_gives_what_may_have_begun_no_second_start(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(2), terms=ONCE, may_have_begun=True, last=False)
    client.submit(JOB, payloads(1), first=2, terms=ONCE)
    ((task, batch),) = worker.tasks()
    assert task.first == 2
    worker.answer(task, batch)
    task.first, task.lease = 0, 0  # the result of a lease of the master before
    worker.answer(task, batch)
    bench.pass_time(PARK_FOR - 0.1)
    assert kinds(client) == {2: Kind.RESULT, 0: Kind.RESULT}
    bench.pass_time(0.2)
    assert kinds(client) == {1: Kind.MASTER_LOST} and not worker.tasks()


@pytest.mark.parametrize(
    ("waited", "seconds"),
    [(4.0, PARK_FOR - 4.0), (100.0, PARK_LEAST), (-1.0, PARK_FOR), (float("nan"), PARK_FOR)],
)
def test_who_has_waited_for_masters_before_need_not_begin_anew(
    bench: MasterBench, waited: float, seconds: float
) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1), terms=ONCE, may_have_begun=True, waited=waited)
    bench.pass_time(seconds - 0.1)
    assert not client.outcomes()
    bench.pass_time(0.2)
    assert kinds(client) == {0: Kind.MASTER_LOST}


def test_answers_that_were_lost_were_given_all_the_same(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(60), terms=ONCE, last=False)
    worker.answer(*worker.tasks()[0], seconds=1e-6)
    ((task, batch),) = worker.tasks()
    worker.answer(task, batch, start=2, seconds=1e-6)
    (lost,) = [m for m, _ in client.inbox if isinstance(m, Outcome) and m.kinds]
    assert (lost.first, lost.n, lost.kinds[0]) == (task.first, 2, Kind.WORKER_LOST)
