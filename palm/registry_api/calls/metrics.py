"""Calls about what processes use and do."""

from __future__ import annotations

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster
from palm.registry_api.connections import CONNECT_TIMEOUT

__all__ = ["MetricCalls"]


class MetricCalls(Calls):
    """What may be asked about metrics."""

    def metrics(self, key: str, *, history: bool = False) -> schema.ClusterMetrics:
        """Return what each process uses and does; with `history` over the last minutes, too."""
        query = {"history": "1" if history else ""}
        return self._call("GET", of_cluster(key, "metrics", query=query), schema.ClusterMetrics)

    def send_metrics(self, key: str, node: str, report: schema.NodeSamples) -> None:
        """Tell what the processes of a node use and do; not repeated, only the newest counts."""
        path = of_cluster(key, "nodes", node, "metrics")
        self._call("POST", path, None, report, packed=True, timeout=CONNECT_TIMEOUT)
