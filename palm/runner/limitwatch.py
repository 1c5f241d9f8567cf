"""Looks, once a second, whether components use more memory, or processes, than they may."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from palm.runner.entry import Entry
from palm.runner.families import Families
from palm.spec.limits import Limits, excess

__all__ = ["EVERY", "LimitWatch"]

#: Seconds between two looks.
EVERY = 1.0


class LimitWatch:
    """Has something to do only while there are components with such limits."""

    def __init__(self) -> None:
        self._families = Families()
        self._next: float | None = None

    def add(self, entry: Entry) -> None:
        """Look from now on, if this one has such limits."""
        if _is_watched(entry.spec.limits) and self._next is None:
            self._next = time.monotonic() + EVERY

    def next_look(self) -> float | None:
        """When the next look is due, None if none is."""
        return self._next

    def look(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
        """Yield, if a look is due, each entry that is beyond a limit, and which one, in words."""
        now = time.monotonic()
        if self._next is None or now < self._next:
            return
        running = [e for e in entries if e.process is not None and _is_watched(e.spec.limits)]
        self._next = now + EVERY if running else None
        if running:
            self._families.look(now)
        for entry in running:
            if reason := self._excess(entry):
                yield entry, reason

    def _excess(self, entry: Entry) -> str:
        process = entry.process
        if process is None:
            return ""
        rows = self._families.of(process.pid, process.identity, entry.spool.instance)
        return excess(entry.spec.limits, sum(row.rss for row in rows), len(rows))


def _is_watched(limits: Limits) -> bool:
    return limits.memory is not None or limits.processes is not None
