"""Metrics: what runners tell of their processes, and what the registry tells of all."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from palm._version import __version__
from palm.errors import ConfigError
from palm.registry_api.schema import ClusterMetrics, NodeSamples, Sample
from palm.spec.names import check_name
from palm_registry.exposition import ClusterPicture, Picture
from palm_registry.failures import Invalid
from palm_registry.samples import Samples
from palm_registry.service.core import Core, get_cluster
from palm_registry.service.nodes import NodeRules
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as node_rows
from palm_registry.store.clusters import ClusterRow
from palm_registry.store.nodes import NodeRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Metrics"]


class Metrics:
    """Rules for samples; they are in memory only."""

    def __init__(self, core: Core, nodes: NodeRules) -> None:
        self._core = core
        self._nodes = nodes
        self._samples = Samples()
        #: Held while a picture is drawn: many at once would take the time of all others.
        self.drawing = asyncio.Lock()

    async def take(self, key: str, node: str, report: NodeSamples) -> None:
        """Take what a runner says of all processes of its node.

        Raises
        ------
        NotFound, Gone, Conflict
            As for a heartbeat: who asks is not the runner of this node, or not any more.
        """
        _check(report)
        await self._nodes.check(key, node, report.session)
        self._samples.put(key, node, report, self._core.now(), time.time())
        self._core.signals.notify(key, "metrics")

    async def cluster(self, key: str, *, history: bool = False) -> ClusterMetrics:
        """Return the newest sample of each process, and what is kept of each."""

        def read(connection: Connection) -> set[str]:
            get_cluster(connection, key)
            return {row.id for row in node_rows.all_nodes(connection, key) if row.alive}

        nodes = await self._core.database.read(read)
        now = self._core.now()
        return ClusterMetrics(
            cluster=str(key),
            time=time.time(),
            bounds=self._samples.bounds(key, nodes, now),
            samples=self._samples.newest(key, nodes, now),
            series=self._samples.series(key, nodes, now) if history else [],
        )

    def newest(self, key: str, nodes: Collection[str]) -> list[Sample]:
        """Return the newest samples of these nodes."""
        return self._samples.newest(key, nodes, self._core.now())

    async def picture(self, owner: str | None = None, only: str = "") -> Picture:
        """Return all that is to be seen from outside, at one moment.

        Of clusters that is of those of a user, or of one `only`, if given.
        """

        def read(connection: Connection) -> tuple[list[ClusterRow], list[NodeRow]]:
            found = cluster_rows.all_clusters(connection, owner)
            reached = [row for row in found if only in ("", row.key)]
            return reached, node_rows.all_nodes(connection)

        clusters, nodes = await self._core.database.read(read)
        now = self._core.now()
        return Picture(
            version=__version__,
            tally=deepcopy(self._core.tally),
            waiting=self._core.database.waiting,
            states={"alive": 0, "ending": 0, "ended": 0} | Counter(row.state for row in clusters),
            clusters=[self._picture(row.key, row.state, nodes, now) for row in clusters],
        )

    def _picture(self, key: str, state: str, nodes: list[NodeRow], now: float) -> ClusterPicture:
        alive = {row.id for row in nodes if row.cluster == key and row.alive}
        return ClusterPicture(
            key=key,
            state=state,
            alive=len(alive),
            lost=sum(1 for row in nodes if row.cluster == key) - len(alive),
            bounds=self._samples.bounds(key, alive, now),
            samples=self._samples.newest(key, alive, now),
        )

    def sweep(self) -> None:
        """Forget what nobody tells any more."""
        for key in self._samples.expire(self._core.now()):
            self._core.signals.notify(key, "metrics")


def _check(report: NodeSamples) -> None:
    """Refuse names that cannot be, and what would be told twice."""
    try:
        for sample in report.samples:
            check_name(sample.name)
            check_name(sample.component)
    except ConfigError as error:
        raise Invalid("name", str(error.args[0]), error.hint or "") from error
    names = [sample.name for sample in report.samples]
    replicas = [(sample.component, sample.replica) for sample in report.samples]
    keyed: list[list[Any]] = [names, replicas, *map(_functions, report.samples)]
    for keys in keyed:
        if len(set(keys)) < len(keys):
            raise Invalid("samples", "something is in the report twice")
    if sorted(set(report.bounds)) != report.bounds:
        raise Invalid("bounds", "the bounds of the buckets do not ascend")


def _functions(sample: Sample) -> list[tuple[str, str]]:
    return [(function.part, function.name) for function in sample.functions]
