"""Nodes for a cluster from the workers of an engine: one for each, as long as it lasts.

A provider looks once a second at the workers that there are, at the nodes that the registry knows,
and at what the cluster wants, and does what is missing. What it needs to know after it was killed
it finds there again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from palm.engines.orders import Beside, NodeOrder, NodeReport
from palm.errors import PalmError, RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import ClusterStatus, ComponentStatus, NodeInfo
from palm.spec.pool import ENGINE, POOL, EngineWorker, Want, labels_of, node_name, places_wanted

__all__ = ["Pool", "Provider", "Provision", "Registry"]

#: Seconds between two looks, and that many times what one takes: of a thousand nodes that is long,
#: and others ask the registry, too.
EVERY, PAUSE = 1.0, 9.0
#: Seconds until an engine that is away is asked again: the first time, and at most.
AGAIN, AGAIN_AT_MOST = 0.5, 10.0
#: Seconds that more workers are still asked for once there are enough: they have to become nodes,
#: and to be in use, before they need not fear to be closed.
HOLD = 30.0
#: Seconds in which a worker that was told so is a node, before it is asked why it is not.
PROMPT = 5.0
#: Seconds after which a worker that could not be a node is told again.
RETRY = 30.0
#: Seconds that a join string for a worker is good.
TTL = 600.0

_LIVING = ("starting", "ready", "stopping", "backing-off")

_log = logging.getLogger("palm.provider")


class Pool(Protocol):
    """An engine's workers; see `palm.engines.daskpool.DaskPool`."""

    def workers(self) -> list[EngineWorker]:
        """Return those that there are."""

    def begin(self, address: str, order: NodeOrder) -> str:
        """Have a worker be a node; return why that cannot be."""

    def reports(self, addresses: Iterable[str]) -> dict[str, NodeReport]:
        """Return what those say that are nodes."""

    def end(self, addresses: Iterable[str]) -> None:
        """Have workers be nodes no more."""

    def keep(self, addresses: Collection[str]) -> None:
        """Have none of these closed for want of work."""

    def ask(self, places: int) -> None:
        """Have the engine know that so many places are wanted."""

    def close(self) -> None:
        """Leave it, asking for nothing."""

    def drop(self) -> None:
        """Leave one that does not answer."""


@dataclass(frozen=True, slots=True)
class Provision:
    """What nodes are to be: those of the pool ``name`` for ``cluster``.

    ``join`` makes the join string for a node; ``refusal`` says why a worker on a host cannot be
    one, "" if it can; ``beside`` is how a worker on the registry's machine knows that it is there.
    """

    cluster: str
    name: str
    engine: str
    join: Callable[[str], str]
    refusal: Callable[[str], str] = lambda host: ""
    beside: Callable[[], Beside | None] = lambda: None
    labels: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] | None = None

    @property
    def common(self) -> dict[str, str]:
        """Labels that each of its nodes has."""
        return {ENGINE: self.engine, POOL: self.name, **self.labels}

    def labels_of(self, worker: EngineWorker) -> dict[str, str]:
        """Return the labels of a worker as a node."""
        return labels_of(self.engine, self.name, worker, self.labels)

    def has(self, node: NodeInfo) -> bool:
        """Whether a node is one of the pool."""
        return node.labels.get(POOL) == self.name

    def order(self, worker: EngineWorker, node: str) -> NodeOrder:
        """Return what a worker is told."""
        options = [f"--label={key}={value}" for key, value in self.labels_of(worker).items()]
        options += [f"--allow={rule}" for rule in self.allow or ()]
        options += [f"--places={worker.threads}", f"--cores={worker.threads}"]
        join = self.join(node)
        return NodeOrder(self.cluster, node, join, tuple(options), worker.host, self.beside())


@dataclass(slots=True)
class _Node:
    """A worker that is a node, or is to be one; ``said`` is what was wrong with it at last."""

    worker: EngineWorker
    name: str
    since: float
    has_been: bool = False
    said: str = ""


