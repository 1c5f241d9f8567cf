"""What the registry counts of its own work. No I/O; it belongs to the event loop.

Only `Tally.committed` is called by another thread, the one that writes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

__all__ = ["Histogram", "Tally"]

#: Upper bounds of buckets, in seconds.
ANSWERS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LAGS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
#: Methods that are told apart; anybody can invent others.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Histogram:
    """How many values were in which range, and their sum; the last range has no bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; a bound belongs to the range below it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Tally:
    """Counts since the start."""

    def __init__(self) -> None:
        #: By address (its template), method and status.
        self.requests: Counter[tuple[str, str, int]] = Counter()
        #: By address and method.
        self.answers: dict[tuple[str, str], Histogram] = {}
        self.commits = Histogram(COMMITS)
        self.writes = 0
        self.lags = Histogram(LAGS)
        self.live = 0
        self.output_pieces = 0
        self.output_bytes = 0

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Note the answer to a request."""
        method = method if method in METHODS else "OTHER"
        self.requests[route, method, status] += 1
        self.answers.setdefault((route, method), Histogram(ANSWERS)).observe(seconds)

    def took_output(self, pieces: int, size: int) -> None:
        """Note output that was stored; what was sent again counts again."""
        self.output_pieces += pieces
        self.output_bytes += size

    def committed(self, writes: int, seconds: float) -> None:
        """Note that so many writes are on disk."""
        self.writes += writes
        self.commits.observe(seconds)
