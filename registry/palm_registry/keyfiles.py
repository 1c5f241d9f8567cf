"""The key files of a cluster's components, which its nodes on other machines get, too.

They are the user's own, in the state folder that this registry shares with its components. What is
in them is not for the registry: it hands them on as they are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from palm.registry_api.schema import KeyFile

__all__ = ["KeyFiles"]

_MAX = 16 * 1024
_MOST = 64
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class KeyFiles:
    """Key files below a state folder; with None there are none."""

    def __init__(self, state: Path | None) -> None:
        self._state = state

    def read(self, cluster: str) -> list[KeyFile]:
        """Return those of a cluster by role; what is open to others is left out."""
        if self._state is None:
            return []
        paths = sorted((self._state / cluster / "keys").glob("*.json"))[:_MOST]
        texts = ((path.stem, _read(path)) for path in paths)
        return [KeyFile(role=role, text=text) for role, text in texts if text]

    def digest(self, cluster: str) -> str:
        """Return what is another if any of them is, "" if there are none."""
        found = self.read(cluster)
        told = "".join(f"{each.role}\0{each.text}\0" for each in found)
        return hashlib.sha256(told.encode()).hexdigest()[:16] if found else ""


def _read(path: Path) -> str:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return ""  # removed meanwhile, or a link
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
        ours = stat.S_ISREG(found.st_mode) and private
        return file.read(_MAX).decode("utf-8", "replace") if ours else ""
