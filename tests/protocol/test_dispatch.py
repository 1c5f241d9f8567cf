"""Who gets what: functions that nobody serves, messages that run alone, jobs that end."""

from __future__ import annotations

import pytest

from palm.protocol.dispatch import RECALL_AFTER
from palm.protocol.effects import DeadLetter
from palm.protocol.master import FUNCTION_GRACE
from palm.wire.batch import Batch
from palm.wire.message import Ack, Close, Notice, Outcome, Recall, Result, Returned, Terms
from palm.wire.outcome import Failure, Kind, encode_failure
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."


@pytest.fixture
def bench() -> MasterBench:
    return MasterBench()


def ack_all(client: Peer) -> None:
    serials = [m.serial for m, _ in client.inbox if isinstance(m, Outcome)]
    client.send(Ack(0, max(serials)))


def waiting_lines(bench: MasterBench) -> object:
    return bench.master._dispatcher._waiting._lines


# Functions that nobody serves


def test_workers_that_come_late_and_do_not_serve_it_settle_the_matter(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(2), function="foo.typo")
    bench.pass_time(10.0)
    assert client.take(Notice) and not client.outcomes()
    bench.worker(functions=["type"])
    bench.pass_time(FUNCTION_GRACE - 0.1)
    assert not client.outcomes(), "others may be on their way"
    bench.pass_time(0.2)
    assert {kind for kind, _ in client.outcomes().values()} == {Kind.FUNCTION_NOT_FOUND}


def test_once_not_found_the_rest_of_the_job_need_not_wait(bench: MasterBench) -> None:
    bench.worker(functions=["g"])
    client = bench.client()
    client.submit(JOB, payloads(5), last=False)
    bench.pass_time(FUNCTION_GRACE + 0.1)
    for first in range(5, 500, 5):
        client.submit(JOB, payloads(5), first=first, last=False)
        bench.pass_time(0.001)
    outcomes = client.outcomes()
    assert len(outcomes) == 500
    assert {kind for kind, _ in outcomes.values()} == {Kind.FUNCTION_NOT_FOUND}


def test_function_of_another_server_is_not_found(bench: MasterBench) -> None:
    bench.worker()
    client = bench.client()
    client.submit(JOB, payloads(1), function="bar.f")
    client.submit(b"deep", payloads(1), function="foo.a.f")
    bench.pass_time(FUNCTION_GRACE + 0.1)
    kinds = [m.kinds[0] for m, _ in client.inbox if isinstance(m, Outcome)]
    assert kinds == [Kind.FUNCTION_NOT_FOUND] * 2


