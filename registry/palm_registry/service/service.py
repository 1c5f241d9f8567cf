"""The service: all rules together, and what happens by the clock alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from palm.spec.autoscale import SHRINK_AFTER, Pace
from palm_registry.feed import Feed
from palm_registry.keyfiles import KeyFiles
from palm_registry.service.clusters import Clusters, end_cluster
from palm_registry.service.code import CodeRules
from palm_registry.service.components import Components
from palm_registry.service.configs import Configs
from palm_registry.service.core import Core, add_event
from palm_registry.service.keyrings import Keyrings
from palm_registry.service.metrics import Metrics
from palm_registry.service.nodes import NodeRules
from palm_registry.service.outputs import Outputs
from palm_registry.service.retention import Retention
from palm_registry.service.scaling import ScalingRules
from palm_registry.service.searches import Searches
from palm_registry.service.shared import SharedStatus
from palm_registry.service.signalling import Signalling
from palm_registry.store import Database
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as node_rows
from palm_registry.watch import MOVE_AFTER, Nodes

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Service"]

#: Seconds between two looks at leases and nodes.
SWEEP = 0.25


class Service:
    """What handlers call. `begin` comes first; `sweep` is to be called every `SWEEP` seconds."""

    def __init__(
        self,
        database: Database,
        state: Path,
        *,
        retain_size: int | None = None,
        retain_age: float | None = None,
        move_after: float = MOVE_AFTER,
        shrink_after: float = SHRINK_AFTER,
    ) -> None:
        self.core = Core(database, KeyFiles(state), nodes=Nodes(move_after))
        self.clusters = Clusters(self.core)
        self.configs = Configs(self.core)
        self.code = CodeRules(self.core)
        self.components = Components(self.core)
        self.nodes = NodeRules(self.core)
        self.keyrings = Keyrings(self.core)
        self.signalling = Signalling(self.core)
        self.metrics = Metrics(self.core, self.nodes)
        self.scaling = ScalingRules(self.core, self.metrics, Pace(shrink_after=shrink_after))
        self.status = SharedStatus(self.core.signals, self.clusters.status)
        self.feed = Feed(database, self.core.signals, self.status, self.metrics.cluster)
        self.outputs = Outputs(self.core, self.feed)
        self.searches = Searches(self.core)
        self.retention = Retention(self.core, retain_size, retain_age)
        database.committed = self.core.tally.committed
        self._active = time.monotonic()
        self._returns = 0

    async def begin(self) -> None:
        """Take up what was there when the registry ended, with new time for all to report."""
        now = self.core.now()

        def look(connection: Connection) -> None:
            for node in node_rows.all_nodes(connection):
                if node.alive:
                    self.core.nodes.expect(node.cluster, node.id, now)
                    continue
                # It may have come back while nobody was there to hear it.
                self.core.nodes.expect_back(node.cluster, node.id, now)
                node_rows.update_node(connection, node.cluster, node.id, overdue=False)
            for key, holder, ttl in cluster_rows.get_leases(connection):
                self.core.leases.renew(key, holder, ttl, now)
            for cluster in cluster_rows.all_clusters(connection):
                if cluster.held and not self.core.leases.holders(cluster.key):
                    self.core.leases.set_unheld(cluster.key, now)

        await self.core.database.write(look)

    async def sweep(self) -> None:
        """Note which leases are over, which nodes are silent, and which clusters end thereby.

        Also drop a little of what is not to be kept.
        """
        if self._returns != self.core.database.returns:
            await self._go_on()
        now = self.core.now()
        for key, holder in self.core.leases.expired(now):
            await self._expire(key, holder)
        for key, since in self.core.leases.unheld().items():
            await self._end_if_over(key, now - since)
        await self.nodes.sweep()
        await self.scaling.sweep()
        await self.signalling.sweep()
        self.metrics.sweep()
        await self.retention.sweep(self.outputs.taken)

    async def _go_on(self) -> None:
        """Take up what there is after the database was away: some of it was told to nobody."""
        returns = self.core.database.returns
        await self.begin()
        self.feed.forget_newest()
        for cluster in await self.core.database.read(cluster_rows.all_clusters):
            self.core.signals.notify(cluster.key, "plan", "status", "events", "output")
        self._returns = returns

    async def _expire(self, key: str, holder: str) -> None:
        await self.core.database.write(lambda c: _expire(c, key, holder))
        self.core.leases.release(key, holder, self.core.now())
        self.core.changed(key)

    async def _end_if_over(self, key: str, unheld: float) -> None:
        def write(connection: Connection) -> bool:
            row = cluster_rows.get_cluster(connection, key)
            if row is None or row.state != "alive":
                return True
            if row.linger is None or unheld < row.linger:
                return False
            end_cluster(connection, row, f"nobody has held it for {row.linger:g} s")
            return True

        def is_over(connection: Connection) -> bool:
            row = cluster_rows.get_cluster(connection, key)
            if row is None or row.state != "alive":
                return True
            return row.linger is not None and unheld >= row.linger

        # Most looks change nothing, and need not wait for the disk.
        if await self.core.database.read(is_over) and await self.core.database.write(write):
            self.core.leases.forget(key)
            self.core.changed(key)

    async def idle(self) -> float:
        """Return for how many seconds no cluster has been alive, 0 if there is one."""

        def any_alive(connection: Connection) -> bool:
            rows = cluster_rows.all_clusters(connection)
            return any(row.state != "ended" for row in rows)

        if await self.core.database.read(any_alive):
            self._active = time.monotonic()
        return time.monotonic() - self._active


def _expire(connection: Connection, key: str, holder: str) -> None:
    cluster_rows.delete_lease(connection, key, holder)
    if cluster_rows.get_cluster(connection, key) is not None:
        add_event(connection, key, "lease.ended", f"the lease of {holder} has ended")
