"""How much a worker is given: enough to be busy, never so much that others wait for it."""

from __future__ import annotations

from itertools import count
from math import ceil, inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.jobs import ClientSession, Fate, JobState, Piece
from palm.protocol.pool import (
    AHEAD_SECONDS,
    FIRST,
    GROWTH,
    LEASE_SECONDS,
    LEAST,
    LEAST_BYTES,
    MAX_LEASES,
    MOST_SECONDS,
    WORTH,
    Lease,
    Pool,
    WorkerSession,
    asked_seconds,
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


def new_job(n: int = 0, function: str = "f", payload: bytes = b"x") -> JobState:
    job = JobState(ClientSession(b"session", "client", "foo"), b"job", function)
    job.put(Piece(0, Batch.pack([payload] * n), 0))
    return job


def give(worker: WorkerSession, n: int, *, alone: bool = False) -> Lease:
    batch = Batch.pack([b"x"] * n)
    lease = Lease(next(ids), new_job(), 0, batch, 0, attempt=1, fates=(), alone=alone)
    worker.leases[lease.id] = lease
    return lease


# Sizes


def test_nothing_is_known_of_the_first_message(pool: Pool) -> None:
    assert pool.lease_size(new_job(1000), new_worker(pool)) == 1


@given(
    seconds=st.floats(0, 100) | st.sampled_from([0.0, 5e-324, 1e-9]),
    granted=st.integers(0, MAX_MESSAGES),
    queued=st.integers(1, 2 * MAX_MESSAGES),
    closed=st.booleans(),
    asked=st.floats(0, 10),
)
def test_lease_is_as_long_as_its_worker_asks_within_bounds_and_grows_slowly(
    seconds: float, granted: int, queued: int, closed: bool, asked: float
) -> None:
    pool = Pool()
    worker, _ = new_worker(pool), new_worker(pool)
    worker.lease_seconds = most = asked_seconds(asked)
    pool.measured("f", seconds, 1)
    job = new_job(queued)
    job.granted, job.closed = granted, closed
    size = pool.lease_size(job, worker)
    assert 1 <= size <= min(MAX_MESSAGES, GROWTH * max(granted, FIRST))
    assert LEASE_SECONDS <= most <= MOST_SECONDS
    assert size == 1 or size * seconds <= most * 1.001
    little = size * seconds <= LEAST * most * 1.001 and size <= LEAST_BYTES
    assert not closed or little or size <= max(1, ceil(queued / 4))


@pytest.mark.parametrize("asked", [0.0, -1.0, nan, LEASE_SECONDS / 2])
def test_who_asks_for_no_longer_leases_gets_those_of_all(asked: float) -> None:
    assert asked_seconds(asked) == LEASE_SECONDS


@pytest.mark.parametrize("asked", [inf, 3600.0])
def test_nobody_gets_leases_that_others_wait_for_too_long(asked: float) -> None:
    assert asked_seconds(asked) == MOST_SECONDS


def test_first_lease_of_a_job_is_large_only_where_calls_were_quick(pool: Pool) -> None:
    worker, job = new_worker(pool), new_job(1000)
    pool.measured("f", 1e-7, 1)
    assert pool.lease_size(job, worker) == GROWTH * FIRST
    assert pool.lease_size(new_job(1000, payload=b"x" * 16_384), worker) == GROWTH
    pool._seconds["f"] = 0.001
    assert pool.lease_size(job, worker) == GROWTH


@pytest.mark.parametrize(
    ("seconds", "payload", "size"),
    [(1e-6, b"x", 1000), (1e-5, b"x", 100), (1e-4, b"x", 50), (1e-6, b"x" * 16_384, 50)],
)
def test_end_of_a_job_is_shared_unless_it_is_little_work_and_few_bytes(
    pool: Pool, seconds: float, payload: bytes, size: int
) -> None:
    workers = [new_worker(pool) for _ in range(4)]
    pool.measured("f", seconds, 1)
    job = new_job(400, payload=payload)
    job.granted, job.closed = 1000, True
    assert pool.lease_size(job, workers[0]) == size


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.004, 2), (WORTH * LEASE_SECONDS / 6, 6), (1e-6, 4000)]
)
def test_what_is_worth_it_is_shared_among_workers_with_room(
    pool: Pool, seconds: float, size: int
) -> None:
    workers = [new_worker(pool) for _ in range(4)]
    for worker in workers:
        pool.set_hungry(worker, True)
    pool.measured("f", seconds, 1)
    job = new_job(8)
    job.granted = 1000
    assert pool.lease_size(job, workers[0]) == size


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
