"""Nodes follow the workers of an engine, whatever is away meanwhile: rules, with both simulated."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from palm.engines.orders import NodeOrder, NodeReport
from palm.engines.provider import HOLD, PROMPT, RETRY, Provider, Provision
from palm.errors import RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import (
    ClusterStatus,
    ComponentStatus,
    ErrorDetail,
    NodeInfo,
    ReplicaStatus,
)
from palm.spec.pool import EngineWorker


@dataclass
class SimulatedRegistry:
    """Nodes that are there, and one component."""

    nodes: dict[str, NodeInfo] = field(default_factory=dict)
    component: ComponentStatus = field(
        default_factory=lambda: ComponentStatus(
            name="work", role="worker", desired=0, actual=0, state="ready",
            labels={"engine": "dask"},
        )
    )  # fmt: skip
    away: bool = False

    def cluster_status(self, key: str) -> ClusterStatus:
        self._check()
        nodes = list(self.nodes.values())
        return ClusterStatus(cluster=key, ready=True, nodes=nodes, components=[self.component])

    def leave(self, key: str, node: str, *, now: bool = False) -> None:
        self._check()
        if node not in self.nodes:
            raise Refused(404, ErrorDetail(code="no-such-node", text=f"no node {node}"))
        del self.nodes[node]

    def join(self, name: str, worker: EngineWorker) -> None:
        labels = {"engine": "dask", "pool": "dask"}
        self.nodes[name] = NodeInfo(
            id=name, name=name, cores=worker.threads, labels=labels, alive=True
        )

    def _check(self) -> None:
        if self.away:
            raise RegistryError("away")


@dataclass
class SimulatedPool:
    """Workers, what runs on them, and what their engine was told."""

    registry: SimulatedRegistry
    there: dict[str, EngineWorker] = field(default_factory=dict)
    running: dict[str, NodeReport] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    kept: Collection[str] = ()
    asked: int = 0
    away: bool = False
    broken: str = ""

    def add(self, number: int, threads: int = 2) -> str:
        address = f"tcp://10.0.0.1:{4000 + len(self.orders) + 100 * number}"
        while address in self.there:
            address += "0"
        self.there[address] = EngineWorker(address, str(number), "10.0.0.1", threads)
        return address

    def lose(self, address: str) -> None:
        del self.there[address]
        report = self.running.pop(address, None)
        if report is not None and not self.registry.away:
            self.registry.nodes.pop(report.node, None)

    # What the provider calls

    def workers(self) -> list[EngineWorker]:
        self._check()
        return list(self.there.values())

    def begin(self, address: str, order: NodeOrder) -> str:
        self._check()
        if self.broken:
            return self.broken
        assert order.node not in [report.node for report in self.running.values()]
        self.orders.append(order.node)
        self.running[address] = NodeReport(order.node, running=True)
        self.registry.join(order.node, self.there[address])
        return ""

    def reports(self, addresses: Iterable[str]) -> dict[str, NodeReport]:
        self._check()
        return {a: self.running[a] for a in addresses if a in self.running}

    def end(self, addresses: Iterable[str]) -> None:
        self._check()
        for address in addresses:
            report = self.running.pop(address, None)
            if report is not None:
                self.registry.nodes.pop(report.node, None)

    def keep(self, addresses: Collection[str]) -> None:
        self._check()
        self.kept = addresses

    def ask(self, places: int) -> None:
        self._check()
        self.asked = places

    def close(self) -> None:
        self._check()

    def drop(self) -> None:
        pass

    def _check(self) -> None:
        if self.away:
            raise OSError("away")


class World:
    """A provider, and the two that it stands between."""

    def __init__(self) -> None:
        self.now = 0.0
        self.registry = SimulatedRegistry()
        self.pool = SimulatedPool(self.registry)
        self.problems: dict[str, str] = {}
        self.refused: set[str] = set()
        self.start()

    def start(self) -> None:
        provision = Provision(
            cluster="c",
            name="dask",
            engine="dask",
            join=self._join,
            refusal=lambda host: "out of reach" if host in self.refused else "",
        )
        self.provider = Provider(
            self.registry,
            provision,
            lambda: self.pool,
            tell=lambda problems: self.problems.update(problems),
            now=lambda: self.now,
        )
        self.is_settled = False

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1.0
            try:
                if self.is_settled:
                    self.provider.look(self.pool)
                else:
                    self.provider.settle(self.pool)
                    self.is_settled = True
            except OSError:
                self.start()  # as after a connection that broke

    def want(self, replicas: int, nodes: Iterable[str] = ()) -> None:
        found = [
            ReplicaStatus(name=f"work-{n}", component="work", replica=n, node=node, state="ready")
            for n, node in enumerate(nodes)
        ]
        self.registry.component.desired = replicas
        self.registry.component.replicas = found

    def _join(self, node: str) -> str:
        self.registry.cluster_status("c")
        return "palm-join-1.secret"


class NodesFollowWorkers(RuleBasedStateMachine):
    """Workers come and go, both sides are away at times, and the provider is killed."""

    @initialize()
    def begin(self) -> None:
        self.world = World()

    @rule(number=st.integers(0, 4))
    def a_worker_comes(self, number: int) -> None:
        pool = self.world.pool
        if str(number) not in [worker.name for worker in pool.there.values()]:
            pool.add(number)

    @rule(data=st.data())
    def a_worker_is_lost(self, data: st.DataObject) -> None:
        if self.world.pool.there:
            self.world.pool.lose(data.draw(st.sampled_from(sorted(self.world.pool.there))))

    @rule(away=st.booleans())
    def the_registry_goes_or_comes(self, away: bool) -> None:
        self.world.registry.away = away

    @rule(away=st.booleans())
    def the_engine_goes_or_comes(self, away: bool) -> None:
        self.world.pool.away = away

    @rule()
    def the_provider_is_killed(self) -> None:
        self.world.start()

    @rule()
    def time_goes_by(self) -> None:
        self.world.look()

    def teardown(self) -> None:
        world = self.world
        world.registry.away = world.pool.away = False
        world.look(3)
        wanted = {f"dask-{worker.name}" for worker in world.pool.there.values()}
        assert {report.node for report in world.pool.running.values()} == wanted
        assert set(world.registry.nodes) == wanted
        world.provider.end(world.pool)
        assert not world.registry.nodes
        assert not world.pool.running


NodesFollowWorkers.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestNodesFollowWorkers = NodesFollowWorkers.TestCase


@pytest.fixture
def world() -> World:
    return World()


def test_a_provider_that_was_killed_tells_no_worker_twice(world: World) -> None:
    world.pool.add(0)
    world.look()
    world.start()
    world.look(3)
    assert world.pool.orders == ["dask-0"]


def test_a_node_that_somebody_removed_does_not_come_back(world: World) -> None:
    world.pool.add(0)
    world.look()
    world.registry.leave("c", "dask-0")
    world.look(3)
    assert world.pool.orders == ["dask-0"]
    assert not world.registry.nodes


def test_a_worker_that_is_back_under_its_name_is_the_node_again(world: World) -> None:
    address = world.pool.add(0)
    world.look()
    world.pool.lose(address)
    world.registry.join("dask-0", EngineWorker("", "", ""))  # nobody could say that it is gone
    world.pool.add(0)
    world.look()
    assert world.pool.orders == ["dask-0", "dask-0"]
    assert set(world.registry.nodes) == {"dask-0"}


def test_it_is_said_why_a_worker_is_no_node(world: World) -> None:
    world.pool.broken = "palm is not in its environment"
    world.pool.add(0)
    world.look()
    assert world.problems == {"dask-0": "palm is not in its environment"}


def test_a_worker_that_could_not_be_a_node_is_told_again(world: World) -> None:
    world.pool.broken = "no room on its disk"
    world.pool.add(0)
    world.look()
    world.pool.broken = ""
    world.look(int(RETRY) - 1)
    assert not world.pool.orders
    world.look(2)
    assert world.pool.orders == ["dask-0"]


def test_a_worker_out_of_reach_is_told_nothing(world: World) -> None:
    world.refused.add("10.0.0.1")
    world.pool.add(0)
    world.look()
    assert world.problems == {"dask-0": "out of reach"}
    assert not world.pool.orders


def test_a_runner_that_does_not_get_in_is_asked_why(world: World) -> None:
    address = world.pool.add(0)
    world.look()
    del world.registry.nodes["dask-0"]
    world.provider._nodes[address].has_been = False
    world.pool.running[address] = NodeReport("dask-0", running=False, problem="its runner ended")
    world.look(int(PROMPT) + 1)
    assert world.problems == {"dask-0": "its runner ended"}


def test_places_are_asked_for_until_they_are_there_and_in_use(world: World) -> None:
    world.want(5)
    world.look()
    assert world.pool.asked == 1  # how large a worker is, the first one shows
    world.pool.add(0)
    world.look()
    assert world.pool.asked == 5
    world.pool.add(1)
    world.pool.add(2)
    world.look()
    assert world.pool.asked == 5
    nodes = ["dask-0", "dask-0", "dask-1", "dask-1", "dask-2"]
    world.want(5, nodes)
    world.look(int(HOLD))
    assert world.pool.asked == 0
    assert len(world.pool.kept) == 3


def test_who_is_not_in_use_may_be_closed(world: World) -> None:
    first, _ = world.pool.add(0), world.pool.add(1)
    world.want(1, ["dask-0"])
    world.look()
    assert set(world.pool.kept) == {first}


def test_what_finds_its_node_elsewhere_asks_for_nothing(world: World) -> None:
    world.registry.component.labels = {"engine": "dask"}
    world.want(2, ["vm", "vm"])
    world.look(2)
    assert world.pool.asked == 0
