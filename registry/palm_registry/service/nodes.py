"""Nodes: who joins, what a node is to run, and what it reports."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from palm.errors import ConfigError
from palm.registry_api.schema import (
    Assignments,
    Heartbeat,
    NamedAddress,
    NodeInfo,
    NodeJoin,
    NodeJoined,
)
from palm.spec.names import check_labels, check_name
from palm.spec.node import MAX_CORES
from palm_registry.facts import LIVING
from palm_registry.failures import Gone, Invalid, NotFound
from palm_registry.keys import owner_of
from palm_registry.service.clusters import finish
from palm_registry.service.core import (
    Core,
    add_event,
    facts_of,
    get_cluster,
    node_info,
    settle,
)
from palm_registry.service.planning import Plans
from palm_registry.service.reporting import Reporting, current_node, removed
from palm_registry.sockets import names_of
from palm_registry.store import StoreError
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as rows
from palm_registry.store.nodes import NodeRow
from palm_registry.watch import LOST_AFTER

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["NodeRules"]

#: Seconds that an answer is held back at most.
MAX_WAIT = 60.0
#: Replicas in one report.
MAX_STATUSES = 10_000


class NodeRules:
    """Rules for nodes and their runners."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._plans = Plans(core)
        self._reporting = Reporting(core)
        #: What each node was told last.
        self._told: dict[tuple[str, str], Assignments] = {}

    async def all(self, key: str) -> list[NodeInfo]:
        """Return the nodes of a cluster."""

        def read(connection: Connection) -> list[NodeInfo]:
            get_cluster(connection, key)
            return [self._info(row) for row in rows.all_nodes(connection, key)]

        return await self._core.database.read(read)

    async def names(self, key: str) -> list[NamedAddress]:
        """Return where components listen that other machines find by their name."""

        def read(connection: Connection) -> list[NamedAddress]:
            get_cluster(connection, key)
            return names_of(facts_of(connection, key))

        return await self._core.database.read(read)

    def _info(self, row: NodeRow) -> NodeInfo:
        silence = self._core.nodes.silence(row.cluster, row.id, self._core.now())
        info = node_info(row)
        if silence is not None and row.alive:
            info.seen = time.time() - silence
        return info

    async def join(self, key: str, request: NodeJoin, *, invited: bool = False) -> NodeJoined:
        """Let a runner be a node; the runner that was it before gets no more answers.

        Who was `invited` and then removed is not let in again by the same token.
        """
        try:
            node = check_name(request.name)
        except ConfigError as error:
            text = f"{request.name!r} cannot be the name of a node"
            raise Invalid("name", text, error.hint or "") from error
        _check_node(request)
        row = NodeRow(
            cluster=key,
            id=node,
            name=request.name,
            address=request.address,
            cores=request.cores,
            labels=request.labels,
            places=request.places,
            session=secrets.token_hex(16),
            seen=time.time(),
        )

        def write(connection: Connection) -> int:
            # One that is being deleted too: its runner has to hear that it is to stop.
            if cluster_rows.get_cluster(connection, key) is None:
                get_cluster(connection, key)
            before = rows.get_node(connection, key, node) if invited else None
            if before is not None and before.removed:
                raise removed(node)
            rows.put_node(connection, row)
            add_event(connection, key, "node.joined", f"node {node} has joined", node=node)
            settle(connection, key, changed=True)
            cluster = cluster_rows.get_cluster(connection, key)
            return cluster.generation if cluster else 0

        generation = await self._core.database.write(write)
        self._told.pop((str(key), node), None)  # so that the runner before hears that it is over
        self._core.nodes.expect(key, node, self._core.now())
        self._core.changed(key)
        return NodeJoined(
            id=node, session=row.session, generation=generation, lost_after=LOST_AFTER
        )

    async def leave(self, key: str, node: str) -> bool:
        """Forget a node; its runner, if there still is one, is told to stop all and end.

        Say whether its cluster goes on without it.
        """

        def write(connection: Connection) -> bool:
            cluster = cluster_rows.get_cluster(connection, key) or get_cluster(connection, key)
            found = rows.get_node(connection, key, node)
            if found is None or found.removed:
                raise NotFound("no-such-node", f"there is no node {node!r}")
            rows.update_node(connection, key, node, removed=True, alive=False)
            rows.delete_strays(connection, key, node)
            for status in rows.get_replicas(connection, key).values():
                if status.node == node:
                    rows.delete_replica(connection, key, status.name)
            add_event(connection, key, "node.left", f"node {node} has left", node=node)
            settle(connection, key, changed=True)
            finish(connection, key)
            return cluster.state == "alive"

        goes_on = await self._core.database.write(write)
        self._told.pop((str(key), node), None)
        self._core.nodes.forget(key, node)
        self._core.changed(key)
        return goes_on

    async def heartbeat(
        self, key: str, node: str, beat: Heartbeat, gone: asyncio.Event
    ) -> Assignments:
        """Take a report, and return what the node is to run once that is different.

        ``gone`` is set when nobody waits for the answer any more.
        """
        _check_beat(beat)
        self._core.nodes.begin(key, node, self._core.now())
        try:
            await self._report(key, node, beat)
            return await self._answer(key, node, beat, gone)
        except (NotFound, Gone):
            self._told.pop((str(key), node), None)
            self._core.nodes.forget(key, node)
            raise
        finally:
            self._core.nodes.end(key, node, self._core.now())

    async def _report(self, key: str, node: str, beat: Heartbeat) -> None:
        back = self._core.nodes.back(key, node)
        if not (beat.statuses or beat.full or beat.signals or back):
            return
        try:
            await self._reporting.store(key, node, beat)
        except StoreError:
            if back:  # nobody has been told: it is still to come back
                self._core.nodes.lose(key, node, self._core.now())
            raise

    async def _answer(
        self, key: str, node: str, beat: Heartbeat, gone: asyncio.Event
    ) -> Assignments:
        await self.check(key, node, beat.session)
        signals, end = self._core.signals, self._core.now() + min(beat.wait, MAX_WAIT)
        while True:
            ticket = signals.versions(key, ["plan"])
            answer = (await self._plans.now(key)).assignments(node)
            left = end - self._core.now()
            if self._is_news(key, node, beat, answer) or left <= 0 or signals.closed:
                break
            await _first(signals.wait(key, ticket, left), gone.wait(), within=left)
            if gone.is_set():
                break
        await self.check(key, node, beat.session)
        if beat.wait:
            self._told[str(key), node] = answer
        return answer

    def _is_news(self, key: str, node: str, beat: Heartbeat, answer: Assignments) -> bool:
        """Whether there is anything in an answer that a node was not told before.

        When a thousand nodes join, each joining changes the plan, and hardly any what is to run
        on the others.
        """
        if answer.generation == beat.known_generation:
            return False
        told = self._told.get((str(key), node))
        if told is None or told.generation != beat.known_generation or answer.signals:
            return True
        return replace(answer, generation=told.generation) != replace(told, signals=[])

    async def check(self, key: str, node: str, session: str) -> None:
        """Refuse who is not the runner of a node, as `heartbeat` does."""
        plan = await self._plans.now(key)
        if plan.sessions.get(node) != session or owner_of(key) not in (None, plan.owner):
            await self._core.database.read(lambda c: _check_current(c, key, node, session))

    async def sweep(self) -> None:
        """Note which nodes have become silent."""
        for key, node in self._core.nodes.silent(self._core.now()):
            await self._lose(key, node)
        for key, node in self._core.nodes.overdue(self._core.now()):
            await self._give_up(key, node)

    async def _lose(self, key: str, node: str) -> None:
        await self._core.database.write(lambda c: _lose(c, key, node))
        self._core.nodes.lose(key, node, self._core.now())
        self._core.changed(key)

    async def _give_up(self, key: str, node: str) -> None:
        await self._core.database.write(lambda c: _give_up(c, key, node))
        self._core.nodes.give_up(key, node)
        self._core.changed(key)


