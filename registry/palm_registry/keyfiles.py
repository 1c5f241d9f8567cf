"""The key files of clusters: those that components of this machine make and use, too.

They are no rows of the database, whose copies are handed around.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from palm.errors import AuthenticationError, ConfigError
from palm.files import privatefile
from palm.files.privatefolder import private_folder
from palm.registry_api.schema import ClusterKey, ClusterKeys, KeyPair
from palm_registry.scopes import OWNER

__all__ = ["KeyFiles", "flaw_of"]

ROLES = ("owner", "client", "worker")
#: Characters of a key, in z85.
_LENGTH = 40
_MAX_FILE = 16 * 1024


class KeyFiles:
    """Below the state folder: those of the user whose registry this is, and those of others.

    What it does blocks for a moment. Raises ConfigError and OSError where files cannot be used.
    """

    def __init__(self, state: Path) -> None:
        self._state = state

    def read(self, user: str, cluster: str) -> ClusterKeys | None:
        """Return the keys of a cluster, None while there are none."""
        if not self._path(user, cluster).is_dir():
            return None
        with _locked(self._folder(user, cluster)) as folder:
            return _read(folder)

    def digest(self, user: str, cluster: str) -> str:
        """Return that of the keys; "" if there are none, or none that can be read.

        What is wrong with them is told to who asks for them.
        """
        try:
            found = self.read(user, cluster)
        except (OSError, ConfigError):
            return ""
        return "" if found is None else found.digest

    def offer(self, user: str, cluster: str, keys: ClusterKeys) -> ClusterKeys:
        """Keep keys, unless there are some; return those that there are."""
        with _locked(self._folder(user, cluster)) as folder:
            found = _read(folder)
            if found is not None:
                return found
            _write(folder, keys)
            return keys

    def change(self, user: str, cluster: str, keys: ClusterKeys) -> bool:
        """Put keys in the place of those that there are, if they follow these; say whether."""
        with _locked(self._folder(user, cluster)) as folder:
            found = _read(folder)
            if found is None or not keys.follows(found):
                return False
            _write(folder, keys)
            return True

    def _path(self, user: str, cluster: str) -> Path:
        # A user's cluster may have the name of one that another user had before: its keys must
        # not be known to that one.
        if user == OWNER:
            return self._state / cluster / "keys"
        return self._state / "keyrings" / user / cluster

    def _folder(self, user: str, cluster: str) -> Path:
        """Return the folder, made if need be, and proven to be ours alone, as those above it."""
        folder = self._state
        for part in self._path(user, cluster).relative_to(self._state).parts:
            folder = private_folder(folder / part, "PALM_STATE_DIR")
        return folder


def flaw_of(keys: ClusterKeys) -> str:
    """Say what is wrong with keys, "" if they belong together as far as can be seen."""
    former = keys.owner.before
    for role in ROLES:
        key: ClusterKey = getattr(keys, role)
        if flaw := _flaw(key, role, keys.owner.curve_publickey):
            return flaw
        if (key.before is None) != (former is None):
            return f"the key of {role} says something else of the keys of before"
        if key.before is None or former is None:
            continue
        if flaw := _flaw(key.before, role, former.curve_publickey):
            return f"of before: {flaw}"
    return ""


def _flaw(key: KeyPair, role: str, server: str) -> str:
    texts = (key.curve_publickey, key.curve_secretkey, key.server_publickey)
    if key.role != role:
        return f"the key of {role} says that it is of {key.role[:20]!r}"
    if any(len(text) != _LENGTH or not text.isascii() for text in texts):
        return f"the key of {role} is none of {_LENGTH} characters"
    return "" if key.server_publickey == server else f"the key of {role} is for another server"


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold the lock that components of this machine take to make keys (palm.transport)."""
    with privatefile.locked(folder / ".lock"):
        yield folder


def _read(folder: Path) -> ClusterKeys | None:
    found: dict[str, ClusterKey] = {}
    for role in ROLES:
        key = _pair(folder / f"{role}.json")
        if key is not None:
            before = _pair(folder / f"{role}.before.json")
            found[role] = ClusterKey(**asdict(key), before=before)
    # Who died while it made them left a part; the next one to make them, with its own, is next.
    return ClusterKeys(**found) if len(found) == len(ROLES) else None


def _write(folder: Path, keys: ClusterKeys) -> None:
    for role in ROLES:
        key: ClusterKey = getattr(keys, role)
        former = folder / f"{role}.before.json"
        if key.before is None:
            former.unlink(missing_ok=True)
        else:
            privatefile.replace(former, msgspec.json.encode(key.before), durable=True)
        pair = KeyPair(**{name: getattr(key, name) for name in KeyPair.__struct_fields__})
        privatefile.replace(folder / f"{role}.json", msgspec.json.encode(pair), durable=True)


def _pair(path: Path) -> KeyPair | None:
    if not os.path.lexists(path):
        return None
    try:
        return msgspec.json.decode(privatefile.read(path, "key file", _MAX_FILE), type=KeyPair)
    except AuthenticationError as error:  # nobody was refused: the file is one of ours
        raise ConfigError(str(error)) from error
    except privatefile.UNREADABLE as error:
        raise ConfigError(f"{path} is not a key file") from error
