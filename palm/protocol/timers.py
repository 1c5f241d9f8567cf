"""Deadlines of a machine: what is to happen when, without a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

__all__ = ["Timer", "Timers", "earliest"]


class Timer:
    """A call that is due at ``when`` (seconds on the machine's clock) unless cancelled."""

    __slots__ = ("args", "call", "when")

    def __init__(self, when: float, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.when = when
        self.call: Callable[..., None] | None = call
        self.args = args

    def cancel(self) -> None:
        """Never call; harmless when it was called already."""
        self.call = None
        self.args = ()


class Timers:
    """A heap of timers."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()

    def at(self, when: float, call: Callable[..., None], *args: Any) -> Timer:
        """Call ``call(*args, now)`` at the first `run` that is not before ``when``."""
        timer = Timer(when, call, args)
        heappush(self._heap, (when, next(self._order), timer))
        return timer

    def run(self, now: float) -> None:
        """Make the calls that are due."""
        while self._heap and self._heap[0][0] <= now:
            timer = heappop(self._heap)[2]
            call, args = timer.call, timer.args
            if call is not None:
                timer.cancel()  # it is over, for those who still hold it
                call(*args, now)

    @property
    def next_deadline(self) -> float | None:
        """When `run` has something to do; None: never."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None


def earliest(*deadlines: float | None) -> float | None:
    """Return the first of several deadlines; None: there is none."""
    return min((due for due in deadlines if due is not None), default=None)
