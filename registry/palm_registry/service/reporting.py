"""Reports of nodes, stored together: what follows from them is worked out once for all."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from palm.registry_api.schema import Heartbeat
from palm_registry.failures import Conflict, Gone, NotFound
from palm_registry.service.core import Core, add_event, settle
from palm_registry.service.reports import Known, take_report
from palm_registry.service.signalling import take_done
from palm_registry.store import nodes as rows
from palm_registry.store.nodes import NodeRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Reporting", "current_node", "removed"]


@dataclass
class _Report:
    node: str
    beat: Heartbeat
    stored: asyncio.Future[None]


class Reporting:
    """Stores what nodes report; belongs to the event loop.

    While one write is under way, what comes meanwhile waits for the next, as many as there are:
    of a thousand nodes that report at once, each would otherwise have all placed anew.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[str, list[_Report]] = defaultdict(list)
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def store(self, key: str, node: str, beat: Heartbeat) -> None:
        """Return once a report is stored, and all who wait for what it changes are woken.

        Raises
        ------
        NotFound, Gone, Conflict
            It is not, or no more, the runner of this node.
        """
        key = str(key)
        report = _Report(node, beat, asyncio.get_running_loop().create_future())
        self._waiting[key].append(report)
        if key not in self._busy:
            self._busy[key] = asyncio.create_task(self._store_all(key))
        await report.stored

    async def _store_all(self, key: str) -> None:
        while reports := self._waiting.pop(key, []):
            try:
                results = await self._core.database.write(partial(self._take_all, key, reports))
            except Exception as error:  # noqa: BLE001 - it goes to whoever reported
                results = [error] * len(reports)
            else:
                self._core.changed(key)
            for report, result in zip(reports, results, strict=True):
                _answer(report.stored, result)
        del self._busy[key]

    def _take_all(
        self, key: str, reports: Sequence[_Report], connection: Connection
    ) -> Sequence[bool | Exception]:
        results: list[bool | Exception] = []
        known = None
        for report in reports:
            known = known or Known(connection, key)
            result = self._core.database.attempt(connection, partial(_take, report, known))
            if isinstance(result, Exception):
                known = None  # it may have been at work on it
            results.append(result)
        settle(connection, key, changed=any(result is True for result in results))
        return results


def _answer(stored: asyncio.Future[None], result: bool | Exception) -> None:
    if stored.done():  # nobody waits any more
        return
    if isinstance(result, Exception):
        stored.set_exception(result)
    else:
        stored.set_result(None)


def _take(report: _Report, known: Known, connection: Connection) -> bool:
    """Store one report; say whether nodes may have something else to do now."""
    key, node, beat = known.key, report.node, report.beat
    row = current_node(connection, key, node, beat.session)
    is_back = not row.alive
    if is_back:
        rows.update_node(connection, key, node, alive=True, overdue=False, seen=time.time())
        add_event(connection, key, "node.back", f"node {node} is back", node=node)
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
