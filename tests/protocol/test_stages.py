"""Components in a row, side by side, and one after several: whatever dies, one outcome each."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from palm.protocol import passage, pool
from palm.protocol.flow import GATHER, JOIN, SCATTER, Way
from palm.runtime.functions import FunctionTable
from palm.runtime.joins import Join, joining, of_parts
from palm.runtime.several import Several
from tests.support.topologies import Part, World

COUNT = int(os.environ.get("PALM_SIMULATIONS", "40"))
FAULTS = 12


def add(mark: bytes) -> Callable[[bytes], bytes]:
    def function(payload: bytes) -> bytes:
        return payload + mark

    return function


def odd(payload: bytes) -> bytes | None:
    return payload + b"o" if int(payload.split(b"a")[0]) % 2 else None


def yield_some(payload: bytes):  # type: ignore[no-untyped-def]
    for at in range(int(payload) % 4):
        yield payload + b"y%d" % at


def blow_up(payload: bytes) -> bytes:
    if int(payload) % 5 == 0:
        raise ValueError(payload.decode())
    return payload + b"a"


def by_parity(payload: bytes) -> Several:
    return Several([("even" if int(payload) % 2 == 0 else "odd", payload + b"a")])


def scatter(payload: bytes) -> Several:
    return Several(("", payload + b"s%d" % at) for at in range(int(payload) % 3))


def gather(payload: bytes) -> Several:
    return Several([("", payload + b"g")])


def row(seed: int) -> World:
    """A server, a pipeline, a sink."""
    return World(
        seed,
        {
            "first": Part({"f": add(b"a"), "bad": blow_up, "many": yield_some}, pipelined=True),
            "second": Part(
                {"g": add(b"b"), "odd": odd}, [("first", "first")], pipelined=True, drops_none=True
            ),
            "third": Part({"h": add(b"c"), "many": lambda v: v}, [("second", "second")]),
        },
        {},
    )


def tee(seed: int) -> World:
    """A server, two pipelines that take all of it, and a sink of both."""
    return World(
        seed,
        {
            "first": Part({"f": add(b"a"), "many": yield_some}, pipelined=True),
            "left": Part({"g": add(b"l")}, [("first", "first")], pipelined=True),
            "right": Part({"g": add(b"r")}, [("first", "first")], pipelined=True),
            "last": Part({"h": add(b"e")}, [("left", "left"), ("right", "right")]),
        },
        {},
    )


def streams(seed: int) -> World:
    """A server that sends results to one of two pipelines."""
    return World(
        seed,
        {
            "first": Part({}, hooks={"f": by_parity}),
            "evens": Part({"g": add(b"0")}, [("first", "even")]),
            "odds": Part({"g": add(b"1")}, [("first", "odd")]),
        },
        {},
    )


def joined(seed: int) -> World:
    """A server, two pipelines that take all of it, and a sink that joins what they make."""
    join = Join(lambda payload: payload[:-1], within=None)
    table = FunctionTable({"h": b"+".join, "twice": lambda parts: (yield from parts)})
    sink = Part({}, [("left", "left"), ("right", "right")], way=Way([JOIN, ""]))
    sink.functions = table.around(of_parts).under(FunctionTable({}, {JOIN: joining(join)}))
    return World(
        seed,
        {
            "first": Part({"f": add(b"a"), "many": yield_some}, pipelined=True),
            "left": Part({"g": add(b"l")}, [("first", "first")], pipelined=True),
            "right": Part({"g": add(b"r")}, [("first", "first")], pipelined=True),
            "last": sink,
        },
        {},
    )


def hub(seed: int) -> World:
    """A master with hooks, a hub behind it, and a pipeline behind that."""
    way = Way([SCATTER, "", GATHER], pipelined=True)
    hooks = {SCATTER: scatter, GATHER: gather}
    return World(
        seed,
        {
            "first": Part({}, way=way, hooks=hooks),
            "second": Part({}, [("first", "first")], pipelined=True, inside=False),
            "third": Part({"h": add(b"c")}, [("second", "second")]),
        },
        {"first": Part({"f": add(b"a")}), "second": Part({"g": add(b"b")})},
    )


def crowd(seed: int) -> World:
    """A hub whose workers are done in any order, between a server and a sink."""
    return World(
        seed,
        {
            "first": Part({"f": add(b"a")}, pipelined=True),
            "second": Part({}, [("first", "first")], pipelined=True, inside=False),
            "third": Part({"h": add(b"c")}, [("second", "second")]),
        },
        {"second": Part({"g": add(b"b")})},
    )


def check(world: World, expected: Callable[[str, bytes], list[bytes] | str]) -> None:
    for job in world.jobs.values():
        for at, item in enumerate(job.items):
            found, wanted = job.outcomes[at], expected(job.function, item)
            if isinstance(found, list) and isinstance(wanted, list):
                assert sorted(found) == sorted(wanted), (job.function, at)
            else:
                assert found == wanted, (job.function, at)


def torment(world: World, functions: list[str], faults: int) -> None:
    for function in functions:
        world.new_job(function, world.random.randint(1, 60))
    for _ in range(faults):
        for _ in range(world.random.randint(1, 150)):
            world.step()
        world.fault()
    world.finish()


def in_a_row(function: str, item: bytes) -> list[bytes] | str:
    if function == "first.bad second.g third.h":
        return item.decode() if int(item) % 5 == 0 else [item + b"abc"]
    if function == "first.f second.odd third.h":
        return [item + b"aoc"] if int(item) % 2 else []
    if function == "first.many second.g third.h":
        return [item + b"y%dbc" % at for at in range(int(item) % 4)]
    return [item + b"abc"]


def behind_a_tee(function: str, item: bytes) -> list[bytes]:
    if "many" in function:
        made = [item + b"y%d" % at for at in range(int(item) % 4)]
    else:
        made = [item + b"a"]
    return [each + mark + b"e" for each in made for mark in (b"l", b"r")]


def what_is_joined(function: str, item: bytes) -> list[bytes]:
    if "many" in function:
        made = [item + b"y%d" % at for at in range(int(item) % 4)]
    else:
        made = [item + b"a"]
    if "twice" in function:
        return [each + mark for each in made for mark in (b"l", b"r")]
    return [each + b"l+" + each + b"r" for each in made]


ROW = ["first.f second.g third.h", "first.bad second.g third.h", "first.f second.odd third.h"]
MANY = "first.many second.g third.h"


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_row_loses_and_doubles_nothing(seed: int) -> None:
    world = row(seed)
    torment(world, [*ROW, MANY], FAULTS)
    check(world, in_a_row)
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT // 2))
def test_messages_that_become_many_wait_for_one_another(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "MAX_SPREAD", 4)
    monkeypatch.setattr(pool, "MAX_MESSAGES", 4)
    world = row(seed)
    world.new_job(MANY, 400)
    most = 0
    while not world.done:
        world.step()
        roots = [
            job.passage
            for session in world.components["first"].machine._clients.values()
            for job in session.jobs.values()
            if job.passage is not None
        ]
        most = max(most, *(each.spread for each in roots), 0)
        if world.random.random() < 0.001:
            world.fault()
    check(world, in_a_row)
    assert most <= 4 + 3 * 4 * pool.MAX_LEASES  # what was out by then; of all, 500 become many


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_tee_and_a_sink_lose_and_double_nothing(seed: int) -> None:
    world = tee(seed)
    for _ in range(3000):  # a tee gives messages to those who are there
        world.step()
    torment(world, ["first.f g last.h", "first.many g last.h"], FAULTS)
    check(world, behind_a_tee)
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT))
def test_joins_lose_and_double_nothing(seed: int) -> None:
    world = joined(seed)
    for _ in range(3000):
        world.step()
    torment(world, ["first.f g last.h", "first.many g last.h", "first.f g last.twice"], FAULTS)
    check(world, what_is_joined)
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT))
def test_streams_lose_and_double_nothing(seed: int) -> None:
    world = streams(seed)
    torment(world, ["first.f g"], FAULTS)
    check(world, lambda _, item: [item + b"a%d" % (int(item) % 2)])
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT))
def test_hooks_and_a_hub_lose_and_double_nothing(seed: int) -> None:
    world = hub(seed)
    torment(world, ["first.f second.g third.h"], FAULTS)
    check(world, lambda _, item: [item + b"s%dagbc" % at for at in range(int(item) % 3)])
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT // 2))
def test_what_a_crowd_has_done_survives_the_stage_behind_it(seed: int) -> None:
    world = crowd(seed)
    world.new_job(ROW[0], 400)
    for _ in range(10):
        for _ in range(world.random.randint(1, 400)):
            world.step()
        world.components["third"].restart()
    world.finish()
    check(world, in_a_row)
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_crowd_behind_and_before_others_loses_and_doubles_nothing(seed: int) -> None:
    world = crowd(seed)
    torment(world, [ROW[0]] * 2, 2 * FAULTS)
    check(world, in_a_row)
    world.settle()


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_cancelled_job_leaves_nothing_behind(seed: int) -> None:
    world = row(seed)
    for function in ROW:
        world.new_job(function, 40)
    for _ in range(6):
        for _ in range(world.random.randint(1, 200)):
            world.step()
        world.random.choice((world.fault, world.cancel))()
    world.finish()
    check(world, in_a_row)
    world.settle()


def test_without_faults_nothing_runs_twice() -> None:
    world = row(0)
    world.new_job(ROW[0], 60)
    world.finish()
    assert world.executions == 180