def test_who_waits_for_a_lost_worker_is_told_so(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(b"running.", payloads(1))
    client.submit(JOB, payloads(1))  # waits behind the other
    worker.lose()
    bench.pass_time(FUNCTION_GRACE + 0.1)
    assert {notice.job for notice in client.take(Notice)} == {b"running.", JOB}


def test_who_waits_is_told_once(bench: MasterBench) -> None:
    client = bench.client()
    bench.worker("a").lose()
    client.submit(JOB, payloads(1))
    for number in range(5):
        bench.worker(f"other-{number}", ["g"])
        bench.pass_time(FUNCTION_GRACE + 0.1)
        client.submit(JOB, payloads(1), first=1 + number, last=False)
    assert len(client.take(Notice)) == 1


# Messages that must run alone


def suspects(bench: MasterBench, client: Peer, n: int = 3) -> None:
    """Let a worker die on ``n`` messages of a job."""
    doomed = bench.worker("doomed")
    client.submit(JOB, payloads(40 * n), last=False)
    while True:
        tasks = doomed.tasks()
        if tasks[0][0].n >= n:
            break
        for task, batch in tasks:
            doomed.answer(task, batch, seconds=1e-4)
    doomed.lose()
    assert len(bench.master._clients[client.session].jobs[JOB].suspects) >= n


def test_message_under_suspicion_runs_with_nothing_behind_it(bench: MasterBench) -> None:
    client = bench.client()
    suspects(bench, client)
    worker = bench.worker("next")
    while bench.master._clients[client.session].jobs[JOB].suspects:
        ((task, batch),) = worker.tasks()
        assert task.n == 1
        worker.answer(task, batch, seconds=1e-5)


def test_other_jobs_do_not_keep_a_message_from_running_alone(bench: MasterBench) -> None:
    client = bench.client()
    suspects(bench, client)
    worker, other = bench.worker("next"), bench.client("other")
    first = len([m for m, _ in client.inbox if isinstance(m, Outcome)])
    for number in range(100):  # a stream of work that keeps the worker busy
        other.submit(b"stream..", payloads(50), first=50 * number, last=False)
        tasks = worker.tasks()
        for task, batch in tasks[:1] if len(tasks) > 1 else tasks:
            worker.answer(task, batch, seconds=1e-4)
        worker.inbox[:0] = list(tasks[1:])
    now = len([m for m, _ in client.inbox if isinstance(m, Outcome)])
    assert now - first > 3


def test_late_result_of_a_message_under_suspicion_clears_it(bench: MasterBench) -> None:
    client, slow = bench.client(), bench.worker("slow")
    client.submit(JOB, payloads(1), last=False)
    ((task, batch),) = slow.tasks()
    slow.lose()
    task.lease = 0
    bench.worker("another", ["g"]).answer(task, batch)
    assert len(client.outcomes()) == 1
    assert not bench.worker("next").tasks()


def test_half_of_what_a_busy_worker_has_not_begun_is_recalled(bench: MasterBench) -> None:
    client, busy = bench.client(), bench.worker("busy")
    client.submit(JOB, payloads(2), last=False)
    busy.work(0.006)
    for number in range(3):
        client.submit(JOB, payloads(1), first=2 + number, last=False)
    leases = [task.lease for task, _ in busy.tasks()]
    assert len(leases) == 3
    bench.worker("idle")
    bench.pass_time(RECALL_AFTER * 1.5)
    (recall,) = busy.take(Recall)
    assert recall.leases == leases[2:]


def test_worker_that_goes_on_answering_is_left_its_work(bench: MasterBench) -> None:
    client, busy = bench.client(), bench.worker("busy")
    client.submit(JOB, payloads(2), last=False)
    busy.work(0.006)
    for number in range(3):
        client.submit(JOB, payloads(1), first=2 + number, last=False)
    tasks = busy.tasks()
    assert len(tasks) == 3
    bench.worker("idle")
    for task, batch in tasks[:-1]:
        bench.pass_time(RECALL_AFTER / 2)
        busy.answer(task, batch)
    assert not busy.take(Recall)


# The end of jobs


def test_closed_job_that_nobody_could_run_leaves_nothing(bench: MasterBench) -> None:
    client = bench.client()
    for number in range(5):
        client.submit(b"job%d" % number, payloads(3), last=False)
        client.send(Close(0, b"job%d" % number))
    assert waiting_lines(bench) == {}
    bench.pass_time(FUNCTION_GRACE + 1.0)
    assert not client.take(Notice)
    assert bench.master.next_deadline is None


def test_job_that_is_not_found_leaves_nothing(bench: MasterBench) -> None:
    bench.worker(functions=["g"])
    client = bench.client()
    client.submit(JOB, payloads(3))
    bench.pass_time(FUNCTION_GRACE + 0.1)
    ack_all(client)
    assert bench.master.holdings() == {} and waiting_lines(bench) == {}


def test_nothing_is_left_in_the_machine_when_all_have_gone(bench: MasterBench) -> None:
    client, workers = bench.client(), [bench.worker("a"), bench.worker("b", ["f", "g"])]
    for job in (b"one", b"two"):
        client.submit(job, payloads(300))
        client.submit(job + b"g", payloads(20), function="g")
    while any(worker.work() for worker in workers):
        pass
    ack_all(client)
    assert bench.master.holdings() == {}
    client.lose()
    for worker in workers:
        worker.lose()
    bench.pass_time(100.0)
    master = bench.master
    held = {
        "clients": set(master._clients) - {b""},  # who has what nobody has
        "workers": master._sessions.workers,
        "peers": master._sessions.peers,
        "strangers": master._sessions.strangers,
        "away": master._sessions.away,
        "doubtful": master._dispatcher._doubtful,
        "parked": master._settlement._parked,
        "waiting": waiting_lines(bench),
        "loaded": master._dispatcher._loaded,
        "pool": master._dispatcher.pool.workers(),
        "serving": master._dispatcher.pool._serving,
        "hungry": [w for line in master._dispatcher.pool._hungry.values() for w in line],
        "timers": master._timers._heap,
    }
    assert {name: what for name, what in held.items() if what} == {}


def test_lease_of_a_closed_job_leaves_room_when_it_is_returned(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(10), last=False)
    ((task, batch),) = worker.tasks()
    client.send(Close(0, JOB))
    client.submit(b"next", payloads(2))
    assert not worker.tasks(), "it is busy with what was revoked"
    worker.send(Returned(0, [task.lease]))
    assert [t.job for t, _ in worker.tasks()] == [b"next"]
    assert batch.n


#: About that, and exact on the wire.
MILLISECOND = 2.0**-10


def largest_lease(client: Peer, worker: Peer, job: bytes) -> int:
    """Have a job of 1 ms calls run; return the messages in its largest lease."""
    client.submit(job, payloads(2000), last=False)
    return max(worker.work(seconds=MILLISECOND))


def test_worker_gets_leases_as_long_as_it_asks_for(bench: MasterBench) -> None:
    client = bench.client()
    usual = bench.worker("usual", functions=["usual"])
    patient = bench.worker("patient", functions=["patient"], lease_seconds=0.1)
    client.submit(b"1", payloads(2000), function="foo.usual", last=False)
    client.submit(b"2", payloads(2000), function="foo.patient", last=False)
    assert max(usual.work(seconds=MILLISECOND)) == 20
    assert max(patient.work(seconds=MILLISECOND)) == 102


def test_worker_that_greets_again_may_ask_for_other_leases(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker(lease_seconds=0.1)
    assert largest_lease(client, worker, b"1") == 102
    worker.lose()
    assert largest_lease(client, worker.reconnect(), b"2") == 20


# What a job wants of the calls


def test_time_limit_of_a_message_goes_with_its_lease(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(1), terms=Terms(timeout=2.5))
    client.submit(b"other", payloads(1))
    worker_tasks = worker.tasks()
    worker.answer(*worker_tasks[0])
    assert [task.timeout for task, _ in worker_tasks + worker.tasks()] == [2.5, 0.0]


# Priorities


def served(worker: Peer, most: int = 100) -> list[bytes]:
    """Answer leases that come one after the other; return their jobs."""
    jobs = []
    for _ in range(most):
        tasks = worker.tasks()
        if not tasks:
            break
        for task, batch in tasks:
            jobs.append(task.job)
            worker.answer(task, batch, seconds=0.1)
    return jobs


def test_higher_priority_is_served_first_and_equal_ones_take_turns(bench: MasterBench) -> None:
    client = bench.client()
    for job, priority in ((b"low", -1), (b"a", 0), (b"high", 5), (b"b", 0)):
        client.submit(job, payloads(2), terms=Terms(priority=priority))
    worker = bench.worker()
    assert served(worker) == [b"high", b"high", b"a", b"b", b"a", b"b", b"low", b"low"]
    assert waiting_lines(bench) == {}


def test_priority_holds_across_the_functions_of_a_worker(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(b"f", payloads(2))
    client.submit(b"g", payloads(2), function="foo.g", terms=Terms(priority=1))
    assert served(bench.worker(functions=["f", "g"])) == [b"g", b"g", b"f", b"f"]


def test_message_that_must_run_alone_waits_for_a_higher_priority(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(1))
    bench.worker("doomed").lose()
    worker = bench.worker("next")
    client.submit(b"urgent", payloads(3), terms=Terms(priority=1))
    assert served(worker) == [JOB, b"urgent", b"urgent", b"urgent"]
    client.submit(b"urgent2", payloads(1), terms=Terms(priority=1))
    client.submit(b"third", payloads(1))
    assert served(worker) == [b"urgent2", b"third"]


def test_closed_job_with_a_priority_leaves_nothing(bench: MasterBench) -> None:
    client = bench.client()
    for priority in (3, 0, -2):
        client.submit(b"job%d" % priority, payloads(3), terms=Terms(priority=priority))
    for priority in (0, -2, 3):
        client.send(Close(0, b"job%d" % priority))
    assert waiting_lines(bench) == {} and bench.master._dispatcher._waiting.plain


# Keys


def test_one_batch_of_a_partition_is_out(bench: MasterBench) -> None:
    client, a, b = bench.client(), bench.worker("a"), bench.worker("b")
    client.submit(JOB, payloads(6), partitions=b"\1\1\2\1\2\2")
    ((first, batch),), ((second, _),) = a.tasks(), b.tasks()
    assert {first.first, second.first} == {0, 2}
    client.submit(b"other", payloads(1))
    a.answer(first, batch, seconds=1.0)
    assert [task.first for task, _ in a.tasks() if task.job == JOB] in ([], [1])
    while a.work() or b.work():
        pass


def test_partition_waits_for_a_message_that_is_tried_again(bench: MasterBench) -> None:
    client, worker = bench.client(), bench.worker()
    client.submit(JOB, payloads(3), partitions=b"\1\1\2", terms=Terms(retries=1))
    ((task, _),) = worker.tasks()
    failure = Batch.pack([encode_failure(Failure("E", "no"))])
    kinds = bytes([Kind.TASK_ERROR])
    worker.send(Result(0, task.lease, task.session, JOB, 0, 1, 1, 0, 0.0, bytes(4), kinds), failure)
    order = []
    for _ in range(3):
        for task, batch in worker.tasks():
            order.append(task.first)
            worker.answer(task, batch, seconds=1.0)
        bench.pass_time(1.0)
    assert order == [2, 0, 1]


def test_partition_waits_for_a_message_that_runs_alone(bench: MasterBench) -> None:
    client, doomed = bench.client(), bench.worker("doomed")
    client.submit(JOB, payloads(3), partitions=b"\1\1\1")
    doomed.tasks()
    doomed.lose()
    worker = bench.worker("next")
    order = []
    while tasks := worker.tasks():
        for task, batch in tasks:
            order.append((task.first, task.n))
            worker.answer(task, batch, seconds=1.0)
    assert [first for first, _ in order] == [0, 1, 2]
    assert set(client.outcomes()) == {0, 1, 2}


def test_keys_of_a_function_that_nobody_serves_leave_nothing(bench: MasterBench) -> None:
    bench.worker(functions=["g"])
    client = bench.client()
    client.submit(JOB, payloads(4), partitions=b"\1\1\1\2")
    bench.pass_time(FUNCTION_GRACE + 0.1)
    assert len(client.outcomes()) == 4


# Messages that are given up


def test_message_that_ends_its_workers_is_kept(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(JOB, payloads(2))
    for number in range(4):  # the first of them may have had others in hand
        bench.worker(f"w{number}").lose()
        bench.pass_time(5.0)
    letters = [effect for effect in bench.effects if isinstance(effect, DeadLetter)]
    assert [(each.function, each.job, each.index, each.attempts) for each in letters] == [
        ("f", JOB, 0, 4)
    ]
    assert bytes(letters[0].batch.payloads()[0]) == b"0"
    assert client.outcomes()[0][0] == Kind.POISON_TASK


def test_what_a_lost_worker_held_of_a_key_is_not_overtaken(bench: MasterBench) -> None:
    doomed, client = bench.worker("doomed"), bench.client()
    client.submit(b"warm-up.", payloads(1))
    doomed.work(seconds=1e-4)
    client.submit(JOB, payloads(2), partitions=b"\1\1", last=False)
    client.submit(JOB, payloads(2), first=2, partitions=b"\2\2", last=False)
    client.submit(JOB, payloads(2), first=4, partitions=b"\1\1", last=False)
    assert [(task.first, task.n) for task, _ in doomed.tasks()] == [(0, 2), (2, 2)]
    others = [bench.worker("v"), bench.worker("x")]
    doomed.lose()
    given = [task.first for worker in others for task, _ in worker.tasks()]
    assert sorted(given) == [0, 2]


def test_jobs_that_can_wait_wait_for_those_of_other_functions(bench: MasterBench) -> None:
    client = bench.client()
    client.submit(b"can-wait", payloads(3), function="g", terms=Terms(priority=-1))
    client.submit(JOB, payloads(3), function="f")
    worker = bench.worker(functions=["g", "f"])
    order = []
    while tasks := worker.tasks():
        for task, batch in tasks:
            order.append(task.function)
            worker.answer(task, batch, seconds=1.0)
    assert order == ["f"] * 3 + ["g"] * 3
