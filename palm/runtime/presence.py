"""What there is on this machine, as far as it can be told without asking anybody."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from palm.runtime.folders import Folders
from palm.runtime.records import sort_records

__all__ = ["clusters_here"]


def clusters_here(folders: Folders) -> list[str]:
    """Names of the clusters of which something runs on this machine, be it a runner alone."""
    try:
        names = sorted(os.listdir(folders.run))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in names if _is_here(replace(folders, cluster=name))]


def _is_here(folders: Folders) -> bool:
    components = folders.run / folders.cluster / "components"
    if not components.is_dir():
        return False
    if any(_is_locked(lock) for lock in components.parent.glob("runner-*.lock")):
        return True
    alive, _ = sort_records(components)
    return bool(alive)


def _is_locked(lock: Path) -> bool:
    with suppress(FileNotFoundError), lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
