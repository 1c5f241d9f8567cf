"""The key files of clusters: those that components of this machine make and use, too.

They are no rows of the database, whose copies are handed around.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from palm.errors import ConfigError
from palm.registry_api.schema import ClusterKey, ClusterKeys
from palm_registry.runfile import private_folder, replace
from palm_registry.scopes import OWNER

__all__ = ["KeyFiles"]

ROLES = ("owner", "client", "worker")
#: Characters of a key, in z85.
_LENGTH = 40
_MAX_FILE = 16 * 1024
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


class KeyFiles:
    """Below the state folder: those of the user whose registry this is, and those of others."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def read(self, user: str, cluster: str) -> ClusterKeys | None:
        """Return the keys of a cluster, None while there are none; blocks for a moment."""
        with _locked(self._folder(user, cluster)) as folder:
            return _read(folder)

    def offer(self, user: str, cluster: str, keys: ClusterKeys) -> ClusterKeys:
        """Keep keys, unless there are some; return those that there are."""
        with _locked(self._folder(user, cluster)) as folder:
            found = _read(folder)
            if found is not None:
                return found
            for role in ROLES:
                replace(folder / f"{role}.json", msgspec.json.encode(getattr(keys, role)))
            return keys

    def _folder(self, user: str, cluster: str) -> Path:
        # A user's cluster may have the name of one that another user had before: its keys must
        # not be known to that one.
        if user == OWNER:
            private_folder(self._state / cluster, "PALM_STATE_DIR")
            return private_folder(self._state / cluster / "keys", "PALM_STATE_DIR")
        folder = self._state
        for part in ("keyrings", user, cluster):
            folder = private_folder(folder / part, "PALM_STATE_DIR")
        return folder


def flaw_of(keys: ClusterKeys) -> str:
    """Say what is wrong with keys, "" if they belong together as far as can be seen."""
    for role in ROLES:
        key: ClusterKey = getattr(keys, role)
        texts = (key.curve_publickey, key.curve_secretkey, key.server_publickey)
        if key.role != role:
            return f"the key of {role} says that it is of {key.role[:20]!r}"
        if any(len(text) != _LENGTH or not text.isascii() for text in texts):
            return f"the key of {role} is none of {_LENGTH} characters"
        if key.server_publickey != keys.owner.curve_publickey:
            return f"the key of {role} is for another server"
    return ""


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the lock that components of this machine take to make keys (palm.transport)."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(fd)


def _read(folder: Path) -> ClusterKeys | None:
    found = {}
    for role in ROLES:
        path = folder / f"{role}.json"
        with suppress(FileNotFoundError):
            found[role] = _key(path)
    # Who died while it made them left a part; the next one to make them, with its own, is next.
    return ClusterKeys(**found) if len(found) == len(ROLES) else None


def _key(path: Path) -> ClusterKey:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        closed = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
        if not closed or found.st_uid != os.geteuid():
            raise ConfigError(f"the key file {path} may be known to others")
        try:
            return msgspec.json.decode(file.read(_MAX_FILE), type=ClusterKey)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not a key file") from error
