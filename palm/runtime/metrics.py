"""What components have counted, where others find it: ``<metrics>/<name>.json``, one a component.

A component writes at most once in `EVERY` seconds, and only what is new: a snapshot may be older
than that, and is still what it has counted by now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from logging import Logger
from math import inf
from pathlib import Path
from typing import Final

import msgspec

from palm.errors import PalmError
from palm.files import privatefile
from palm.protocol.meter import Counts, EdgeCounts, FunctionCounts
from palm.runtime.folders import Folders
from palm.runtime.records import is_running, process_identity, process_start_time
from palm.spec.names import check_name

__all__ = ["EVERY", "Metrics", "Reporter", "prune_metrics", "read_metrics"]

#: Seconds between two snapshots of a component that is busy; more if it has so many jobs that to
#: look at them takes more than a part of its time, but no more than `RARELY`.
EVERY: Final = 1.0
PART: Final = 0.01
RARELY: Final = 10.0

#: Bytes; a snapshot of 256 functions and thousands of workers has less.
MAX_SIZE: Final = 4 * 2**20

#: Seconds after which a file that was never put in its place has no writer any more.
STALE: Final = 60.0


class Metrics(msgspec.Struct, kw_only=True):
    """What the component ``instance`` had counted at ``time`` (seconds since the epoch).

    The next one comes after ``every`` seconds, if there is something new. ``pid``, ``start_time``
    and ``identity`` are its process's, as in its record.
    """

    schema: int = 1
    name: str
    role: str
    instance: str
    pid: int
    start_time: float
    identity: str = ""
    time: float
    every: float = EVERY
    functions: dict[str, FunctionCounts] = {}
    edges: list[EdgeCounts] = []


class Reporter:
    """Writes what a component has counted; one thread at a time uses it.

    Parameters
    ----------
    counts
        Returns them.
    """

    def __init__(
        self,
        folders: Folders,
        name: str,
        role: str,
        instance: str,
        counts: Callable[[], Counts],
        logger: Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = folders
        self._name = check_name(name)
        self._role = role
        self._instance = instance
        self._counts = counts
        self._logger = logger
        self._clock = clock
        self._seen = 0
        self._next = -inf
        self._last: Counts | None = None
        self._failed = False
        self._path: Path | None = None
        self._start_time = 0.0
        self._identity = ""

    def look(self, events: int) -> float:
        """Write what is new, if it is time for it; return the seconds after which it is.

        ``events`` tells how many the component has had. Without new ones nothing needs to be
        written, and this returns infinity: nobody has to wake up.
        """
        if events == self._seen:
            return inf
        wait = self._next - self._clock()
        if wait > 0:
            return wait
        self.flush(events)
        return inf

    def flush(self, events: int) -> None:
        """Write what is new, now."""
        if events == self._seen:
            return
        begun = self._clock()
        self._seen, self._next = events, begun + EVERY
        try:
            counts = self._counts()
            every = min(max(EVERY, (self._clock() - begun) / PART), RARELY)
            self._next = begun + every
            if counts != self._last:
                self._write(counts, every)
                self._last = counts
                self._failed = False
        except RuntimeError:  # the machine's thread took up a new function meanwhile
            self._seen = -1
        except (OSError, PalmError) as error:  # nothing is lost but what others see
            if not self._failed:
                self._failed = True
                self._logger.warning("what it has counted cannot be written: %s", error)

    def close(self) -> None:
        """Remove what was written."""
        path, self._path = self._path, None
        self._seen, self._next = 0, inf
        if path is not None:
            found = _load(path)
            if found is None or found.instance == self._instance:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _write(self, counts: Counts, every: float) -> None:
        pid = os.getpid()
        if self._path is None:
            self._start_time = process_start_time(pid) or 0.0
            self._identity = process_identity(pid)
        path = self._folders.metrics / f"{self._name}.json"
        metrics = Metrics(
            name=self._name,
            role=self._role,
            instance=self._instance,
            pid=pid,
            start_time=self._start_time,
            identity=self._identity,
            time=time.time(),
            every=every,
            functions=counts.functions,
            edges=counts.edges,
        )
        privatefile.replace(path, msgspec.json.encode(metrics))
        self._path = path


def read_metrics(folders: Folders) -> list[Metrics]:
    """Return what each running component has counted, by name; remove what dead ones left."""
    found = []
    folder = folders.metrics
    for entry in sorted(os.listdir(folder)):
        path = folder / entry
        if entry.endswith(".tmp"):
            _remove_stale(path)
        elif entry.endswith(".json"):
            metrics = _load(path)
            if metrics is not None and _is_alive(metrics):
                found.append(metrics)
            else:
                prune_metrics(path)
    return found


def prune_metrics(path: Path) -> None:
    """Remove a snapshot, unless another process has taken its place meanwhile.

    One that comes at this very moment is lost, and comes again with the next change.
    """
    metrics = _load(path)
    if metrics is None or not _is_alive(metrics):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    with suppress(OSError):
        if path.stat().st_mtime < time.time() - STALE:
            path.unlink(missing_ok=True)


def _is_alive(metrics: Metrics) -> bool:
    return is_running(metrics.pid, metrics.start_time, metrics.identity)


def _load(path: Path) -> Metrics | None:
    """Read a snapshot; None for what is not there, not ours, or not a whole one."""
    try:
        data = privatefile.read(path, "snapshot", MAX_SIZE)
        metrics = msgspec.json.decode(data, type=Metrics)
    except (PalmError, *privatefile.UNREADABLE):
        return None
    return metrics if metrics.name == path.stem else None
