"""The registry of this user, wherever it is by now; started in the background where there is none.

A registry that was killed leaves its record behind, one that ended does not. So whoever finds the
record of a dead one may start it again, and nobody starts again what was ended on purpose.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from palm.errors import ConfigError, PalmError, RegistryError
from palm.files import privatefile
from palm.naming.whereabouts import (
    RegistryRecord,
    is_same,
    own_certificate,
    read_registry,
    read_token,
    whereabouts,
)
from palm.registry_api.client import RETRY_FOR, RegistryClient, Whereabouts, check_url
from palm.registry_api.schema import (
    Assignments,
    Heartbeat,
    NodeJoin,
    NodeJoined,
    NodeSamples,
    OutputAck,
    OutputPiece,
)
from palm.runner.background import Background
from palm.runtime.folders import Folders

__all__ = [
    "Registry",
    "RegistryRecord",
    "ensure_registry",
    "find_registry",
    "has_database",
    "read_registry",
    "revive_registry",
    "wait_for_registry",
]

#: Seconds for a registry to listen, and for another one that was started at the same time.
_START = 30.0
_OTHER = 5.0
#: Seconds that somebody else who is about to start one is waited for.
_TURN = 30.0
_POLL = 0.005
#: Seconds after the end of the last cluster until a registry of our own making ends.
LINGER = 60.0


class Registry(Protocol):
    """What a node needs of a registry: these methods of `RegistryClient`."""

    def join(self, key: str, node: NodeJoin) -> NodeJoined:
        """Be a node of a cluster."""

    def heartbeat(self, key: str, node: str, beat: Heartbeat) -> Assignments:
        """Report, and ask what to run."""

    def leave(self, key: str, node: str) -> None:
        """Be a node no more."""

    def send_metrics(self, key: str, node: str, report: NodeSamples) -> None:
        """Tell what the processes of a node use and do."""

    def fetch_code(self, key: str, digest: str) -> bytes:
        """Return the content of a file of a component."""

    def send_output(self, key: str, pieces: Sequence[OutputPiece]) -> list[OutputAck]:
        """Store output."""


def find_registry(
    folders: Folders, url: str = "", *, retry: float = RETRY_FOR, revive: bool = False
) -> RegistryClient | None:
    """Return a client of the registry at ``url``; without one, of this user's, if it runs.

    The client follows this user's registry to another address. With ``revive`` it also starts it
    again after it was killed.

    Raises
    ------
    PalmError
        The token cannot be read.
    """
    record = read_registry(folders)
    ours = record is not None and (not url or is_same(record.url, url))
    if url and not ours:
        check_url(url)
        ca_file = own_certificate(folders)
        return RegistryClient(url, read_token(folders, ""), retry=retry, ca_file=ca_file)
    if record is None or not (record.is_running or revive):
        return None

    one_at_a_time = threading.Lock()

    def relocate() -> Whereabouts | None:
        try:
            with one_at_a_time:
                now = revive_registry(folders) if revive else read_registry(folders)
            return None if now is None else whereabouts(folders, now)
        except PalmError:  # half of it may be written yet, and the next call looks again
            return None

    found = whereabouts(folders, record)
    return RegistryClient(
        found.url, found.token, retry=retry, relocate=relocate, ca_file=found.ca_file
    )


def ensure_registry(
    folders: Folders, meanwhile: Callable[[], object] = lambda: None
) -> RegistryClient:
    """Return a client of this user's registry; start it, if there is none.

    ``meanwhile`` is called once it is about to start: that takes a while.

    Raises
    ------
    RegistryError
        It did not start; with what it said.
    """
    record = read_registry(folders)
    if record is None or not record.is_running:
        _start(folders, record, meanwhile)
    client = find_registry(folders, revive=True)
    if client is None:
        raise RegistryError("the registry ended as soon as it was started")
    return client


def revive_registry(folders: Folders) -> RegistryRecord | None:
    """Start a registry that was killed; return where it is, None if none ran."""
    record = read_registry(folders)
    if record is None or record.is_running:
        return record
    _start(folders, record)
    return read_registry(folders)


def wait_for_registry(folders: Folders, patience: float) -> None:
    """Wait for so many seconds until this user's registry is there."""
    deadline = time.monotonic() + patience
    while (record := read_registry(folders)) is None or not record.is_running:
        if time.monotonic() > deadline:
            raise ConfigError("no registry runs here", key="--registry", hint="start one: palm up")
        time.sleep(2 * _POLL)


def has_database(folders: Folders) -> bool:
    """Whether there ever was a registry: then what clusters wrote can be read by another."""
    return (folders.state / "registry.db").exists()


def _start(
    folders: Folders,
    before: RegistryRecord | None,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Start a registry, or wait for whoever is about to: many may miss it at the same time."""
    turn = privatefile.open_lock(folders.state / "registry-start.lock")
    try:
        if _wait_for_turn(turn, folders):
            _start_in_turn(folders, before, meanwhile)
    finally:
        os.close(turn)


def _wait_for_turn(turn: int, folders: Folders) -> bool:
    """Return whether it is ours to start one; False if another one is there by now."""
    deadline = time.monotonic() + _TURN
    while not _is_running(folders):
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not _is_running(folders)
        except BlockingIOError:
            if time.monotonic() > deadline:  # who has the turn may hang: a second one just ends
                return True
        time.sleep(_POLL)
    return False


def _is_running(folders: Folders) -> bool:
    record = read_registry(folders)
    return record is not None and record.is_running


def _start_in_turn(
    folders: Folders, before: RegistryRecord | None, meanwhile: Callable[[], object]
) -> None:
    """Start a registry, and wait until it, or another one, listens."""
    port = _port(before.url) if before is not None else 0
    given = [] if before is None else before.arguments
    process = _spawn(folders, given, port)
    meanwhile()
    deadline = time.monotonic() + _START
    while (record := read_registry(folders)) is None or not record.is_running:
        now = time.monotonic()
        if not process.is_running:
            if port:  # somebody else may have it by now
                port, process = 0, _spawn(folders, given, 0)
                continue
            # Another one that was started at the same time may be about to listen.
            deadline = min(deadline, process.ended() + _OTHER)
        if now > deadline:
            raise RegistryError(f"the registry did not start:\n{process.log_tail()}")
        time.sleep(_POLL)


def _spawn(folders: Folders, given: Sequence[str], port: int) -> Background:
    """Start one; in place of one that was killed, with what that was `given`."""
    command = [sys.executable, "-m", "palm_registry"]
    command += given or ["--linger", f"{LINGER:g}"]
    command += ["--port", str(port), "--run-dir", str(folders.run)]
    command += ["--state-dir", str(folders.state)]
    return Background.start(command, folders.state / "registry.log", folders.state)


def _port(url: str) -> int:
    try:
        return urlsplit(url).port or 0
    except ValueError:
        return 0
