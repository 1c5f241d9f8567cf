"""Clusters from Python: start components, look at them, stop them.

The magics and the command line call this. Processes run under a supervisor in this process and
end with it; see `palm.clusters.local` for the one place that knows.
"""

from __future__ import annotations

from palm.clusters.cluster import Cluster
from palm.clusters.component import Change, Component
from palm.clusters.source import CellSource
from palm.clusters.status import ComponentStatus, ProcessStatus, Status

__all__ = [
    "CellSource",
    "Change",
    "Cluster",
    "Component",
    "ComponentStatus",
    "ProcessStatus",
    "Status",
]
