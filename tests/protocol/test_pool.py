"""How much a worker is given: enough to be busy, never so much that others wait for it."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.jobs import ClientSession, Fate, JobState, Piece
from palm.protocol.pool import (
    AHEAD_SECONDS,
    GROWTH,
    LEASE_SECONDS,
    MAX_LEASES,
    WORTH_SECONDS,
    Lease,
    Pool,
    WorkerSession,
)
from palm.wire.batch import MAX_MESSAGES, Batch

ids = count(1)


@pytest.fixture
def pool() -> Pool:
    return Pool()


def new_worker(pool: Pool, *functions: str) -> WorkerSession:
    number = next(ids)
    worker = WorkerSession(b"%d" % number, f"w{number}", functions or ("f",), peer=b"peer")
    pool.add(worker)
    return worker


def new_job(n: int = 0, function: str = "f") -> JobState:
    job = JobState(ClientSession(b"session", "client", "foo"), b"job", function)
    job.put(Piece(0, Batch.pack([b"x"] * n), 0))
    return job


def give(worker: WorkerSession, n: int, *, alone: bool = False) -> Lease:
    batch = Batch.pack([b"x"] * n)
    lease = Lease(next(ids), new_job(), 0, batch, 0, attempt=1, fates=(), alone=alone)
    worker.leases[lease.id] = lease
    return lease


# Sizes


def test_nothing_is_known_of_the_first_message(pool: Pool) -> None:
    new_worker(pool)
    assert pool.lease_size(new_job(1000)) == 1


@given(
    seconds=st.floats(0, 100) | st.sampled_from([0.0, 5e-324, 1e-9]),
    granted=st.integers(0, MAX_MESSAGES),
    queued=st.integers(1, 2 * MAX_MESSAGES),
    closed=st.booleans(),
)
def test_lease_is_about_twenty_milliseconds_and_grows_slowly(
    seconds: float, granted: int, queued: int, closed: bool
) -> None:
    pool = Pool()
    new_worker(pool), new_worker(pool)
    pool.measured("f", seconds, 1)
    job = new_job(queued)
    job.granted, job.closed = granted, closed
    size = pool.lease_size(job)
    assert 1 <= size <= min(MAX_MESSAGES, GROWTH * max(granted, 1))
    assert size == 1 or size * seconds <= LEASE_SECONDS * 1.001
    assert not closed or size <= max(1, -(-queued // 4))


@pytest.mark.parametrize(("seconds", "size"), [(0.004, 2), (WORTH_SECONDS / 6, 6), (1e-6, 4000)])
def test_what_is_worth_it_is_shared_among_workers_with_room(
    pool: Pool, seconds: float, size: int
) -> None:
    for _ in range(4):
        pool.set_hungry(new_worker(pool), True)
    pool.measured("f", seconds, 1)
    job = new_job(8)
    job.granted = 1000
    assert pool.lease_size(job) == size


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20))
def test_mean_stays_among_what_was_measured(seconds: list[float]) -> None:
    pool = Pool()
    for each in seconds:
        pool.measured("f", each * 3, 3)
    assert min(seconds) * 0.999 <= pool._seconds["f"] <= max(seconds) * 1.001


# Room


def test_idle_worker_has_room_and_one_of_unknown_speed_for_no_more(pool: Pool) -> None:
    worker = new_worker(pool)
    assert pool.has_room(worker)
    give(worker, 1)
    assert not pool.has_room(worker)


def test_worker_has_room_until_it_has_twenty_milliseconds_of_work(pool: Pool) -> None:
    worker = new_worker(pool)
    pool.measured("f", AHEAD_SECONDS / 10, 1)
    lease = give(worker, 9)
    assert pool.has_room(worker)
    give(worker, 2)
    assert not pool.has_room(worker)
    lease.done = 5
    assert pool.has_room(worker)


def test_nobody_holds_more_than_a_few_leases(pool: Pool) -> None:
    worker = new_worker(pool)
    pool.measured("f", 0.0, 1)
    for _ in range(MAX_LEASES):
        assert pool.has_room(worker)
        give(worker, 1)
    assert not pool.has_room(worker)


@pytest.mark.parametrize("why", ["alone", "revoked", "recalled"])
def test_worker_has_no_room_behind_a_lease_that_is_special(pool: Pool, why: str) -> None:
    worker = new_worker(pool)
    pool.measured("f", 1e-6, 1)
    setattr(give(worker, 1), why, True)
    assert not pool.has_room(worker)


# Who serves what


def test_idle_workers_come_before_busy_ones(pool: Pool) -> None:
    busy, idle, full, other = (new_worker(pool, name) for name in "fffg")
    for worker in (busy, idle, other):
        pool.set_hungry(worker, True)
    give(busy, 1)
    assert pool.hungry("f") == [idle, busy]
    assert full in pool.serving("f") and full not in pool.hungry("f")
    assert pool.hungry("g") == [other]
    assert pool.hungry("h") == []


def test_worker_that_leaves_serves_nothing(pool: Pool) -> None:
    worker, other = new_worker(pool, "f", "g"), new_worker(pool, "g")
    pool.set_hungry(worker, True)
    pool.remove(worker)
    assert not pool.is_served("f") and pool.is_served("g")
    assert pool.functions() == ["g"] and pool.workers() == [other] and pool.size == 1
    assert pool.hungry("f") == pool.hungry("g") == []
    assert pool.served == {"f", "g"}, "it may come back"


# What is left of a lease


@given(st.integers(1, 12), st.data(), st.booleans(), st.booleans())
def test_rest_of_a_lease_holds_what_was_not_answered(
    n: int, data: st.DataObject, begun: bool, alone: bool
) -> None:
    batch = Batch.pack([b"%d" % at for at in range(n)])
    before, fate = (Fate(died=True),), Fate()
    lease = Lease(1, new_job(), 10, batch, 2, attempt=3, fates=before, alone=alone)
    lease.done = data.draw(st.integers(0, n))
    rest = [piece for piece in lease.rest(fate if begun else None) if piece.n]
    held = [int(payload) for piece in rest for payload in piece.batch.payloads()]
    assert held == list(range(lease.done, n))
    assert [piece.first for piece in rest][:1] == [10 + lease.done][: len(rest)]
    for piece in rest:
        assert piece.codec == 2
        assert piece.alone == (begun or alone)
        assert piece.attempts == (3 if begun else 2), "a start that never was does not count"
        blamed = (*before, fate) if begun and alone else before
        assert piece.fates == blamed, "only what ran alone is to blame"
        assert not begun or piece.n == 1
