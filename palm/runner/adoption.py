"""What earlier runners of a node left running, or saw end."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from palm._version import __version__
from palm.errors import ConfigError, PalmError
from palm.files import privatefile
from palm.runner.spool import Spool, SpoolState, list_spools
from palm.runtime.folders import Folders
from palm.runtime.records import process_identity, process_start_time

__all__ = ["RunnerLock", "left_behind"]

#: Seconds in which whoever looks at the lock lets go of it.
_PATIENCE = 0.2
#: States in which a runner may have died between a start and its note of it.
_ABOUT_TO_RUN = ("starting", "backing-off", "ready")


def left_behind(folders: Folders, node: str) -> Iterator[tuple[Spool, SpoolState]]:
    """Yield, for each process name of a node, its latest spool and what is known of it."""
    seen: set[str] = set()
    for spool, state in list_spools(folders.spool):
        mine = (state.cluster, state.node) == (folders.cluster, node)
        if mine and state.spec is not None and state.name not in seen:
            seen.add(state.name)
            # A run that was noted, and whose end was not, was the latest: what else has its mark
            # is something that it left behind.
            unnoted = not state.pid or state.ended > 0
            if state.state in _ABOUT_TO_RUN and unnoted and not state.is_running:
                state = _look_for(state)
            yield spool, state


def _look_for(state: SpoolState) -> SpoolState:
    """Find a process that was started, but not noted, when its runner was killed."""
    mark = f"PALM_INSTANCE={state.instance}".encode()
    for pid in _own_processes():
        # Ours lead a session; their children have the same environment, but not that.
        if pid != state.pid and mark in _environment(pid) and os.getsid(pid) == pid:
            start_time = process_start_time(pid)
            if start_time is not None:
                return msgspec.structs.replace(
                    state,
                    pid=pid,
                    start_time=start_time,
                    identity=process_identity(pid),
                    state="starting",
                    exit=None,
                )
    return state


def _own_processes() -> Iterator[int]:
    proc = Path("/proc")
    for entry in os.listdir(proc) if proc.is_dir() else ():
        if entry.isdigit():
            yield int(entry)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone by now, or not ours
        return []


def _lock(fd: int) -> None:
    """Lock a file; wait a moment for somebody who only looks who has it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class _About(msgspec.Struct):
    """What a runner says of itself, next to its lock."""

    pid: int
    version: str = ""


class RunnerLock:
    """The right to be the runner of a node; the system frees it when its holder dies."""

    def __init__(self, folders: Folders, node: str) -> None:
        self._path = folders.components.parent / f"runner-{node}.lock"
        self._about = self._path.with_suffix(".json")
        self._text = f"runner of cluster {folders.cluster!r}, node {node!r}"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take it, soon or not at all.

        Raises
        ------
        ConfigError
            There is such a runner.
        """
        fd = privatefile.open_lock(self._path)
        try:
            _lock(fd)
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigError(f"a {self._text} runs already: pid {holder}") from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        about = _About(os.getpid(), __version__)
        privatefile.replace(self._about, msgspec.json.encode(about))

    def version(self) -> str:
        """The version of palm that the process has which has it; "" if none has, or says so."""
        holder = self.holder()
        try:
            data = privatefile.read(self._about, "record of the runner", 4096)
            about = msgspec.json.decode(data, type=_About)
        except (PalmError, *privatefile.UNREADABLE):
            return ""
        return about.version if holder is not None and about.pid == holder else ""

    def holder(self) -> int | None:
        """The process that has it, if any has."""
        fd = privatefile.open_lock(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            text = os.pread(fd, 100, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdecimal() else None
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give it back. The file stays: somebody may be about to lock it."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._about.unlink(missing_ok=True)
            os.ftruncate(fd, 0)
            os.close(fd)
