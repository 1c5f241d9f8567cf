"""Keeps a view model up to date with a cluster, from a thread of its own.

What there is comes from the registry's live feed, so it comes while a cell runs, and again from
the start in a kernel that was restarted. The thread only turns it into updates; it never prints
(the output of a thread lands in whatever cell ran last) and never calls into widgets itself.

Output is followed of one component at a time, the one that the panel shows; what more is written
than a panel can take stays with the registry, and costs nothing here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from palm.clusters import Cluster, ComponentStatus, Status
from palm.clusters.output import last_lines
from palm.errors import PalmError
from palm.registry_api.live import LiveFeed
from palm.registry_api.schema import ClusterStatus, Frame, OutputRecord
from palm_jupyter.actions import perform
from palm_jupyter.frames import (
    event_frame,
    metrics_frame,
    output_frame,
    parts_of,
    size_of,
    status_frame,
)
from palm_jupyter.viewmodels import ClusterView, Components, Frames, Frozen, Lines, Output

__all__ = ["Feed", "components_of"]

#: Seconds between two updates: at most five a second are sent.
PERIOD = 0.2
#: Seconds between two looks at what was started in shells, of which the registry knows nothing,
#: and after which a panel is told that we are there.
SLOW_PERIOD = 2.0
#: Seconds without a registry that are not worth a word: a restart takes less.
AWAY_AFTER = 1.0
#: Bytes of one update, as they are sent: Jupyter stops passing on what comes faster than a megabyte
#: a second. Of a large cluster there is much to say besides, but some output always has its turn.
ROUND_BYTES, LEAST_BYTES = 64_000, 16_000
#: Bytes of output in one part of it; as they are sent they may be six times as many.
PART_BYTES = 4_000
#: Bytes of output that we may be behind; if it is more, the panel is told how much it was.
BACKLOG = 256 * 1024
#: Components of which a saved notebook shows the last lines, and how many.
LAST_COMPONENTS, LAST_LINES = 16, 12


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


class _Follower:
    """Follows the output of what a panel shows, no faster than it can show it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._live: LiveFeed | None = None
        self._name = ""
        self._records: deque[OutputRecord] = deque()

    def begin(self, selection: Mapping[str, Any] | None) -> None:
        """Follow ``{component, name, since}``, or nothing, from now on."""
        self.close()
        if selection is None:
            return
        self._name = str(selection.get("name") or "")
        self._live = self._cluster.live(
            ("output",),
            str(selection.get("since") or ""),
            components=[str(selection["component"])],
            backlog=BACKLOG,
        )

    def close(self) -> None:
        """Follow nothing."""
        live, self._live = self._live, None
        self._records.clear()
        if live is not None:
            live.close()

    def take(self, room: int) -> list[dict[str, Any]]:
        """Return what came, as much as fits into so many bytes as they are sent, one part at least.

        What fits is rather less: of each part a comma and the like is not counted.
        """
        frames: list[dict[str, Any]] = []
        records: list[OutputRecord] = []
        while self._records or self._fetch(frames):
            if not self._records:
                continue
            room -= size_of(self._records[0])
            if records and room < 0:
                break
            records.append(self._records.popleft())
        if records:
            frames.append(output_frame(records))
        return frames

    def _fetch(self, frames: list[dict[str, Any]]) -> bool:
        """Take one frame of the feed; return whether there was one."""
        frame = self._live.next_frame(0) if self._live is not None else None
        if frame is None:
            return False
        if frame.topic == "skipped":
            frames.append(event_frame(frame))
        elif frame.topic == "output":
            for record in frame.data:
                if not self._name or record.name == self._name:
                    self._records.extend(parts_of(record, PART_BYTES))
        return True