def _check_node(request: NodeJoin) -> None:
    try:
        check_labels(request.labels)
    except ConfigError as error:
        raise Invalid("labels", str(error.args[0]), error.hint or "") from error
    if not 0 <= request.cores <= MAX_CORES:
        raise Invalid("cores", f"{request.cores} cores", f"from 0 to {MAX_CORES}")
    if not 0 <= request.places <= MAX_CORES:
        raise Invalid("places", f"{request.places} places", f"from 0 to {MAX_CORES}")


def _check_beat(beat: Heartbeat) -> None:
    if not 0 <= beat.wait < float("inf"):
        raise Invalid("wait", f"{beat.wait} seconds")
    if len(beat.statuses) > MAX_STATUSES:
        raise Invalid("statuses", f"more than {MAX_STATUSES} replicas in one report")
    for status in beat.statuses:
        try:
            check_name(status.name)
            check_name(status.component)
        except ConfigError as error:
            raise Invalid("name", str(error.args[0]), error.hint or "") from error


def _check_current(connection: Connection, key: str, node: str, session: str) -> None:
    current_node(connection, key, node, session)
    if cluster_rows.get_cluster(connection, key) is None:
        raise NotFound("no-such-cluster", f"there is no cluster {key!r}", "stop all, and end")


async def _first(*waits: Coroutine[Any, Any, object], within: float) -> None:
    """Wait until one of them is over, `within` so many seconds, and leave the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=within)
    finally:
        for task in tasks:
            task.cancel()


def _lose(connection: Connection, key: str, node: str) -> None:
    row = rows.get_node(connection, key, node)
    if row is None or row.removed or not row.alive:
        return
    rows.update_node(connection, key, node, alive=False, seen=time.time() - LOST_AFTER)
    there = [
        status.name
        for status in rows.get_replicas(connection, key).values()
        if status.node == node and status.state in LIVING
    ]
    text = f"node {node} is lost: nothing was heard of it for {LOST_AFTER:.0f} s"
    add_event(connection, key, "node.lost", text, node=node, data={"replicas": there})
    settle(connection, key, changed=False)
    finish(connection, key)


def _give_up(connection: Connection, key: str, node: str) -> None:
    row = rows.get_node(connection, key, node)
    if row is None or row.removed or row.alive:
        return
    rows.update_node(connection, key, node, overdue=True)
    settle(connection, key, changed=True)
