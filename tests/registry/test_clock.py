"""The clock on the wall may step: nothing ends, comes back or waits because of it: F33."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from palm.registry_api.client import RegistryClient
from palm_registry.watch import Leases
from tests.support.registry import RegistryThread, Runner, piece, spec


class Wall:
    """The clock of the machine, as somebody sets it while all goes on."""

    def __init__(self) -> None:
        self._time = time.time
        self.ahead = 0.0  # seconds

    def __call__(self) -> float:
        return self._time() + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    """Every ``time.time()`` of the registry, which runs in this process, is this one."""
    wall = Wall()
    monkeypatch.setattr(time, "time", wall)
    yield wall
    wall.ahead = 0.0


@pytest.mark.parametrize("step", [400 * 86400.0, -400 * 86400.0])
def test_nodes_leases_and_clusters_do_not_notice_a_step(
    registry: RegistryThread, client: RegistryClient, runner: Runner, wall: Wall, step: float
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    client.lease("c", "notebook", 30.0, linger=0.0)
    client.create_cluster("free", 0.0)
    before = [(event.seq, event.kind) for event in client.events("c")[0]]
    answers: list[object] = []
    began = time.monotonic()
    waiting = threading.Thread(target=lambda: answers.append(runner.beat(wait=1.5)))
    waiting.start()
    wall.ahead = step
    waiting.join(20)
    assert 1.0 < time.monotonic() - began < 15.0  # as long as was asked for
    assert len(answers) == 1
    # Four looks of the registry later all is as it was.
    assert client.view_cluster("c").holders == ["notebook"]
    assert [cluster.state for cluster in client.cluster_list()] == ["alive", "alive"]
    assert [node.alive for node in client.nodes("c")] == [True]
    assert client.cluster_status("c").ready
    assert [(event.seq, event.kind) for event in client.events("c")[0]] == before


def test_a_step_does_not_reach_the_one_that_comes_next(
    registry: RegistryThread, client: RegistryClient, runner: Runner, wall: Wall
) -> None:
    """What was written before a step back is not in the future for who starts after it."""
    client.declare("c", spec("a"))
    runner.run_all()
    client.lease("c", "notebook", 30.0, linger=0.0)
    wall.ahead = -400 * 86400.0
    registry.stop()
    registry.start()
    runner.beat()
    time.sleep(0.6)  # a few looks
    assert client.view_cluster("c").holders == ["notebook"]
    assert client.cluster_status("c").ready


@pytest.mark.parametrize("step", [86400.0, -86400.0])
def test_leases_end_when_their_time_is_over_whatever_the_clock_says(
    client: RegistryClient, wall: Wall, step: float
) -> None:
    client.lease("c", "notebook", 0.5, linger=0.0)
    began = time.monotonic()
    wall.ahead = step
    while client.view_cluster("c").state != "ended":
        assert time.monotonic() - began < 15.0
        time.sleep(0.02)
    assert time.monotonic() - began >= 0.45


def test_a_live_feed_and_its_order_do_not_notice(client: RegistryClient, wall: Wall) -> None:
    got, offset = [], 0
    with client.live("c", ("output", "events"), since="start") as feed:
        for number, ahead in enumerate((0.0, -1e6, 1e6, -2e6)):
            wall.ahead = ahead
            data = b"%d\n" % number
            client.send_output("c", [piece(offset, data)])
            offset += len(data)
            while len(got) <= number:
                frame = feed.next_frame(20)
                assert frame is not None
                if frame.topic == "output":
                    got += [record.raw for record in frame.data]
    assert b"".join(got) == b"0\n1\n2\n3\n"


def test_times_are_told_by_the_clock_of_the_wall(client: RegistryClient, wall: Wall) -> None:
    wall.ahead = 86400.0
    reply = client.lease("c", "notebook", 30.0)
    assert reply.lease_until is not None
    assert abs(reply.lease_until - (time.time() + 30.0)) < 10.0


def test_leases_take_their_time_from_outside() -> None:
    """Pure: a clock that stands still ends nothing, however often it is looked at."""
    leases = Leases()
    leases.renew("c", "a", 5.0, 100.0)
    assert [leases.expired(100.0) for _ in range(3)] == [[], [], []]
    assert leases.expired(105.1) == [("c", "a")]