class Registry(Protocol):
    """What is needed of a registry: these methods of `RegistryClient`."""

    def cluster_status(self, key: str) -> ClusterStatus:
        """Return how a cluster is."""

    def leave(self, key: str, node: str, *, now: bool = False) -> None:
        """Let a node go."""


class Provider:
    """Keeps the nodes of one pool; belongs to one thread, but for `stop`.

    ``tell`` is told why workers are no nodes, by what their nodes would be called, when that
    changes.
    """

    def __init__(
        self,
        registry: Registry,
        provision: Provision,
        connect: Callable[[], Pool],
        tell: Callable[[Mapping[str, str]], None] = lambda problems: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._provision = provision
        self._connect = connect
        self._tell = tell
        self._told: dict[str, str] = {}
        self._now = now
        self._nodes: dict[str, _Node] = {}
        #: Labels that nodes have had, each set once: such nodes may be there again.
        self._offers: list[dict[str, str]] = [provision.common]
        self._short = -HOLD
        self._asked = 0
        self._stop = threading.Event()
        self._said = ""

    def stop(self) -> None:
        """Have `run` end; any thread, or a handler of a signal, may."""
        self._stop.set()

    def run(self, ready: Callable[[], None]) -> None:
        """Keep nodes on all workers until `stop`, then on none."""
        while not self._stop.is_set():
            pool = self._reach()
            if pool is None:
                break
            try:
                self.settle(pool)
                ready()
                took = 0.0
                while not self._stop.wait(max(EVERY, PAUSE * took)):
                    began = self._now()
                    self.look(pool)
                    took = self._now() - began
                self.end(pool)
            except OSError as error:
                said = str(error) or type(error).__name__
                self._say(f"{self._provision.engine} does not answer any more ({said})")
                self._nodes.clear()
                pool.drop()

    def _reach(self) -> Pool | None:
        delay = AGAIN
        while not self._stop.is_set():
            try:
                pool = self._connect()
            except PalmError as error:
                self._say(str(error))
                self._clear_lost()
                self._stop.wait(delay)
                delay = min(AGAIN_AT_MOST, 2 * delay)
            else:
                self._said = ""
                return pool
        return None

    def _say(self, text: str) -> None:
        """Log, unless it was the last that was said."""
        if text != self._said:
            self._said = text
            _log.warning("%s", text)

    # What there is

    def settle(self, pool: Pool) -> None:
        """Find what is there of a provider before, and begin."""
        workers = {worker.address: worker for worker in pool.workers()}
        for address, report in pool.reports(workers).items():
            self._nodes[address] = _Node(workers[address], report.node, self._now(), has_been=True)
        self.look(pool)

    def look(self, pool: Pool) -> None:
        """Do what is missing by now."""
        workers = {worker.address: worker for worker in pool.workers()}
        try:
            for address in self._nodes.keys() - workers.keys():
                self._lose(self._nodes[address])
                del self._nodes[address]
            for address in sorted(workers.keys() - self._settled()):
                self._begin(pool, workers[address])
            status = self._registry.cluster_status(self._provision.cluster)
            self._clear(status)
        except RegistryError as error:
            self._say(f"the registry is away, or refuses: {error}")
            return
        self._check(pool, {node.name for node in status.nodes if node.alive})
        problems = {node.name: node.said for node in self._nodes.values() if node.said}
        if problems != self._told:
            self._told = problems
            self._tell(problems)
        self._follow(pool, status)

    def _settled(self) -> set[str]:
        """Addresses of workers that are to be left as they are for now."""
        due = self._now() - RETRY
        return {a for a, node in self._nodes.items() if not node.said or node.since > due}

    def _begin(self, pool: Pool, worker: EngineWorker) -> None:
        """Have a worker be a node; one that could not be one before is asked again."""
        node = _Node(worker, node_name(self._provision.name, worker.name), self._now())
        before = self._nodes.get(worker.address)
        node.said = self._provision.refusal(worker.host)
        if not node.said:
            self._remove(node.name)  # of a worker before, which had this name
            node.said = pool.begin(worker.address, self._provision.order(worker, node.name))
        self._nodes[worker.address] = node
        if node.said:
            if before is None or before.said != node.said:
                _log.error("%s at %s is no node: %s", worker.name, worker.address, node.said)
        else:
            if (labels := self._provision.labels_of(worker)) not in self._offers:
                self._offers.append(labels)
            _log.info("%s at %s becomes node %s", worker.name, worker.address, node.name)

    def _lose(self, node: _Node) -> None:
        """Have what ran on a worker that is gone run elsewhere."""
        _log.info("%s at %s is gone", node.worker.name, node.worker.address)
        self._remove(node.name)

    def _clear(self, status: ClusterStatus) -> None:
        """Remove nodes of the pool that no worker is: it went while we were away."""
        known = {node.name for node in self._nodes.values()}
        for node in status.nodes:
            if self._provision.has(node) and node.name not in known:
                self._remove(node.id)

    def _clear_lost(self) -> None:
        """Remove nodes that are lost while the engine is: its workers have ended with it."""
        try:
            for node in self._registry.cluster_status(self._provision.cluster).nodes:
                if self._provision.has(node) and not node.alive:
                    self._remove(node.id)
        except RegistryError as error:
            self._say(f"the registry is away, or refuses: {error}")

    def _remove(self, name: str) -> None:
        try:
            self._registry.leave(self._provision.cluster, name, now=True)
        except Refused as error:
            if error.status != 404:  # it has left by itself
                raise

    def _check(self, pool: Pool, alive: set[str]) -> None:
        """Say why workers are no nodes that should be some for a while."""
        late = []
        for address, node in self._nodes.items():
            if node.name in alive:
                node.has_been, node.said = True, ""
            elif not node.has_been and not node.said and self._now() - node.since > PROMPT:
                late.append(address)
        for address, report in pool.reports(late).items() if late else ():
            node = self._nodes[address]
            if report.problem and report.problem != node.said:
                node.said = report.problem
                _log.error("%s is no node: %s", node.name, report.problem)

    # What is wanted

    def _follow(self, pool: Pool, status: ClusterStatus) -> None:
        """Keep workers that are in use, and ask for more if there are too few."""
        ours = {node.id for node in status.nodes if self._provision.has(node)}
        used = {
            each.node for c in status.components for each in c.replicas if each.state in _LIVING
        }
        pool.keep({a for a, node in self._nodes.items() if node.name in used})
        wanted = places_wanted(map(_want, status.components), ours, self._offers)
        self._ask(pool, wanted)

    def _ask(self, pool: Pool, wanted: int) -> None:
        threads = sum(node.worker.threads for node in self._nodes.values())
        if wanted > threads:
            self._short = self._now()
        # How many threads a worker has is known once there is one.
        asked = (wanted if self._nodes else min(1, wanted)) if self._is_short() else 0
        if asked != self._asked:
            self._asked = asked
            if asked > threads:
                _log.info("%d places are wanted, %d are there: asks for more", wanted, threads)
        pool.ask(asked)

    def _is_short(self) -> bool:
        return self._now() - self._short < HOLD

    def end(self, pool: Pool) -> None:
        """Take all nodes away."""
        there = {worker.address for worker in pool.workers()}
        pool.ask(0)
        pool.end(self._nodes.keys() & there)
        try:
            for node in self._nodes.values():
                self._remove(node.name)
        except RegistryError as error:  # they have left by themselves, or are lost to it soon
            self._say(f"the registry is away, or refuses: {error}")
        pool.close()
        _log.info("no worker is a node any more")


def _want(component: ComponentStatus) -> Want:
    placed = [each.node for each in component.replicas if each.state in _LIVING or each.exit == 0]
    return Want(component.desired, component.labels, component.node, placed)
