"""What was on its way when a connection broke is neither lost nor done for nothing."""

from __future__ import annotations

import pytest

from palm.protocol.events import Cancelled, Connected, Disconnected, PeerLost, Received
from palm.protocol.sessions import REMOTE_GRACE, SESSION_TTL
from palm.wire.batch import Batch
from palm.wire.message import (
    VERSION,
    Close,
    Hello,
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

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


@pytest.fixture
def worker_bench() -> WorkerBench:
    return WorkerBench()


def large_lease(bench: MasterBench, worker: Peer) -> tuple[Task, Batch]:
    """Let a client submit, and the worker work, until a lease of ten or more is out."""
    bench.client().submit(JOB, payloads(400), last=False)
    while True:
        for task, batch in worker.tasks():
            if task.n >= 10:
                return task, batch
            worker.answer(task, batch, seconds=1e-5)


def come_back(worker: Peer, held: list[int]) -> Peer:
    """Greet over a new connection, before anybody has noticed the end of the old one."""
    back = worker.reconnect(holds=held)
    worker.bench.handle(PeerLost(worker.id))
    return back


# At the master


def test_results_that_were_lost_with_the_connection_are_made_up_for(bench: MasterBench) -> None:
    worker = bench.worker()
    task, batch = large_lease(bench, worker)
    # The answers for messages 0 .. 3 of the lease never came.
    back = come_back(worker, [task.lease])
    back.answer(task, batch, 4, 6)
    back.answer(task, batch, 6)
    back.work()
    (client,) = [p for p in bench.peers() if p.role == "client"]
    assert len(client.outcomes()) == 400
    assert bench.master.late_results == 0


def test_messages_whose_answer_was_lost_need_not_run_alone(bench: MasterBench) -> None:
    worker = bench.worker()
    task, batch = large_lease(bench, worker)
    back = come_back(worker, [task.lease])
    back.answer(task, batch, 4)
    again = []
    while tasks := back.tasks():
        for each, its in tasks:
            again += [(each.n, each.attempt)] if each.first == task.first else []
            back.answer(each, its, seconds=1e-5)
    assert again == [(4, 2)]


def test_a_lease_that_was_revoked_meanwhile_is_not_kept(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker(local=False)
    client.submit(JOB, payloads(1))
    ((task, _),) = worker.tasks()
    worker.lose()
    client.send(Close(0, JOB))
    back = worker.reconnect(holds=[task.lease], local=False)
    assert [welcome.keep for welcome in back.take(Welcome)] == [[]]
    assert bench.master.holdings() == {}


def test_nothing_is_recalled_for_a_worker_that_is_away(bench: MasterBench) -> None:
    client, busy = bench.client(), bench.worker("busy")
    client.submit(JOB, payloads(2), last=False)
    busy.work(0.008)  # short ones, so that more is given ahead
    client.submit(JOB, payloads(4), first=2, last=False)
    assert len(busy.tasks()) > 1
    bench.worker("away", local=False).lose()
    bench.pass_time(1.0)
    assert not busy.take(Recall)


@pytest.mark.parametrize("recalled", ["before", "meanwhile"])
def test_what_is_not_begun_is_recalled_again_over_a_new_link(
    bench: MasterBench, recalled: str
) -> None:
    client, busy = bench.client(), bench.worker("busy", local=False)
    client.submit(JOB, payloads(2), last=False)
    busy.work(0.008)  # short ones, so that more is given ahead
    client.submit(JOB, payloads(4), first=2, last=False)
    held = [task.lease for task, _ in busy.tasks()]
    assert len(held) > 1
    if recalled == "meanwhile":
        busy.lose()
    bench.worker("idle")
    bench.pass_time(1.0)
    if recalled == "before":
        assert busy.take(Recall), "it is about to be lost"
        busy.lose()
    back = busy.reconnect(holds=held, local=False)
    bench.pass_time(1.0)
    asked = {lease for recall in back.take(Recall) for lease in recall.leases}
    assert asked == set(held[1:])


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


def test_lease_of_an_earlier_master_is_not_taken_for_one_of_this(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, _),) = worker.tasks()  # lost on its way, and so was the welcome before it
    back = worker.reconnect(holds=[task.lease], epoch=b"another")
    assert [welcome.keep for welcome in back.take(Welcome)] == [[]]
    bench.handle(PeerLost(worker.id))
    back.work()
    assert len(client.outcomes()) == 1


def test_client_that_was_forgotten_gets_what_ran_all_the_time(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    client.lose()
    bench.pass_time(SESSION_TTL + 1.0)
    back = client.reconnect()
    back.submit(JOB, payloads(1))
    worker.answer(task, batch)
    assert len(back.outcomes()) == 1
    assert not worker.tasks(), "it is not run again"


# At the worker


def test_a_lease_whose_answer_waits_is_still_held(worker_bench: WorkerBench) -> None:
    worker_bench.connect()
    worker_bench.task(1), worker_bench.task(2)
    worker_bench.handle(Disconnected())
    worker_bench.complete()
    worker_bench.handle(Connected())
    assert sorted(worker_bench.sent(Hello)[-1].holds) == [1, 2]
    worker_bench.receive(Welcome(2, VERSION, b"e", "foo", {}, [1, 2]))
    assert [(r.lease, r.n) for r in worker_bench.sent(Result)] == [(1, 1)]


def test_a_lease_that_the_master_keeps_in_error_is_returned(worker_bench: WorkerBench) -> None:
    worker_bench.connect()
    worker_bench.task(1, n=3)
    worker_bench.receive(Revoke(1, [1]))
    worker_bench.handle(Disconnected())
    worker_bench.complete()  # one of three: the rest is let go
    worker_bench.connect(link=2, keep=(1,))
    assert [(r.lease, r.n) for r in worker_bench.sent(Result)] == [(1, 1)]
    assert worker_bench.sent(Returned)[-1].leases == [1]


def test_it_says_of_which_master_its_leases_are(worker_bench: WorkerBench) -> None:
    worker_bench.handle(Connected())
    assert worker_bench.sent(Hello)[-1].epoch == b""
    worker_bench.connect(epoch=b"one")
    worker_bench.task(1)
    for _ in range(2):  # also when the next master did not answer the first time
        worker_bench.handle(Disconnected())
        worker_bench.handle(Connected())
        hello = worker_bench.sent(Hello)[-1]
        assert (hello.epoch, hello.holds) == (b"one", [1])


# Both together: a greeting that is repeated meets answers on their way


def test_an_answer_between_two_greetings_is_not_missed(
    bench: MasterBench, worker_bench: WorkerBench
) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    peer = Peer(bench, "worker", "w", b"s" * 16)
    peer.functions = ["f"]
    peer.hello(["f"])
    ((task, batch),) = peer.tasks()
    worker_bench.connect(link=peer.link)
    worker_bench.receive(task, batch)
    worker_bench.handle(Connected())
    first = worker_bench.sent(Hello)[-1]
    assert first.holds == [task.lease]
    # Master's answer to this greeting is slow: the worker greets again, then answers.
    bench.handle(Received(peer.id, first, None, frozenset({"worker"})))
    worker_bench.receive(peer.take(Welcome)[-1])
    worker_bench.now += 0.001
    bench.handle(Received(peer.id, first, None, frozenset({"worker"})))
    worker_bench.complete()
    result = worker_bench.sent(Result)[-1]
    bench.handle(Received(peer.id, result, Batch.pack([b"late"])))  # over the first link: lost
    effects = worker_bench.receive(peer.take(Welcome)[-1])
    for effect in effects:
        message = getattr(effect, "message", None)
        if message is not None:
            bench.handle(Received(peer.id, message, effect.batch))
    assert peer.tasks(), "the message is neither answered nor leased again"
    assert not [m for m, _ in client.inbox if isinstance(m, Outcome)]


# Between clients and the master


def test_client_that_was_forgotten_may_submit_the_same_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(2))
    client.lose()
    bench.pass_time(SESSION_TTL + 1.0)
    back = client.reconnect()
    back.submit(JOB, payloads(2))
    worker.work()
    assert len(back.outcomes()) == 2


def test_what_was_answered_for_a_forgotten_client_is_not_run_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1))
    ((task, batch),) = worker.tasks()
    client.lose()
    bench.pass_time(SESSION_TTL + 1.0)
    back = client.reconnect()
    back.submit(JOB, payloads(1))
    worker.answer(task, batch)
    assert len(back.outcomes()) == 1
    assert not worker.tasks()


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_client_says_over_a_new_link_what_it_wants_no_more(how: str) -> None:
    bench = ClientBench()
    bench.connect()
    bench.submit(2, last=False)
    bench.outcome(0, 2)
    bench.handle(Disconnected())
    if how == "closed":
        bench.submit(0, 2, last=True)
    else:
        bench.handle(Cancelled(JOB))
    assert not bench.sent(Close)
    bench.connect(link=2)
    assert [(close.link, close.job) for close in bench.sent(Close)] == [(2, b"")]


def test_jobs_that_were_not_submitted_over_the_latest_link_are_closed(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    for number in range(3):
        client.submit(b"job%d" % number, payloads(2), last=False)
    worker.work()
    back = client.reconnect()
    back.submit(b"job1", payloads(2), last=False)
    back.send(Close(0, b""))
    assert bench.master.holdings()["jobs"] == 1
    back.take(Outcome)
    back.submit(b"job2", payloads(1), first=2)
    worker.work()
    assert set(back.outcomes()) == {2}
