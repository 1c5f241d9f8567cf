"""The state behind a cluster's panel: components, their processes, their last output.

    snapshot() -> {"version", "cluster", "time", "live", "note", "away",
                   "components": [...], "output": {...}}

All of it is JSON. A component is ``{name, role, state, desired, ready, own, master, functions,
processes}``, a process ``{name, state, pid, restarts, started, reason}``; output is, by process,
a list of ``[stream, text]``. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ClusterView",
    "Components",
    "Frames",
    "Frozen",
    "Lines",
    "Output",
    "Unchanged",
    "Update",
]

#: Lines kept for each process: what a reader scrolls back to before opening the whole log.
KEPT_LINES = 500
#: Characters of one line that are shown; the whole of it is in the spool.
LINE_LIMIT = 2000
#: That lines were skipped, and nobody knows how many.
UNCOUNTED = -1
#: Events that a new panel begins with.
KEPT_EVENTS = 200
#: Lines for each process in a snapshot: it is sent with every change, and saved in the notebook.
SNAPSHOT_LINES = 12


@dataclass(frozen=True, slots=True)
class Components:
    """The components at ``time``, in the place of all that were known."""

    time: float
    components: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Told to subscribers in the place of `Components` that are what they were."""

    time: float


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that a process wrote, after ``skipped`` others that are not shown.

    ``fresh`` means a new instance: earlier lines are not its.
    """

    process: str
    stream: str
    lines: Sequence[str]
    fresh: bool = False
    skipped: int = 0

    def shown(self) -> list[tuple[str, str]]:
        """Pairs of stream and text, one that tells of skipped lines included."""
        shown = [(self.stream, _cut(line)) for line in self.lines]
        if self.skipped:
            count = "" if self.skipped == UNCOUNTED else f"{self.skipped:,} "
            shown.insert(0, (self.stream, f"... {count}lines skipped ..."))
        return shown


@dataclass(frozen=True, slots=True)
class Output:
    """What all processes wrote since the last such update."""

    entries: Sequence[Lines]


@dataclass(frozen=True, slots=True)
class Frozen:
    """From ``time`` on the view is not kept up to date, for ``reason`` if it is not plain."""

    time: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of the registry's feed, as the panel takes them; ``time`` is when they are sent.

    Of frames that say how things are now, the view keeps the newest; of events, some. ``away`` is
    since when the registry does not answer, 0 if it does.
    """

    time: float
    frames: Sequence[Mapping[str, Any]] = ()
    away: float = 0.0


Update = Components | Unchanged | Output | Frozen | Frames
Subscriber = Callable[[Update], None]


class ClusterView:
    """Collects updates and tells its subscribers; the caller coalesces (10 a second at most)."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.time = 0.0
        self.live = True
        self.note = ""
        self.away = 0.0
        self._components: list[dict[str, Any]] = []
        self._output: dict[str, deque[tuple[str, str]]] = {}
        self._newest: dict[str, Mapping[str, Any]] = {}
        self._events: deque[Mapping[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self._subscribers: list[Subscriber] = []

    def snapshot(self, lines: int = SNAPSHOT_LINES) -> dict[str, Any]:
        """Everything, with the last ``lines`` lines of each process; shares nothing with us."""
        return {
            "version": 1,
            "cluster": self.cluster,
            "time": self.time,
            "live": self.live,
            "note": self.note,
            "away": self.away,
            "components": [_copy(component) for component in self._components],
            "output": {
                process: [list(line) for line in list(kept)[-lines:]]
                for process, kept in self._output.items()
                if kept and lines
            },
        }

    def frames(self) -> list[Mapping[str, Any]]:
        """What a panel needs that has seen none of it."""
        return [*self._newest.values(), *self._events]

    def apply(self, update: Update) -> None:
        """Take in one update and tell the subscribers; those are how a view knows it is live."""
        if not self.live:
            return
        if not getattr(update, "away", 0.0):  # else all that is known is older
            self.time = getattr(update, "time", self.time)
        if isinstance(update, Components):
            if not self._replace(update):
                update = Unchanged(update.time)
        elif isinstance(update, Output):
            if not self._append(update):
                return
        elif isinstance(update, Frames):
            self._keep(update)
        elif isinstance(update, Frozen):
            self.live, self.note = False, update.reason
        for subscriber in list(self._subscribers):
            subscriber(update)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call back with each update; returns how to end that."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _replace(self, update: Components) -> bool:
        components = [_copy(component) for component in update.components]
        if components == self._components:
            return False
        self._components = components
        present = {p["name"] for c in components for p in c["processes"]}
        for gone in set(self._output) - present:
            del self._output[gone]
        return True

    def _keep(self, update: Frames) -> None:
        self.away = update.away
        for frame in update.frames:
            if frame["topic"] == "events":
                self._events.append(frame)
            elif frame["topic"] in ("status", "metrics"):
                self._newest[frame["topic"]] = frame

    def _append(self, update: Output) -> bool:
        for entry in update.entries:
            kept = self._output.setdefault(entry.process, deque(maxlen=KEPT_LINES))
            if entry.fresh:
                kept.clear()
            kept.extend(entry.shown())
        return bool(update.entries)


def _cut(line: str) -> str:
    if len(line) <= LINE_LIMIT:
        return line
    return f"{line[:LINE_LIMIT]} ... {len(line) - LINE_LIMIT:,} more characters"


def _copy(component: Mapping[str, Any]) -> dict[str, Any]:
    copy = dict(component)
    copy["functions"] = list(component.get("functions", ()))
    copy["processes"] = [dict(process) for process in component.get("processes", ())]
    return copy
