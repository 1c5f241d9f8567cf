"""What nodes say at the same time is one change, and nobody is woken for what others wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from palm.registry_api.schema import Heartbeat
from palm_registry.failures import NotFound
from palm_registry.keyfiles import KeyFiles
from palm_registry.service.core import Core, facts_of
from palm_registry.service.nodes import NodeRules
from palm_registry.service.reporting import Reporting
from palm_registry.signals import Signals
from palm_registry.store import Database
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import events as event_rows
from palm_registry.store.clusters import ClusterRow, ComponentRow
from palm_registry.store.nodes import NodeRow
from palm_registry.watch import LOST_AFTER
from tests.support.registry import spec, status_of


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()
    yield Core(database, KeyFiles(tmp_path))
    database.close()


def joining(name: str) -> NodeRow:
    return NodeRow(cluster="c", id=name, name=name, cores=1, session=f"of {name}")


async def begin(core: Core, replicas: int) -> None:
    """Let there be a cluster that wants so many processes."""
    cluster = ClusterRow(key="c", name="c", created=0.0, updated=0.0)
    wanted = ComponentRow(spec=spec("x", replicas=replicas), released=True)
    await core.database.write(lambda c: cluster_rows.add_cluster(c, cluster))
    await core.database.write(lambda c: cluster_rows.put_component(c, "c", wanted))


async def generation(core: Core) -> int:
    found = await core.database.read(lambda c: cluster_rows.get_cluster(c, "c"))
    assert found is not None
    return found.generation


NAMES = [f"n{number:02}" for number in range(20)]


def test_nodes_that_join_together_are_placed_once(core: Core) -> None:
    async def run() -> None:
        await begin(core, replicas=20)
        reporting = Reporting(core)
        await asyncio.gather(*(reporting.join("c", joining(name)) for name in NAMES))
        assert await generation(core) == 1
        facts = await core.database.read(lambda c: facts_of(c, "c"))
        assert sorted(facts.placements.values()) == NAMES
        events = await core.database.read(lambda c: event_rows.events_after(c, "c", 0, 100))
        assert [event.node for event in events if event.kind == "node.joined"] == NAMES

    asyncio.run(run())


def test_node_that_may_not_join_keeps_no_other_from_it(core: Core) -> None:
    async def run() -> None:
        await begin(core, replicas=1)
        reporting = Reporting(core)
        unknown = NodeRow(cluster="d", id="a", name="a")
        results = await asyncio.gather(
            reporting.join("c", joining("a")),
            reporting.store("c", "stranger", Heartbeat(session="?")),
            reporting.join("c", joining("b")),
            reporting.join("d", unknown),
            return_exceptions=True,
        )
        assert [type(each) for each in results] == [int, NotFound, int, NotFound]
        facts = await core.database.read(lambda c: facts_of(c, "c"))
        assert sorted(facts.nodes) == ["a", "b"]

    asyncio.run(run())


def test_report_of_what_was_to_be_is_no_other_plan(core: Core) -> None:
    async def run() -> None:
        await begin(core, replicas=1)
        reporting = Reporting(core)
        await reporting.join("c", joining("a"))
        before = core.signals.versions("c", ["plan", "status"])
        beat = Heartbeat(session="of a", statuses=[status_of(spec("x"), node="a")])
        await reporting.store("c", "a", beat)
        after = core.signals.versions("c", ["plan", "status"])
        assert after["plan"] == before["plan"]
        assert after["status"] > before["status"]

    asyncio.run(run())


def test_nodes_that_are_lost_together_are_lost_once(core: Core) -> None:
    async def run() -> None:
        await begin(core, replicas=20)
        rules, reporting = NodeRules(core), Reporting(core)
        await asyncio.gather(*(reporting.join("c", joining(name)) for name in NAMES))
        for name in NAMES:
            core.nodes.expect("c", name, core.now())
        for name in NAMES[:5]:  # these were heard of for the last time too long ago
            core.nodes.expect("c", name, core.now() - LOST_AFTER - 1)
        core.nodes.move_after = 0.0
        before = await generation(core)
        await rules.sweep()  # they are lost, and what they had may go
        assert await generation(core) == before + 1
        facts = await core.database.read(lambda c: facts_of(c, "c"))
        assert not set(facts.placements.values()) & set(NAMES[:5])
        events = await core.database.read(lambda c: event_rows.events_after(c, "c", 0, 100))
        assert [each.node for each in events if each.kind == "node.lost"] == NAMES[:5]

    asyncio.run(run())


class Counting(Signals):
    """Counts how often somebody looks whether there is anything new."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def versions(self, cluster: str, topics: Iterable[str]) -> dict[str, int]:
        self.looks += 1
        return super().versions(cluster, topics)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_waits_for_a_plan_is_not_woken_by_samples() -> None:
    async def run() -> None:
        signals = Counting()
        ticket = signals.versions("c", ["plan"])
        waiting = asyncio.create_task(signals.wait("c", ticket, 30.0))
        await turns()
        looks = signals.looks
        for _ in range(100):
            signals.notify("c", "metrics")
            signals.notify("d", "plan")
            await turns()
        assert signals.looks == looks
        signals.notify("c", "status", "plan")
        assert await waiting is True

    asyncio.run(run())


def test_who_waits_for_several_things_is_woken_by_each_and_forgotten_by_all() -> None:
    async def run() -> None:
        signals = Signals()
        for topic in ("plan", "output"):
            ticket = signals.versions("c", ["plan", "output"])
            waiting = asyncio.create_task(signals.wait("c", ticket, 30.0))
            await turns()
            signals.notify("c", topic)
            assert await waiting is True
        assert await signals.wait("c", signals.versions("c", ["plan"]), 0.01) is False
        gone = asyncio.get_running_loop().create_future()
        gone.set_result(None)
        assert await signals.wait("c", signals.versions("c", ["plan"]), 30.0, gone) is False
        assert not signals._waiters

    asyncio.run(run())
