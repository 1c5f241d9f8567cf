"""The registry of this user, wherever it is by now."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from palm.errors import ConfigError, PalmError
from palm.registry_api.client import RegistryClient, Unreachable
from palm.registry_api.schema import (
    Assignments,
    Heartbeat,
    NodeJoin,
    NodeJoined,
    OutputAck,
    OutputPiece,
)
from palm.runtime.folders import Folders
from palm.transport import privatefile

__all__ = ["Registry", "RegistryLink", "RegistryRecord", "read_registry"]

_MAX_FILE = 64 * 1024
_log = logging.getLogger("palm.runner")
_T = TypeVar("_T")


class Registry(Protocol):
    """What a node needs of a registry: these methods of `RegistryClient`."""

    def join(self, key: str, node: NodeJoin) -> NodeJoined:
        """Be a node of a cluster."""

    def heartbeat(self, key: str, node: str, beat: Heartbeat) -> Assignments:
        """Report, and ask what to run."""

    def leave(self, key: str, node: str) -> None:
        """Be a node no more."""

    def send_output(self, key: str, pieces: Sequence[OutputPiece]) -> list[OutputAck]:
        """Store output."""


class RegistryRecord(msgspec.Struct, kw_only=True):
    """What the file ``registry.json`` of the run folder says."""

    url: str
    token_file: str
    pid: int = 0
    start_time: float = 0.0


def read_registry(folders: Folders) -> RegistryRecord | None:
    """Return where this user's registry was last seen, None if there is none."""
    path = folders.run / "registry.json"
    try:
        data = privatefile.read(path, "record of the registry", _MAX_FILE)
        return msgspec.json.decode(data, type=RegistryRecord)
    except (PalmError, msgspec.DecodeError):
        return None


class RegistryLink:
    """A registry's client that goes to another address when the registry comes back there.

    Parameters
    ----------
    url
        Where it is; without one, where this user's registry is.
    """

    def __init__(self, folders: Folders, url: str = "") -> None:
        self._folders = folders
        record = read_registry(folders)
        if not url and record is None:
            raise ConfigError("no registry runs here", key="--registry", hint="start one: palm up")
        self._url = url or (record.url if record else "")
        #: Whether it is the one of this user, whose address may change.
        self._follows = record is not None and _same(record.url, self._url)
        self._lock = threading.Lock()
        token_file = record.token_file if record is not None and self._follows else ""
        self._client = self._connect(self._url, token_file)

    @property
    def url(self) -> str:
        """Where the registry is."""
        return self._url

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def join(self, key: str, node: NodeJoin) -> NodeJoined:
        """Be a node of a cluster."""
        return self._ask(lambda client: client.join(key, node))

    def heartbeat(self, key: str, node: str, beat: Heartbeat) -> Assignments:
        """Report, and ask what to run."""
        return self._ask(lambda client: client.heartbeat(key, node, beat))

    def leave(self, key: str, node: str) -> None:
        """Be a node no more."""
        self._ask(lambda client: client.leave(key, node))

    def send_output(self, key: str, pieces: Sequence[OutputPiece]) -> list[OutputAck]:
        """Store output."""
        return self._ask(lambda client: client.send_output(key, pieces))

    def _ask(self, call: Callable[[RegistryClient], _T]) -> _T:
        try:
            return call(self._client)
        except Unreachable:
            self._look_elsewhere()
            raise  # whoever calls tries again, after a while

    def _look_elsewhere(self) -> None:
        record = read_registry(self._folders) if self._follows else None
        with self._lock:
            if record is None or _same(record.url, self._url):
                return
            try:
                client = self._connect(record.url, record.token_file)
            except PalmError as error:  # half of it may be written yet
                _log.warning("the registry at %s cannot be used: %s", record.url, error)
                return
            _log.info("the registry is at %s now", record.url)
            old, self._client, self._url = self._client, client, record.url
        old.close()

    def _connect(self, url: str, token_file: str) -> RegistryClient:
        path = os.environ.get("PALM_TOKEN_FILE") or token_file
        file = Path(path) if path else self._folders.state / "tokens" / "owner"
        token = privatefile.read(file, "token", _MAX_FILE).decode("ascii", "replace").strip()
        return RegistryClient(url, token, retry=0.0)


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
