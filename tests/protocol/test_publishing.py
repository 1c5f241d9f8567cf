"""Stages that go, come back, or never were there; and what jobs want of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from palm.protocol.effects import Log
from palm.protocol.events import PeerLost, Received
from palm.protocol.publishing import CLAIM_FOR
from palm.wire.message import Bye, Terms
from tests.support.topologies import Part, World


def add(mark: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: payload + mark


def fail(payload: bytes) -> bytes:
    raise ValueError(payload.decode())


def row(seed: int = 0, world: type[World] = World) -> World:
    return world(
        seed,
        {
            "first": Part({"f": add(b"a"), "fail": fail}, pipelined=True),
            "second": Part({"g": add(b"b"), "fail": fail}, [("first", "first")]),
        },
        {},
    )


def take_away(world: World, name: str) -> None:
    """Let a component be dead: nothing happens in it any more."""
    component = world.components.pop(name)
    component.board.close()
    assert component.worker is not None
    component.worker.board.close()
    world.later = [(d, e) for d, e in world.later if d not in (component.driver,)]


def run(world: World, seconds: float) -> None:
    until = world.now + seconds
    while world.now < until:
        for _ in range(10):
            world.step()
        world.now += 0.05


def outcomes(world: World) -> list[list[bytes] | str]:
    (job,) = world.jobs.values()
    return [job.outcomes[at] for at in range(len(job.items))]


FUNCTIONS = "first.f second.g"


def test_messages_wait_for_a_stage_that_comes_late() -> None:
    world = row()
    second = world.components["second"]
    take_away(world, "second")
    world.new_job(FUNCTIONS, 3)
    run(world, CLAIM_FOR / 2)
    assert not world.done
    second.start()
    world.components["second"] = second
    world.finish()
    assert outcomes(world) == [[b"0ab"], [b"1ab"], [b"2ab"]]


@pytest.mark.parametrize(
    ("leaves", "level", "text"),
    [(True, logging.INFO, "second left"), (False, logging.WARNING, "second is away")],
)
def test_stage_that_stops_is_no_cause_for_a_warning(leaves: bool, level: int, text: str) -> None:
    world = row()
    run(world, 1)
    first = world.components["first"].machine
    (stage,) = [each.session for each in first._publisher._claims if each.session]
    assert stage.peer is not None
    bye = Received(stage.peer, Bye(stage.link, "'second' stops"))
    effects = first.handle(bye if leaves else PeerLost(stage.peer), world.now)
    (log,) = [each for each in effects if isinstance(each, Log)]
    assert (log.level, text in log.text) == (level, True), log.text


def test_messages_that_no_stage_wants_are_unroutable_after_a_while() -> None:
    world = row()
    take_away(world, "second")
    run(world, 1)
    assert not [each for each in world.components["first"].machine._publisher._claims if each.given]
    world.components["first"].stages.clear()
    world.components["first"].restart()
    world.new_job(FUNCTIONS, 3)
    run(world, CLAIM_FOR / 2)
    assert not world.done
    run(world, CLAIM_FOR)
    assert outcomes(world) == ["no stage subscribes to 'first' of 'first'"] * 3


def test_a_stage_that_does_not_come_back_is_lost_after_a_while() -> None:
    world = row()
    run(world, 2)
    take_away(world, "second")
    world.new_job(FUNCTIONS, 3)
    run(world, CLAIM_FOR / 2)
    assert not world.done
    run(world, CLAIM_FOR)
    text = "stage 'second' was lost and did not come back within 30 s"
    assert outcomes(world) == [text] * 3


def test_a_lost_stage_may_come_back_later() -> None:
    world = row()
    run(world, 2)
    second = world.components["second"]
    take_away(world, "second")
    run(world, 2 * CLAIM_FOR)
    second.start()
    world.components["second"] = second
    run(world, 2)
    world.new_job(FUNCTIONS, 2)
    world.finish()
    assert outcomes(world) == [[b"0ab"], [b"1ab"]]


class Once(World):
    """Jobs whose messages may not run twice."""

    def terms(self) -> Terms | None:
        return Terms(at_most_once=True)


def test_what_may_not_run_twice_fails_when_its_stage_is_killed() -> None:
    lost = 0
    for seed in range(20):
        world = row(seed, Once)
        run(world, 2)
        world.new_job(FUNCTIONS, 8)
        for _ in range(world.random.randint(1, 60)):
            world.step()
        world.components["second"].restart()
        world.finish()
        for at, outcome in enumerate(outcomes(world)):
            if isinstance(outcome, str):
                lost += 1
                assert "may not run twice" in outcome
            else:
                assert outcome == [b"%dab" % at]
    assert lost


@pytest.mark.parametrize("seed", range(10))
def test_what_has_its_outcome_is_not_given_to_the_next_process_of_a_stage(seed: int) -> None:
    calls: list[bytes] = []

    def note(payload: bytes) -> bytes:
        calls.append(payload)
        return payload

    world = Once(
        seed,
        {
            "first": Part({}, pipelined=True, inside=False),
            "second": Part({"g": note}, [("first", "first")]),
        },
        {"first": Part({"f": add(b"a")})},  # two workers: they are done in any order
    )
    run(world, 2)
    world.new_job(FUNCTIONS, 200)
    for _ in range(5):
        for _ in range(world.random.randint(1, 400)):
            world.step()
        world.components["second"].restart()
    world.finish()
    assert calls
    assert len(calls) == len(set(calls))


class Late(World):
    """Jobs that have little time."""

    def terms(self) -> Terms | None:
        return Terms(deadline=5.0, remaining=5.0)


def test_a_deadline_counts_at_all_stages() -> None:
    world = row(0, Late)
    run(world, 2)
    take_away(world, "second")
    world.new_job(FUNCTIONS, 3)
    run(world, 7)
    assert outcomes(world) == ["no outcome within the 5 s of its job"] * 3
    first = world.components["first"].machine
    assert not any(claim.given for claim in first._publisher._claims)


class Again(World):
    """Jobs whose messages are tried again."""

    def terms(self) -> Terms | None:
        return Terms(retries=2)


def test_each_stage_tries_again() -> None:
    world = row(0, Again)
    world.new_job("first.f second.fail", 2)
    world.finish()
    assert outcomes(world) == ["0a", "1a"]
    assert world.executions == 2 + 2 * 3


def test_a_stage_that_stops_on_purpose_is_waited_for() -> None:
    world = row()
    run(world, 2)
    second = world.components["second"]
    world.new_job(FUNCTIONS, 5)
    for _ in range(10):
        world.step()
    second.restart()
    world.finish()
    assert outcomes(world) == [[b"%dab" % at] for at in range(5)]


def test_who_comes_under_a_name_that_nobody_else_has_takes_its_place() -> None:
    """Though the end of the one before it was not seen yet."""
    world = row()
    second = world.components["second"]
    second.named = True
    second.restart()
    run(world, 2)
    publisher = world.components["first"].machine._publisher
    assert [claim.name for claim in publisher._claims] == ["second"]
    second.start()  # the connections of the life before stay as they are
    run(world, 2)
    assert [claim.name for claim in publisher._claims] == ["second"]
    second.named = False  # another process of this name may well be there
    second.start()
    run(world, 2)
    assert [claim.name for claim in publisher._claims] == ["second", "second"]
