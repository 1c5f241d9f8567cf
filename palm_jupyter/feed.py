"""Keeps a view model up to date with a cluster, from a thread of its own.

What there is comes from the registry's live feed, so it comes while a cell runs, and again from
the start in a kernel that was restarted. The thread only turns it into updates; it never prints
(the output of a thread lands in whatever cell ran last) and never calls into widgets itself.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from palm.clusters import Cluster, ComponentStatus, LineReader, Status
from palm.errors import PalmError
from palm.registry_api.live import LiveFeed
from palm.registry_api.schema import Frame, OutputRecord
from palm_jupyter.viewmodels import ClusterView, Components, Frozen, Lines, Output
from palm_jupyter.viewmodels.cluster import LINE_LIMIT, UNCOUNTED

__all__ = ["Feed", "components_of"]

#: Seconds between two updates: at most five a second are sent.
PERIOD = 0.2
#: Seconds between two looks at what was started in shells, of which the registry knows nothing.
SLOW_PERIOD = 2.0
#: Lines of one process in one update; more than a person reads in that time.
BATCH_LINES = 300
#: Characters of all processes in one update: Jupyter stops passing on what comes faster than
#: a megabyte a second.
ROUND_CHARACTERS = 100_000
#: Bytes of output that are shown at first of what was written before, and that we may be behind.
BACKLOG = 1024 * 1024


def components_of(status: Status) -> Components:
    """A status as the view model takes it."""
    return Components(status.time, [_component(component) for component in status.components])


def _component(status: ComponentStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "role": status.role,
        "state": status.state,
        "desired": status.desired - status.done,
        "ready": status.ready,
        "own": status.own,
        "master": status.master,
        "reason": status.reason,
        "kernel": status.kernel,
        "functions": list(status.functions),
        "processes": [
            {
                "name": process.name,
                "state": process.state,
                "pid": process.pid,
                "restarts": process.restarts,
                "started": process.started,
                "reason": process.reason,
                "node": process.node,
            }
            for process in status.lines
        ],
    }


@dataclass(slots=True)
class _Written:
    """What a process wrote to one stream since the last update."""

    lines: list[str] = field(default_factory=list)
    fresh: bool = False
    skipped: int = 0

    def add(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) > BATCH_LINES:
            del self.lines[0]
            self.skip(1)

    def skip(self, count: int) -> None:
        uncounted = UNCOUNTED in (count, self.skipped)
        self.skipped = UNCOUNTED if uncounted else self.skipped + count


class _Collector:
    """Collects output until it is time to show it."""

    def __init__(self) -> None:
        self._reader = LineReader()
        self._instances: dict[str, str] = {}
        self._written: dict[tuple[str, str], _Written] = {}

    def __bool__(self) -> bool:
        return bool(self._written)

    def add(self, record: OutputRecord) -> None:
        """Take what a process wrote."""
        if self._instances.get(record.name, record.instance) != record.instance:
            # What it wrote in an earlier life is no longer shown.
            self._written = {k: w for k, w in self._written.items() if k[0] != record.name}
            self._of(record).fresh = True
        self._instances[record.name] = record.instance
        if self._reader.skips(record):
            self._of(record).skip(UNCOUNTED)
        for line in self._reader.read(record):
            self._of(record).add(line.text)

    def _of(self, record: OutputRecord) -> _Written:
        return self._written.setdefault((record.name, record.stream), _Written())

    def take(self) -> list[Lines]:
        """Return what there is, and begin anew."""
        written, self._written = self._written, {}
        entries = [
            Lines(process, stream, each.lines, each.fresh, each.skipped)
            for (process, stream), each in written.items()
        ]
        # The first entry of a new life clears what was before; others come after it.
        entries.sort(key=lambda entry: not entry.fresh)
        return entries


class Feed:
    """Watches a cluster for a view until it is closed."""

    def __init__(self, cluster: Cluster, view: ClusterView) -> None:
        self._cluster = cluster
        self.view = view
        self._closed = threading.Event()
        self._collector = _Collector()
        self._lock = threading.Lock()
        #: Processes that there are, and those that are known not to be there any more.
        self._present: set[str] = set()
        self._gone: set[str] = set()
        self._live: LiveFeed | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bring the view up to date, and keep it so from now on."""
        self.refresh()
        self._live = self._cluster.live(since="start", backlog=BACKLOG)
        self._thread = threading.Thread(target=self._serve, name="palm-panel", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Look at the components now."""
        self._show(self._cluster.status())

    def close(self) -> None:
        """Freeze the view as it is and end the thread. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._live is not None:
            self._live.close()
        if self._thread is not None:
            self._thread.join()
        self._flush()
        self._freeze()

    def _freeze(self) -> None:
        reason = ""
        try:
            self.refresh()
        except PalmError as error:  # the registry is gone: what was seen last is what is kept
            reason = str(error)
        self.view.apply(Frozen(time.time(), reason))

    def _show(self, status: Status) -> None:
        with self._lock:
            self._present = {p.name for c in status.components for p in c.processes}
            self._gone -= self._present
            self.view.apply(components_of(status))

    # In the thread

    def _serve(self) -> None:
        try:
            self._follow()
        except (OSError, PalmError) as error:  # the registry refuses, or the folders are gone
            if not self._closed.is_set():
                self.view.apply(Frozen(time.time(), f"cannot be watched any more: {error}"))

    def _follow(self) -> None:
        live = self._live
        assert live is not None  # noqa: S101 - for the type checker
        flushed = looked = time.monotonic()
        while not self._closed.is_set():
            frame = live.next_frame(PERIOD if self._collector else SLOW_PERIOD / 2)
            if frame is not None:
                self._take(frame)
            now = time.monotonic()
            if self._collector and now - flushed >= PERIOD:
                self._flush()
                flushed = now
            if now - looked >= SLOW_PERIOD:
                self._look()
                looked = now

    def _take(self, frame: Frame) -> None:
        if frame.topic == "status":
            self._show(self._cluster.status_of(frame.data))
        elif frame.topic == "output":
            for record in frame.data:
                if self._is_there(record.name):
                    self._collector.add(record)

    def _is_there(self, process: str) -> bool:
        """Whether a process that has written something is one of those shown."""
        if process not in self._present and process not in self._gone:
            self._look()  # its first words may be faster than the news of its start
            if process not in self._present:
                self._gone.add(process)
        return process in self._present

    def _look(self) -> None:
        try:
            self.refresh()
        except PalmError:
            return  # the registry is away: that nothing comes is what the panel shows

    def _flush(self) -> None:
        with self._lock:
            self.view.apply(Output(_limited(self._collector.take())))


def _limited(entries: list[Lines]) -> list[Lines]:
    """As much of the entries as can be sent, each with an equal share."""
    share = ROUND_CHARACTERS // max(1, len(entries))
    return [_shortened(entry, share) for entry in entries]


def _shortened(entry: Lines, share: int) -> Lines:
    kept = 0
    for line in reversed(entry.lines):
        share -= min(len(line), LINE_LIMIT) + 1
        if share < 0 and kept:
            break
        kept += 1
    dropped = len(entry.lines) - kept
    if not dropped:
        return entry
    skipped = UNCOUNTED if entry.skipped == UNCOUNTED else entry.skipped + dropped
    return replace(entry, lines=entry.lines[dropped:], skipped=skipped)
