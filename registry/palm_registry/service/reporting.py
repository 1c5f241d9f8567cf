"""What nodes say, stored together: what follows from it is worked out once for all.

A node that joins is of this, too: where a thousand machines are switched on at once, each would
otherwise have all placed anew, and all others told of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from palm.registry_api.schema import Heartbeat
from palm_registry.failures import Conflict, Gone, NotFound
from palm_registry.service.core import Core, add_event, get_cluster, settle
from palm_registry.service.reports import Known, take_report
from palm_registry.service.signalling import take_done
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as rows
from palm_registry.store.nodes import NodeRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Reporting", "current_node", "removed"]

#: Seconds that it takes to tell one node that waits of another plan, about.
_TELLING = 2e-4

#: Stores what a node says; returns whether nodes may have something else to do now.
_Take = Callable[["Known", "Connection"], bool]


@dataclass
class _Said:
    take: _Take
    #: Whether the plan has other signals then.
    signals: bool
    #: The generation of the cluster by then.
    stored: asyncio.Future[int]


@dataclass
class _Taken:
    """What became of what was said: the generation by then, or why not; and of the ``plan``."""

    results: Sequence[int | Exception]
    plan: bool = False


class Reporting:
    """Stores what nodes say; belongs to the event loop.

    While one write is under way, what comes meanwhile waits for the next, as many as there are; and
    after one that gave the nodes another plan for as long as it takes to tell them all. With one
    node that is no time, with a thousand it lets those that join at once come together.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[str, list[_Said]] = defaultdict(list)
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def store(self, key: str, node: str, beat: Heartbeat) -> None:
        """Return once a report is stored, and all who wait for what it changes are woken.

        Raises
        ------
        NotFound, Gone, Conflict
            It is not, or no more, the runner of this node.
        """
        await self._store(key, partial(_take, node, beat), signals=bool(beat.signals))

    async def join(self, key: str, row: NodeRow, *, again: bool = True) -> int:
        """Return the generation of the cluster once a node is one, and all who wait are woken.

        Raises
        ------
        NotFound, Gone
            There is no such cluster, or not for who asks; the node was removed, and it may not
            come ``again``.
        """
        return await self._store(key, partial(_join, key, row, again))

    async def _store(self, key: str, take: _Take, *, signals: bool = False) -> int:
        key = str(key)
        said = _Said(take, signals, asyncio.get_running_loop().create_future())
        self._waiting[key].append(said)
        if key not in self._busy:
            self._busy[key] = asyncio.create_task(self._store_all(key))
        return await said.stored

    async def _store_all(self, key: str) -> None:
        while all_ := self._waiting.pop(key, []):
            try:
                taken = await self._core.database.write(partial(self._take_all, key, all_))
            except Exception as error:  # noqa: BLE001 - it goes to whoever spoke
                taken = _Taken([error] * len(all_))
            telling = 0.0
            if not all(isinstance(result, Exception) for result in taken.results):
                telling = taken.plan * _TELLING * self._core.signals.waiting(key, "plan")
                # Most reports tell what was to be: the nodes that wait need not hear of it.
                self._core.changed(key, plan=taken.plan)
            for said, result in zip(all_, taken.results, strict=True):
                _answer(said.stored, result)
            await asyncio.sleep(telling)
        del self._busy[key]

    def _take_all(self, key: str, all_: Sequence[_Said], connection: Connection) -> _Taken:
        results: list[bool | Exception] = []
        known = None
        for said in all_:
            known = known or Known(connection, key)
            result = self._core.database.attempt(connection, partial(said.take, known))
            if isinstance(result, Exception):
                known = None  # it may have been at work on it
            results.append(result)
        changed = any(result is True for result in results)
        facts = None if known is None else known.facts()
        plan = settle(connection, key, changed=changed, facts=facts)
        cluster = cluster_rows.get_cluster(connection, key)
        generation = 0 if cluster is None else cluster.generation
        return _Taken(
            [each if isinstance(each, Exception) else generation for each in results],
            plan or any(said.signals for said in all_),
        )


def _answer(stored: asyncio.Future[int], result: int | Exception) -> None:
    if stored.done():  # nobody waits any more
        return
    if isinstance(result, Exception):
        stored.set_exception(result)
    else:
        stored.set_result(result)


def _join(key: str, row: NodeRow, again: bool, known: Known, connection: Connection) -> bool:
    """Store a node. Its ``key`` is that of who asks."""
    # One that is being deleted too: its runner has to hear that it is to stop.
    if cluster_rows.get_cluster(connection, key) is None:
        get_cluster(connection, key)
    before = None if again else rows.get_node(connection, known.key, row.id)
    if before is not None and before.removed:
        raise removed(row.id)
    rows.put_node(connection, row)
    known.nodes[row.id] = row
    add_event(connection, known.key, "node.joined", f"node {row.id} has joined", node=row.id)
    return True


def _take(node: str, beat: Heartbeat, known: Known, connection: Connection) -> bool:
    """Store one report."""
    key = known.key
    row = known.nodes.get(node)
    if row is None or row.session != beat.session:
        row = current_node(connection, key, node, beat.session)
    is_back = not row.alive
    if is_back:
        row.alive, row.overdue, row.seen = True, False, time.time()
        rows.update_node(connection, key, node, alive=True, overdue=False, seen=row.seen)
        add_event(connection, key, "node.back", f"node {node} is back", node=node)
    if beat.signals:
        take_done(connection, key, node, beat.signals)
    return take_report(connection, known, node, beat) or is_back


def current_node(connection: Connection, key: str, node: str, session: str) -> NodeRow:
    """Return a node, if it is the given runner that is this node now.

    Raises
    ------
    NotFound, Gone, Conflict
        It is not, or no more.
    """
    row = rows.get_node(connection, key, node)
    if row is None:
        raise NotFound("no-such-node", f"there is no node {node!r}", "join again")
    if row.removed:
        raise removed(node)
    if row.session != session:
        raise Conflict("replaced", f"another runner is the node {node!r} now", "end")
    return row


def removed(node: str) -> Gone:
    """The answer to a node that was removed."""
    return Gone("node-removed", f"the node {node!r} was removed", "stop all, and end")
