"""What is counted adds up: by function, by edge, with faults and without."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.jobs import ClientSession, JobState
from palm.protocol.meter import (
    BUCKETS,
    LEAST,
    MAX_ARRIVALS,
    MAX_FUNCTIONS,
    OTHERS,
    Arrivals,
    Counts,
    FunctionCounts,
    Meter,
    bounds,
    failures,
)
from palm.protocol.ranges import RangeSet
from palm.wire.message import Close, Outcome, Terms
from palm.wire.outcome import Kind
from tests.protocol.test_stages import ROW, hub, row, streams, tee
from tests.support.machines import MasterBench, payloads
from tests.support.topologies import World

COUNT = int(os.environ.get("PALM_SIMULATIONS", "12"))


def edge(counts: Counts, role: str) -> tuple[int, int, int, int]:
    """Return messages, done, failed and open of all edges with a role."""
    found = [each for each in counts.edges if each.role == role]
    return (
        sum(each.messages for each in found),
        sum(each.done for each in found),
        sum(each.failed for each in found),
        sum(each.open for each in found),
    )


def assert_over(counts: Counts) -> None:
    for name, each in counts.functions.items():
        assert each.received == each.done + each.failed + each.dropped, name
        assert (each.queued, each.running) == (0, 0), name
        assert sum(each.latency) in (0, each.done + each.failed), name
    for each in counts.edges:
        assert each.open == 0, each


# One master


def test_each_message_is_received_queued_running_and_done() -> None:
    bench = MasterBench()
    client = bench.client()
    client.submit(b"job", [b"xy"] * 10)
    counts = bench.master.counts()
    found = counts.functions["f"]
    assert (found.received, found.queued, found.running, found.done) == (10, 10, 0, 0)
    [clients] = counts.edges
    assert (clients.source, clients.target, clients.role) == ("clients", "foo", "client")
    assert (clients.messages, clients.size, clients.open) == (10, 20, 10)

    worker = bench.worker()
    [(task, batch)] = worker.tasks()
    counts = bench.master.counts()
    found = counts.functions["f"]
    assert (found.queued, found.running) == (10 - task.n, task.n)
    of_worker = counts.edges[-1]
    assert (of_worker.source, of_worker.target, of_worker.role) == ("foo", "w", "worker")
    assert (of_worker.messages, of_worker.size) == (task.n, 2 * task.n)
    assert (of_worker.open, of_worker.leases) == (task.n, 1)

    bench.now += 0.5
    worker.answer(task, batch, seconds=0.25)
    worker.work(seconds=0.25)
    counts = bench.master.counts()
    found = counts.functions["f"]
    assert (found.received, found.done, found.failed) == (10, 10, 0)
    assert found.seconds == pytest.approx(2.5)
    assert counts.edges[-1].seconds == pytest.approx(2.5)
    lower, upper = bounds()[next(at for at, n in enumerate(found.latency) if n)]
    assert lower <= 0.5 < upper
    assert_over(counts)


def test_what_is_resent_is_counted_once() -> None:
    bench = MasterBench()
    client = bench.client()
    client.submit(b"job", [b"x"] * 4, last=False)
    client.submit(b"job", [b"x"] * 6)
    assert bench.master.counts().functions["f"].received == 6
    assert edge(bench.master.counts(), "client") == (6, 0, 0, 6)


def test_failures_are_told_from_results() -> None:
    bench = MasterBench()
    bench.worker()
    client = bench.client()
    client.submit(b"job", [b"x"] * 3, function="foo.g")
    bench.pass_time(3)
    counts = bench.master.counts()
    assert (counts.functions["g"].done, counts.functions["g"].failed) == (0, 3)
    assert edge(counts, "client") == (3, 0, 3, 0)
    assert failures(bytes([Kind.RESULT, Kind.MANY, Kind.TASK_ERROR, Kind.POISON_TASK])) == 2


def test_what_nobody_wants_any_more_is_dropped() -> None:
    bench = MasterBench()
    client = bench.client()
    worker = bench.worker()
    client.submit(b"job", [b"x"] * 5, last=False)
    client.send(Close(0, b"job"))
    worker.work()
    found = bench.master.counts().functions["f"]
    assert (found.received, found.dropped, found.done) == (5, 5, 0)
    assert_over(bench.master.counts())


def test_messages_whose_time_is_over_have_failed() -> None:
    bench = MasterBench()
    client = bench.client()
    client.submit(b"job", [b"x"] * 5, terms=Terms(deadline=1.0, remaining=1.0))
    bench.pass_time(2)
    found = bench.master.counts().functions["f"]
    assert (found.received, found.failed, found.queued) == (5, 5, 0)
    assert_over(bench.master.counts())


def test_a_client_cannot_make_it_count_without_end() -> None:
    meter = Meter()
    for number in range(2 * MAX_FUNCTIONS):
        meter.function(f"f{number}").received += 1
    assert meter.function(OTHERS).received == MAX_FUNCTIONS
    counts = meter.held(Counter(["f0", "one", "two"]), Counter()).functions
    assert len(counts) == MAX_FUNCTIONS + 1
    assert (counts["f0"].queued, counts[OTHERS].queued) == (1, 2)


@pytest.mark.parametrize("name", ["", "x" * 1000, "\x1b[2J", "a\nb"])
def test_names_that_nobody_could_read_are_counted_together(name: str) -> None:
    bench = MasterBench()
    bench.client().submit(b"job", payloads(3), function=f"foo.{name}" if name else "foo.")
    counts = bench.master.counts().functions
    assert set(counts) == {OTHERS}
    assert (counts[OTHERS].received, counts[OTHERS].queued) == (3, 3)


def test_counts_do_not_change_once_they_are_taken() -> None:
    bench = MasterBench()
    client, worker = bench.client(), bench.worker()
    before = bench.master.counts()
    client.submit(b"job", payloads(5))
    worker.work()
    assert "f" not in before.functions
    assert before.edges[0].messages == 0


# Latency


@given(st.floats(0, 1e6))
def test_latency_falls_into_the_bucket_that_holds_it(seconds: float) -> None:
    counts = FunctionCounts()
    counts.waited(seconds, 3)
    [(at, n)] = [(at, n) for at, n in enumerate(counts.latency) if n]
    lower, upper = bounds()[at]
    assert n == 3
    assert lower <= seconds < upper or seconds == upper == LEAST


def test_buckets_reach_from_a_tenth_of_a_millisecond_to_more_than_100_seconds() -> None:
    found = bounds()
    assert len(found) == BUCKETS
    assert found[0] == (0.0, 1e-4)
    assert found[-1][0] > 100


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 2)), min_size=1, max_size=60))
def test_arrivals_tell_when_a_message_came(steps: list[tuple[int, float]]) -> None:
    first, now = steps[0][0], 1.0
    arrivals, came = Arrivals(0, now), dict.fromkeys(range(first), now)
    for n, seconds in steps[1:]:
        now += seconds
        arrivals.add(first, now, RangeSet())
        came |= dict.fromkeys(range(first, first + n), now)
        first += n
    for number, time in came.items():
        assert arrivals.of(number) == time


def test_arrivals_of_earlier_messages_that_came_later_are_those_of_the_first() -> None:
    arrivals, done = Arrivals(10, 1.0), RangeSet()
    arrivals.add(0, 2.0, done)
    arrivals.add(20, 5.0, done)
    assert [arrivals.of(number) for number in (0, 10, 20)] == [1.0, 1.0, 5.0]


def test_arrivals_stay_few() -> None:
    arrivals, done = Arrivals(0, 0.0), RangeSet()
    for number in range(1, 10 * MAX_ARRIVALS):
        arrivals.add(number, float(number), done)
    assert len(arrivals) <= MAX_ARRIVALS
    assert arrivals.of(10 * MAX_ARRIVALS) == pytest.approx(10 * MAX_ARRIVALS, rel=1e-2)
    done.add(0, 10 * MAX_ARRIVALS - 5)
    for number in range(10 * MAX_ARRIVALS, 11 * MAX_ARRIVALS):
        arrivals.add(number, float(number), done)
    assert arrivals.of(11 * MAX_ARRIVALS - 7) == 11 * MAX_ARRIVALS - 7


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "settle"]), st.integers(1, 9), st.booleans()),
        max_size=40,
    )
)
def test_function_counts_add_up(steps: list[tuple[str, int, bool]]) -> None:
    meter = Meter()
    job = JobState(ClientSession(b"s", "c", "foo"), b"job", "f")
    for what, n, fails in steps:
        meter.now += 0.01
        if what == "come":
            first = job.known.total
            job.known.add(first, first + n)
            meter.received(job, first, n, 8 * n)
        else:
            first = job.done.total
            n = min(n, job.open)
            if not n:
                continue
            job.done.add(first, first + n)
            kinds = bytes([Kind.TASK_ERROR]) * n if fails else b""
            meter.settled(job, Outcome(0, 0, b"job", first, n, 1, 0, "", 0.0, b"", kinds))
    counts = meter.function("f")
    assert counts.received == counts.done + counts.failed + job.open
    assert sum(counts.latency) == counts.done + counts.failed
    assert (meter.clients.done, meter.clients.failed) == (counts.done, counts.failed)
    assert meter.clients.size == 8 * counts.received


# Simulations


def run(make: Callable[[int], World], functions: list[str], seed: int, faults: int) -> World:
    world = make(seed)
    for _ in range(3000):  # so that all stages are there
        world.step()
    for function in functions:
        world.new_job(function, world.random.randint(1, 60))
    for _ in range(faults):
        for _ in range(world.random.randint(1, 150)):
            world.step()
            if world.random.random() < 0.05:
                assert_consistent(world)
        world.fault()
    world.finish()
    world.settle()
    return world


def assert_consistent(world: World) -> None:
    """Nothing is counted twice, whatever is under way."""
    for component in world.components.values():
        counts = component.machine.counts()
        open_ = sum(e.open for e in counts.edges if e.role in ("client", "stage before"))
        known = [each for name, each in counts.functions.items() if not name.startswith("%")]
        left = sum(each.received - each.done - each.failed - each.dropped for each in known)
        assert left == open_
        for each in counts.functions.values():
            assert each.queued >= 0 and each.running >= 0


TOPOLOGIES = {
    "row": (row, ROW),
    "tee": (tee, ["first.f g last.h"]),
    "streams": (streams, ["first.f g"]),
    "hub": (hub, ["first.f second.g third.h"]),
}


@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_all_adds_up_after_faults(name: str, seed: int) -> None:
    world = run(*TOPOLOGIES[name], seed, faults=6)
    for component in world.components.values():
        counts = component.machine.counts()
        assert_over(counts)
        assert edge(counts, "nobody") == (0, 0, 0, 0)
    for worker in world.workers:
        assert_over(worker.machine.counts())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_without_faults_edges_carry_what_functions_count(name: str) -> None:
    world = run(*TOPOLOGIES[name], 0, faults=0)
    for component in world.components.values():
        counts = component.machine.counts()
        received = sum(
            each.received for key, each in counts.functions.items() if not key.startswith("%")
        )
        before = [e.messages for e in counts.edges if e.role in ("client", "stage before")]
        assert sum(before) == received > 0
    first = world.components["first"].machine.counts()
    assert edge(first, "client")[0] == sum(len(job.items) for job in world.jobs.values())
    given_, done, failed, _ = edge(first, "stage")
    assert given_ == done + failed
