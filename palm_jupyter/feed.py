"""Keeps a view model up to date with a cluster, from a thread of its own.

The thread only turns what it sees into updates; it never prints (the output of a thread lands in
whatever cell ran last) and never calls into widgets itself.
"""

from __future__ import annotations

import codecs
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from palm.clusters import Cluster, ComponentStatus, Status
from palm.errors import PalmError
from palm.spec.text import printable
from palm_jupyter.viewmodels import ClusterView, Components, Frozen, Lines, Output
from palm_jupyter.viewmodels.cluster import LINE_LIMIT, UNCOUNTED

__all__ = ["Feed", "components_of"]

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")

#: Seconds between two looks at the output; at most this often something is sent.
PERIOD = 0.2
#: Seconds between two looks at what others started.
SLOW_PERIOD = 2.0
#: Lines of one process in one update; more than a person reads in that time.
BATCH_LINES = 300
#: Characters of all processes in one update: Jupyter stops passing on what comes faster than
#: a megabyte a second.
ROUND_CHARACTERS = 100_000
#: Bytes read of one stream at once, and shown at first of what was written before.
BATCH_BYTES = 256 * 1024
FIRST_BYTES = 32 * 1024
#: Bytes without a newline after which a line is shown all the same.
LONGEST_LINE = 64 * 1024


def components_of(status: Status) -> Components:
    """A status as the view model takes it."""
    return Components(status.time, [_component(component) for component in status.components])


def _component(status: ComponentStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "role": status.role,
        "state": status.state,
        "desired": status.desired,
        "ready": status.ready,
        "own": status.own,
        "master": status.master,
        "functions": list(status.functions),
        "processes": [
            {
                "name": process.name,
                "state": process.state,
                "pid": process.pid,
                "restarts": process.restarts,
                "started": process.started,
                "reason": process.reason,
            }
            for process in status.processes
        ],
    }


class _Follower:
    """What a process wrote to one stream since we last looked.

    ``instances`` is shared by all followers: the first one that meets a new instance of a process
    says so, for both streams.
    """

    def __init__(
        self, cluster: Cluster, process: str, stream: Stream, instances: dict[str, str]
    ) -> None:
        self._cluster = cluster
        self._process = process
        self._stream = stream
        self._instances = instances
        self._begin("")

    def _begin(self, instance: str) -> None:
        """Go on near the end of an instance's output."""
        self._instance = instance
        self._offset = -FIRST_BYTES
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def look(self) -> Lines | None:
        """The next lines, or None if there is nothing new."""
        try:
            lines, skipped = self._read()
        except PalmError:  # forgotten meanwhile
            return None
        known = self._instances.get(self._process, self._instance)
        self._instances[self._process] = self._instance
        fresh = known != self._instance
        if len(lines) > BATCH_LINES:
            skipped = UNCOUNTED if skipped else len(lines) - BATCH_LINES
            lines = lines[-BATCH_LINES:]
        if not (lines or fresh):
            return None
        return Lines(self._process, self._stream, lines, fresh, skipped)

    def _read(self) -> tuple[list[str], int]:
        """New lines, and how many before them were skipped."""
        instance, start, data = self._output()
        if instance != self._instance:
            self._begin(instance)
            instance, start, data = self._output()
        skipped = 0
        if len(data) == BATCH_BYTES:  # it writes faster than anybody reads
            self._begin(instance)
            instance, start, data = self._output()
            skipped = UNCOUNTED
        within = start > 0 and self._offset < 0
        self._offset = start + len(data)
        lines = self._lines(data)
        return lines[1:] if within else lines, skipped

    def _output(self) -> tuple[str, int, bytes]:
        return self._cluster.output(self._process, self._stream, self._offset, BATCH_BYTES)

    def _lines(self, data: bytes) -> list[str]:
        text = self._rest + self._decoder.decode(data)
        *lines, self._rest = text.split("\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = ""
        return [printable(line) for line in lines]


class Feed:
    """Watches a cluster for a view until it is closed.

    The supervisor says when a process changed its state; output has to be looked for.
    """

    def __init__(self, cluster: Cluster, view: ClusterView) -> None:
        self._cluster = cluster
        self.view = view
        self._news = threading.Event()
        self._closed = threading.Event()
        self._followers: dict[tuple[str, str], _Follower] = {}
        self._instances: dict[str, str] = {}
        self._lock = threading.Lock()
        self._unsubscribe: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bring the view up to date, and keep it so from now on."""
        self.refresh()
        self._unsubscribe = self._cluster.subscribe(lambda state: self._news.set())
        self._thread = threading.Thread(target=self._serve, name="palm-panel", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Look at everything now."""
        with self._lock:
            self._look_at_components()
            self._look_at_output()

    def close(self) -> None:
        """Freeze the view as it is and end the thread. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._thread is not None:
            self._thread.join()
        self.refresh()
        self.view.apply(Frozen(time.time()))

    def _serve(self) -> None:
        looked = time.monotonic()
        while not self._closed.wait(PERIOD):
            now = time.monotonic()
            news = self._news.is_set() or now - looked >= SLOW_PERIOD
            self._news.clear()
            looked = now if news else looked
            try:
                with self._lock:
                    if news:
                        self._look_at_components()
                    self._look_at_output()
            except (OSError, PalmError) as error:  # the folders are gone, or no longer ours
                self.view.apply(Frozen(time.time(), f"cannot be watched any more: {error}"))
                return

    def _look_at_components(self) -> None:
        status = self._cluster.status()
        self.view.apply(components_of(status))
        present = {p.name for c in status.components if c.own for p in c.processes}
        for key in [key for key in self._followers if key[0] not in present]:
            del self._followers[key]
        for name in sorted(present):
            for stream in STREAMS:
                if (name, stream) not in self._followers:
                    follower = _Follower(self._cluster, name, stream, self._instances)
                    self._followers[name, stream] = follower

    def _look_at_output(self) -> None:
        looks = (follower.look() for follower in self._followers.values())
        self.view.apply(Output(_limited([entry for entry in looks if entry is not None])))


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
