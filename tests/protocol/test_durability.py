"""Jobs in the journal: what is let in, who has them, and when they are forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from palm.protocol import ledger
from palm.protocol.durability import MAX_LIST
from palm.protocol.effects import LoadInputs, LoadOutcomes, Write
from palm.protocol.entries import JobEnded
from palm.protocol.events import JournalFailed, Written
from palm.wire.message import (
    Accept,
    Answer,
    Ask,
    Gone,
    Notice,
    Outcome,
    Resume,
    Taken,
    Terms,
)
from palm.wire.outcome import Kind
from tests.support.disk import Disk
from tests.support.machines import MasterBench, Peer, payloads

JOB = b"job-one."
DURABLE = Terms(durable=True)


class Bench(MasterBench):
    """A master with a disk, which works when it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.disk = Disk(load_at_once=10)
        self.size = 0

    def handle(self, event: Any) -> list[Any]:
        """Let an event happen, and give the disk what it is to do."""
        effects = super().handle(event)
        for effect in effects:
            if isinstance(effect, Write | LoadInputs | LoadOutcomes):
                self.disk.put(effect)
        return effects

    def write(self) -> None:
        """Let the disk work until it has nothing to do."""
        while self.disk.commands:
            for event in self.disk.work(len(self.disk.commands), self.now):
                if isinstance(event, Written):
                    event.size = self.size
                self.handle(event)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many messages of a job may be in memory: not as many as otherwise."""
    monkeypatch.setattr(ledger, "MAX_MESSAGES", 64)
    return 64


def submit(client: Peer, n: int, first: int = 0, *, job: bytes = JOB, last: bool = True) -> None:
    client.submit(job, payloads(n), first=first, last=last, terms=DURABLE)


def work(bench: Bench, *workers: Peer) -> None:
    """Let workers and disk work until neither has anything to do."""
    bench.write()
    while sum(len(worker.work()) for worker in workers):
        bench.write()


def test_nothing_happens_to_messages_before_they_are_written(bench: Bench) -> None:
    worker, client = bench.worker(), bench.client()
    submit(client, 3)
    assert not worker.tasks() and not client.take(Accept)
    bench.write()
    assert [(a.upto, a.closed) for a in client.take(Accept)] == [(3, True)]
    worker.work()
    assert not client.outcomes()
    bench.write()
    work(bench, worker)
    assert set(client.outcomes()) == {0, 1, 2}


def test_no_more_is_in_memory_than_may_be_run_soon(bench: Bench, few: int) -> None:
    client = bench.client()
    count = 3 * few
    for first in range(0, count, 16):
        submit(client, 16, first, last=first + 16 == count)
        bench.write()
    job = bench.master._clients[b""].jobs[JOB]
    assert job.known.total == count and job.queued <= few
    worker = bench.worker()
    outcomes: set[int] = set()
    position = 0
    while len(outcomes) < count:
        work(bench, worker)
        assert job.queued <= few
        position += len({m.position for m, _ in client.inbox if isinstance(m, Outcome)})
        outcomes |= set(client.outcomes())
        client.send(Taken(0, JOB, position))
    assert outcomes == set(range(count))


def test_client_without_room_is_sent_nothing_before_it_has_some(bench: Bench) -> None:
    worker, client = bench.worker(), bench.client()
    submit(client, 20)
    work(bench, worker)
    client.outcomes()
    back = client.reconnect()
    back.send(Resume(0, JOB, 0, 20, True, 1))
    bench.write()
    assert not back.outcomes()
    back.send(Taken(0, JOB, 0))
    bench.write()
    assert set(back.outcomes()) == set(range(20))


def test_full_journal_forgets_what_is_over_and_then_takes_nothing_more() -> None:
    bench = Bench(max_journal=1000)
    worker, first = bench.worker(), bench.client("first")
    submit(first, 2)
    submit(first, 2, job=b"job-two.")
    work(bench, worker)
    first.lose()
    bench.pass_time(100.0)
    client = bench.client()
    bench.size = 2000
    submit(client, 1, job=b"job-3...", last=False)
    bench.write()
    assert list(bench.master._clients[b""].jobs) == [b"job-3..."], "the others were over"
    client.take(Accept)
    submit(client, 1, 1, job=b"job-3...")
    bench.write()
    assert not client.take(Accept)
    assert "its limit" in client.take(Notice)[0].text
    bench.size = 500
    submit(bench.client("other"), 1, job=b"job-4...")  # which is written: so the size is known
    bench.write()
    assert [accept.upto for accept in client.take(Accept)] == [2]


def test_jobs_that_nobody_has_for_long_are_forgotten() -> None:
    bench = Bench(keep_for=100.0)
    worker, client = bench.worker(), bench.client()
    submit(client, 1)
    work(bench, worker)
    bench.pass_time(1000.0)
    assert JOB in bench.master._clients[b""].jobs, "its client is there"
    client.lose()
    bench.pass_time(99.0)
    assert JOB in bench.master._clients[b""].jobs
    bench.pass_time(2.0)
    assert JOB not in bench.master._clients[b""].jobs
    assert isinstance(bench.disk.commands[-1].entry, JobEnded)  # type: ignore[union-attr]


def test_master_without_a_journal_says_so() -> None:
    bench = Bench(no_journal="another master has its name")
    client = bench.client()
    submit(client, 1)
    assert "another master has its name" in client.take(Gone)[0].text


def test_trouble_of_the_journal_is_told_once(bench: Bench) -> None:
    client = bench.client()
    submit(client, 1, last=False)
    bench.write()
    for _ in range(3):
        bench.handle(JournalFailed("no space left"))
    assert ["no space left" in notice.text for notice in client.take(Notice)] == [True]
    submit(client, 1, 1, last=False)
    client.send(Ask(0, 1))
    assert client.take(Answer), "which does not wait for the disk then"
    submit(client, 1, 2)
    bench.write()
    bench.handle(JournalFailed("no space left"))
    assert len(client.take(Notice)) == 1


def test_list_of_jobs_has_room_in_a_header(bench: Bench) -> None:
    client = bench.client()
    for number in range(500):
        client.submit(
            number.to_bytes(8, "big"), payloads(1), function="foo." + 1000 * "f", terms=DURABLE
        )
    client.send(Ask(0, 1))
    bench.write()
    (answer,) = client.take(Answer)
    assert answer.left_out == 500 - len(answer.jobs) > 0
    assert sum(len(job.function) for job in answer.jobs) <= MAX_LIST
    assert answer.jobs[0].job == (499).to_bytes(8, "big"), "the latest first"


def test_messages_with_a_gap_before_them_break_the_protocol(bench: Bench) -> None:
    client = bench.client()
    submit(client, 2, last=False)
    submit(client, 2, 3)
    assert bench.master._clients[b""].jobs[JOB].known.total == 2


def test_expired_job_fails_also_what_is_on_disk_only(bench: Bench, few: int) -> None:
    client = bench.client()
    count = 3 * few
    for first in range(0, count, 16):
        terms = Terms(durable=True, deadline=5.0, remaining=5.0)
        client.submit(JOB, payloads(16), first=first, last=first + 16 == count, terms=terms)
        bench.write()
    bench.pass_time(6.0)
    found: dict[int, tuple[int, bytes]] = {}
    position = 0
    while len(found) < count:
        bench.write()
        position += len({m.position for m, _ in client.inbox if isinstance(m, Outcome)})
        found |= client.outcomes()
        client.send(Taken(0, JOB, position))
    assert {kind for kind, _ in found.values()} == {Kind.DEADLINE_EXCEEDED}


def test_answer_to_who_waits_for_workers_comes_with_them(bench: Bench) -> None:
    client = bench.client()
    client.send(Ask(0, 7, 2))
    bench.worker("a")
    assert not client.take(Answer)
    bench.worker("b")
    assert [(answer.op, answer.workers) for answer in client.take(Answer)] == [(7, 2)]


def test_batch_that_comes_twice_is_written_once(bench: Bench) -> None:
    client = bench.client()
    submit(client, 4, last=False)
    submit(client, 4, last=False)
    client.submit(JOB, payloads(6), first=0, terms=DURABLE)
    bench.write()
    assert [(e.first, e.batch.n) for e in bench.disk.jobs[JOB].inputs] == [(0, 4), (4, 2)]
