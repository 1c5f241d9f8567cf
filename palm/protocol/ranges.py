"""Sets of message numbers, kept as ranges: most of the time one range, whatever their count."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

__all__ = ["RangeSet"]


class RangeSet:
    """A set of non-negative integers; adding tells what was new."""

    __slots__ = ("_starts", "_stops", "total")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        #: Count of the numbers in the set.
        self.total = 0

    @property
    def first_missing(self) -> int:
        """The least number that is not in the set."""
        return self._stops[0] if self._starts and not self._starts[0] else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def add(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Add ``start .. stop-1``; return the ranges that were missing, in order."""
        if start >= stop:
            return []
        stops = self._stops
        if stops and start == stops[-1]:  # the usual case: the next in line
            stops[-1] = stop
            self.total += stop - start
            return [(start, stop)]
        missing = self.missing(start, stop)
        if missing:
            self._merge(start, stop)
            self.total += sum(b - a for a, b in missing)
        return missing

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of ``start .. stop-1`` that are not in the set, in order."""
        result = []
        at = bisect_right(self._stops, start)
        while start < stop:
            if at == len(self._starts) or self._starts[at] >= stop:
                result.append((start, stop))
                break
            if start < self._starts[at]:
                result.append((start, self._starts[at]))
            start = self._stops[at]
            at += 1
        return result

    def found(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of ``start .. stop-1`` that are in the set, in order."""
        result = []
        for a, b in [*self.missing(start, stop), (stop, stop)]:
            if start < a:
                result.append((start, a))
            start = b
        return result

    def ranges(self) -> list[tuple[int, int]]:
        """Return the set as disjoint ranges that do not touch, in order."""
        return list(zip(self._starts, self._stops, strict=True))

    def _merge(self, start: int, stop: int) -> None:
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]
