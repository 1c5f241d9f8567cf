"""Clusters from Python: start components, look at them, stop them.

The magics and the command line call this. ``palm.up``, ``palm.connect`` and ``palm.clusters()``
are here; the last is this very module, called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from palm.clusters.cluster import Cluster
from palm.clusters.component import Change, Component
from palm.clusters.files import ClusterFile, Diff
from palm.clusters.finding import attach, clusters, connect, up
from palm.clusters.follow import follow
from palm.clusters.leftovers import ClusterState, Leftover, Leftovers
from palm.clusters.load import ComponentLoad, EdgeLoad, FunctionLoad, Load, Observer
from palm.clusters.output import Line, LineReader
from palm.clusters.source import CellSource
from palm.clusters.status import ComponentStatus, ProcessStatus, Status

if TYPE_CHECKING:
    import pandas

__all__ = [
    "CellSource",
    "Change",
    "Cluster",
    "ClusterFile",
    "ClusterState",
    "Component",
    "ComponentLoad",
    "ComponentStatus",
    "Diff",
    "EdgeLoad",
    "FunctionLoad",
    "Leftover",
    "Leftovers",
    "Line",
    "LineReader",
    "Load",
    "Observer",
    "ProcessStatus",
    "Status",
    "attach",
    "clusters",
    "connect",
    "follow",
    "up",
]


class _Module(ModuleType):
    # ``palm.clusters`` is the package, and what a user calls: one name for two things that belong
    # together.
    def __call__(self) -> pandas.DataFrame:
        """Return all clusters, one a row."""
        return clusters()


sys.modules[__name__].__class__ = _Module
