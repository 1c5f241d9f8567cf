"""Nodes: who joins, what a node is to run, and what it reports."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from palm.errors import ConfigError
from palm.registry_api.schema import (
    Assignment,
    Assignments,
    Heartbeat,
    NamedAddress,
    NodeInfo,
    NodeJoin,
    NodeJoined,
)
from palm.spec.names import check_labels, check_name
from palm.spec.node import MAX_CORES
from palm_registry.facts import LIVING, Facts
from palm_registry.failures import Conflict, Gone, Invalid, NotFound
from palm_registry.rollouts import rollout_of
from palm_registry.service.clusters import finish
from palm_registry.service.core import (
    Core,
    add_event,
    facts_of,
    get_cluster,
    node_info,
    settle,
)
from palm_registry.service.reports import take_report
from palm_registry.service.signalling import orders_for, take_done
from palm_registry.sockets import mark_reached, names_of, peers_elsewhere, sockets_elsewhere
from palm_registry.store import StoreError
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as rows
from palm_registry.store.clusters import ComponentRow
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

    async def join(self, key: str, request: NodeJoin) -> NodeJoined:
        """Let a runner be a node; the runner that was it before gets no more answers."""
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
            session=secrets.token_hex(16),
            seen=time.time(),
        )

        def write(connection: Connection) -> int:
            # One that is being deleted too: its runner has to hear that it is to stop.
            if cluster_rows.get_cluster(connection, key) is None:
                get_cluster(connection, key)
            rows.put_node(connection, row)
            add_event(connection, key, "node.joined", f"node {node} has joined", node=node)
            settle(connection, key, changed=True)
            cluster = cluster_rows.get_cluster(connection, key)
            return cluster.generation if cluster else 0

        generation = await self._core.database.write(write)
        self._core.nodes.expect(key, node, self._core.now())
        self._core.changed(key)
        return NodeJoined(
            id=node, session=row.session, generation=generation, lost_after=LOST_AFTER
        )

    async def leave(self, key: str, node: str) -> None:
        """Forget a node; its runner, if there still is one, is told to stop all and end."""

        def write(connection: Connection) -> None:
            if cluster_rows.get_cluster(connection, key) is None:
                get_cluster(connection, key)
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

        await self._core.database.write(write)
        self._core.nodes.forget(key, node)
        self._core.changed(key)

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
            self._core.nodes.forget(key, node)
            raise
        finally:
            self._core.nodes.end(key, node, self._core.now())

    async def _report(self, key: str, node: str, beat: Heartbeat) -> None:
        back = self._core.nodes.back(key, node)
        if not (beat.statuses or beat.full or beat.signals or back):
            return

        def write(connection: Connection) -> None:
            row = _current(connection, key, node, beat.session)
            is_back = not row.alive
            if is_back:
                back = {"alive": True, "overdue": False, "seen": time.time()}
                rows.update_node(connection, key, node, **back)
                add_event(connection, key, "node.back", f"node {node} is back", node=node)
            take_done(connection, key, node, beat.signals)
            changed = take_report(connection, key, node, beat)
            settle(connection, key, changed=changed or is_back)

        try:
            await self._core.database.write(write)
        except StoreError:
            if back:  # nobody has been told: it is still to come back
                self._core.nodes.lose(key, node, self._core.now())
            raise
        self._core.changed(key)

    async def _answer(
        self, key: str, node: str, beat: Heartbeat, gone: asyncio.Event
    ) -> Assignments:
        signals, end = self._core.signals, self._core.now() + min(beat.wait, MAX_WAIT)
        while True:
            ticket = signals.versions(key, ["plan"])
            answer = await self._core.database.read(
                lambda c: _assignments(c, key, node, beat.session)
            )
            left = end - self._core.now()
            if answer.generation != beat.known_generation or left <= 0 or signals.closed:
                return answer
            changed = asyncio.ensure_future(signals.wait(key, ticket, left))
            left_alone = asyncio.ensure_future(gone.wait())
            try:
                await asyncio.wait(
                    [changed, left_alone], return_when=asyncio.FIRST_COMPLETED, timeout=left
                )
            finally:
                changed.cancel()
                left_alone.cancel()
            if gone.is_set():
                return answer

    async def check(self, key: str, node: str, session: str) -> None:
        """Refuse who is not the runner of a node, as `heartbeat` does."""
        await self._core.database.read(lambda c: _current(c, key, node, session))

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


def _current(connection: Connection, key: str, node: str, session: str) -> NodeRow:
    """Return a node, if it is the given runner that is this node now."""
    row = rows.get_node(connection, key, node)
    if row is None:
        raise NotFound("no-such-node", f"there is no node {node!r}", "join again")
    if row.removed:
        raise Gone("node-removed", f"the node {node!r} was removed", "stop all, and end")
    if row.session != session:
        raise Conflict("replaced", f"another runner is the node {node!r} now", "end")
    return row


def _assignments(connection: Connection, key: str, node: str, session: str) -> Assignments:
    _current(connection, key, node, session)
    cluster = cluster_rows.get_cluster(connection, key)
    if cluster is None:
        raise NotFound("no-such-cluster", f"there is no cluster {key!r}", "stop all, and end")
    if cluster.state != "alive":
        return Assignments(generation=cluster.generation, stop=True)
    facts = facts_of(connection, key)
    found = []
    for row in facts.components.values():
        numbers = [number for number in range(row.desired) if _may_run(facts, row, number, node)]
        if numbers or row.stop_grace is not None:
            grace = row.spec.grace if row.stop_grace is None else row.stop_grace
            spec, keep = replace(row.spec, grace=grace), rollout_of(facts, row).keep
            found.append(
                Assignment(spec=spec, numbers=numbers, keep=[n for n in numbers if n in keep])
            )
    mark_reached(facts, found)
    return Assignments(
        generation=cluster.generation,
        components=found,
        sockets=sockets_elsewhere(facts, found, node),
        peers=peers_elsewhere(facts, node),
        signals=orders_for(connection, key, node),
    )


def _may_run(facts: Facts, row: ComponentRow, number: int, node: str) -> bool:
    """Whether a node is to run a replica, and nobody else still does who is to stop it."""
    if not row.released or facts.placements.get((row.spec.name, number)) != node:
        return False
    known = facts.replicas.get(row.spec.replica_name(number))
    return known is None or known.node == node or not facts.may_run_on(known)


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
