"""What is on its way to the journal: nothing of a job in it counts before it is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from palm.protocol.effects import Effect, Write
from palm.protocol.entries import Entry

__all__ = ["Journal"]


class Journal:
    """Entries with what is to happen when they are written; in the order in which they came."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._last = 0
        self._waiting: deque[tuple[int, Callable[[float], None]]] = deque()

    @property
    def unwritten(self) -> int:
        """Count of the entries that are not known to be written."""
        return len(self._waiting)

    def write(
        self, entry: Entry, then: Callable[[float], None] | None = None, *, sync: bool
    ) -> None:
        """Have an entry written, and ``then(now)`` called."""
        self._last += 1
        self._effects.append(Write(self._last, entry, sync))
        self._waiting.append((self._last, then or _nothing))

    def after(self, then: Callable[[float], None], now: float) -> None:
        """Call ``then(now)`` when all is written that was to be written before this."""
        if self._waiting:
            self._waiting.append((self._last, then))
        else:
            then(now)

    def written(self, ticket: int, now: float) -> None:
        """Note that all entries up to this ticket are written."""
        while self._waiting and self._waiting[0][0] <= ticket:
            self._waiting.popleft()[1](now)


def _nothing(now: float) -> None:
    pass
