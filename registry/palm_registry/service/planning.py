"""The plans of clusters, read once for all nodes that ask after the same change."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from palm_registry.failures import NotFound
from palm_registry.plans import Plan
from palm_registry.service.core import Core, facts_of
from palm_registry.service.signalling import open_orders
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as node_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Plans"]

#: Clusters whose plans are kept: those that nodes ask about.
_KEPT = 64


@dataclass
class _Read:
    ticket: dict[str, int]
    plan: asyncio.Future[Plan]


class Plans:
    """The plans of all clusters; belongs to the event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._read: OrderedDict[str, _Read] = OrderedDict()

    async def now(self, key: str) -> Plan:
        """Return a plan in which there is each change that anybody was told of.

        Raises
        ------
        NotFound
            There is no such cluster. Whether it is the cluster of who asks, is not asked here.
        """
        key = str(key)
        ticket = self._core.signals.versions(key, ["plan"])
        known = self._read.get(key)
        if known is None or known.ticket != ticket or _failed(known.plan):
            plan = asyncio.ensure_future(self._core.database.read(lambda c: self._look(c, key)))
            known = self._read[key] = _Read(ticket, plan)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(key)
        return await asyncio.shield(known.plan)

    def _look(self, connection: Connection, key: str) -> Plan:
        plan = _plan(connection, key)
        keys = self._core.keys.digest(plan.owner, key) if plan.alive else ""
        return replace(plan, keys=keys).prepare()


def _failed(plan: asyncio.Future[Plan]) -> bool:
    return plan.done() and (plan.cancelled() or plan.exception() is not None)


def _plan(connection: Connection, key: str) -> Plan:
    cluster = cluster_rows.get_cluster(connection, key)
    if cluster is None:
        raise NotFound("no-such-cluster", f"there is no cluster {key!r}", "stop all, and end")
    sessions = node_rows.get_sessions(connection, key)
    plan = Plan(cluster.generation, cluster.owner, cluster.state == "alive", sessions=sessions)
    if not plan.alive:
        return plan
    facts, orders = facts_of(connection, key), open_orders(connection, key)
    return replace(plan, facts=facts, orders=orders)
