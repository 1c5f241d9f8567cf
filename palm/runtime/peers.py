"""Components on other nodes, by name: runners write down what the registry tells them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from palm.errors import PalmError
from palm.files import privatefile
from palm.runtime.folders import Folders

__all__ = ["find_peer", "known_peers", "peers_path"]

_MAX_FILE = 4 * 1024 * 1024


def peers_path(folders: Folders, node: str) -> Path:
    """Return where the runner of a node writes them."""
    return folders.components.parent / f"peers-{node}.json"


def find_peer(folders: Folders, name: str) -> str:
    """Return the address of a component on another node, "" if none is known."""
    return next(filter(None, (found.get(name) for found in _lists(folders))), "")


def known_peers(folders: Folders) -> tuple[str, ...]:
    """Return the names of what runs on other nodes, in order, be it reached from here or not."""
    return tuple(sorted({name for found in _lists(folders) for name in found}))


def _lists(folders: Folders) -> Iterator[dict[str, str]]:
    for path in sorted(folders.components.parent.glob("peers-*.json")):
        try:
            data = privatefile.read(path, "list of components on other nodes", _MAX_FILE)
            yield msgspec.json.decode(data, type=dict[str, str])
        except (PalmError, *privatefile.UNREADABLE):  # gone by now, or to be written anew
            continue