class Feed:
    """Watches a cluster for a view until it is closed."""

    def __init__(self, cluster: Cluster, view: ClusterView) -> None:
        self.cluster = cluster
        self.view = view
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._follower = _Follower(cluster)
        #: What the panel wants to follow from now on, if that is new.
        self._wanted: deque[Mapping[str, Any] | None] = deque(maxlen=1)
        self._found: ClusterStatus | None = None
        self._live: LiveFeed | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bring the view up to date, and keep it so from now on."""
        self.refresh()
        self._live = self.cluster.live(("status", "metrics", "events"), since="start")
        self._thread = threading.Thread(target=self._serve, name="palm-panel", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Look at the components, and at their last lines, now."""
        self._show(self.cluster.registry.cluster_status(self.cluster.name))
        self._show_last_lines()

    def select(self, selection: Mapping[str, Any] | None) -> None:
        """Follow the output of ``{component, name, since}``, or of nothing."""
        self._wanted.append(selection)

    def perform(self, action: Mapping[str, Any]) -> Any:
        """Do what a panel asks for; see `palm_jupyter.actions`."""
        return perform(self.cluster, action)

    def close(self) -> None:
        """Freeze the view as it is and end the thread. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._live is not None:
            self._live.close()
        if self._thread is not None:
            self._thread.join()
        self._follower.close()
        self._freeze()

    def _freeze(self) -> None:
        reason = ""
        try:
            self.refresh()
        except PalmError as error:  # the registry is gone: what was seen last is what is kept
            reason = str(error)
        self.view.apply(Frozen(time.time(), reason))

    def _show(self, found: ClusterStatus) -> None:
        with self._lock:
            self._found = found
            status = self.cluster.status_of(found)
            self.view.apply(components_of(status))
            self.view.apply(Frames(time.time(), [status_frame(found, status)]))

    def _show_last_lines(self) -> None:
        found = self._found.components[:LAST_COMPONENTS] if self._found is not None else []
        for component in found:
            if component.replicas:
                page = self.cluster.registry.output(
                    self.cluster.name, component.name, lines=LAST_LINES
                )
                lines = last_lines(page.records, LAST_LINES)
                self._show_lines([(line.process, line.stream, line.text) for line in lines])

    def _show_lines(self, lines: list[tuple[str, str, str]]) -> None:
        fresh: set[str] = set()
        entries = []
        for process, stream, text in lines:
            entries.append(Lines(process, stream, [text], fresh=process not in fresh))
            fresh.add(process)
        with self._lock:
            self.view.apply(Output(entries))

    # In the thread

    def _serve(self) -> None:
        try:
            self._follow()
        except (OSError, PalmError) as error:  # the registry refuses, or the folders are gone
            if not self._closed.is_set():
                self.view.apply(Frozen(time.time(), f"cannot be watched any more: {error}"))

    def _follow(self) -> None:
        told = looked = time.monotonic()
        away = 0.0
        while not self._closed.wait(PERIOD):
            now = time.monotonic()
            frames = self._news()
            if now - looked >= SLOW_PERIOD:
                looked = now
                frames += self._look()
            before, away = away, self._away()
            if frames or away != before or now - told >= SLOW_PERIOD:
                told = now
                self.view.apply(Frames(time.time(), frames, away))

    def _away(self) -> float:
        """Since when the registry does not answer; 0 if it does, or did a moment ago."""
        since = self._live.away_since if self._live is not None else None
        return since if since is not None and time.time() - since >= AWAY_AFTER else 0.0

    def _news(self) -> list[dict[str, Any]]:
        """What came since the last update; of what says how things are, the newest only."""
        newest: dict[str, Frame] = {}
        frames: list[dict[str, Any]] = []
        assert self._live is not None  # noqa: S101 - for the type checker
        while (frame := self._live.next_frame(0)) is not None:
            if frame.topic in ("status", "metrics"):
                newest[frame.topic] = frame
            else:
                frames.append(event_frame(frame))
        if "status" in newest:
            frames.append(self._status(newest["status"].data))
        if "metrics" in newest:
            frames.append(metrics_frame(newest["metrics"].data, newest["metrics"].cursor))
        if self._wanted:
            self._follower.begin(self._wanted.popleft())
        return frames + self._follower.take(max(LEAST_BYTES, ROUND_BYTES - size_of(frames)))

    def _status(self, found: ClusterStatus) -> dict[str, Any]:
        with self._lock:
            self._found = found
            status = self.cluster.status_of(found)
            self.view.apply(components_of(status))
            return status_frame(found, status)

    def _look(self) -> list[dict[str, Any]]:
        """Look for components that came or went in shells."""
        if self._found is None:
            return []
        before = self.view.snapshot(0)["components"]
        frame = self._status(self._found)
        return [frame] if self.view.snapshot(0)["components"] != before else []
