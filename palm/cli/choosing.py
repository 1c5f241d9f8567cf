"""Which cluster a command is about that names none."""

from __future__ import annotations

import os

from palm.errors import PalmError
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders
from palm.runtime.presence import clusters_here

__all__ = ["choose_cluster"]


def choose_cluster() -> str:
    """Return ``PALM_CLUSTER``, else the only cluster that there is, else "", which is "default"."""
    if named := os.environ.get("PALM_CLUSTER", ""):
        return named
    folders = Folders.locate()
    # One that has just been begun may have no process yet, and one of a shell no registry.
    found = {*_alive(folders), *clusters_here(folders)}
    return found.pop() if len(found) == 1 else ""


def _alive(folders: Folders) -> list[str]:
    try:
        client = find_registry(folders, os.environ.get("PALM_REGISTRY", ""), retry=0.0)
        if client is None:
            return []
        with client:
            return [info.key for info in client.cluster_list() if info.state == "alive"]
    except PalmError:
        return []  # the command itself is to say so
