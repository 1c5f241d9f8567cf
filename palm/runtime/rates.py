"""Counts of a component as rates: differences of two snapshots, by the times of these.

A component that is idle writes none: what is new in the next one happened after it was last found
idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from palm.protocol.meter import Counts, FunctionCounts, bounds
from palm.runtime.metrics import EVERY, Metrics

__all__ = ["FunctionLoad", "Rates", "Seen", "function_load", "mean", "quantile", "total"]

#: Seconds by which a snapshot may be late: the component is busy.
LATE: Final = 0.5

#: Least seconds between two snapshots that a rate can be told of.
LEAST: Final = 0.01

_NO_COUNTS: Final = Counts({})


@dataclass(frozen=True, slots=True)
class FunctionLoad:
    """Messages of one function of a component.

    ``rate_in`` and ``rate_out`` are messages that came, and that had their outcome, a second (None:
    not known yet). ``mean`` is the time that the function took, ``p50`` and ``p99`` are quantiles
    of the time from arrival to outcome, all in seconds and of what ended between two looks or, if
    nothing did, since the start. The other counts are since the start.
    """

    component: str
    function: str
    rate_in: float | None
    rate_out: float | None
    queued: int
    running: int
    mean: float | None
    p50: float | None
    p99: float | None
    received: int
    done: int
    failed: int
    dropped: int = 0


@dataclass(slots=True)
class Seen:
    """A component between two looks: what it had counted, at ``time`` and a while ``before``."""

    time: float
    counts: Counts
    before: Counts | None = None
    #: Seconds between the two, and to the next one.
    seconds: float = 0.0
    every: float = EVERY

    def update(self, metrics: Metrics, now: float, last: float) -> None:
        """Take a snapshot that was found at ``now``; the look before was at ``last``."""
        if metrics.time > self.time:
            self.before = self.counts
            self.seconds = max(metrics.time - max(self.time, last - self.every - LATE), LEAST)
            self.time, self.every = metrics.time, metrics.every
            self.counts = Counts(metrics.functions, metrics.edges)
        elif now - self.time > self.every + LATE:
            self.before, self.seconds = self.counts, now - self.time  # it does nothing

    def rate(self, now: float, before: float | None) -> float | None:
        """Return how much a count grew a second."""
        if self.before is None:
            return None
        grown = now - (before or 0)
        return max(grown, 0) / self.seconds


@dataclass(slots=True)
class Rates:
    """Several components, looked at again and again; ``seen`` by name and instance."""

    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    _last: float | None = None

    def look(self, metrics: Iterable[Metrics], now: float) -> None:
        """Take what was found at ``now``, in seconds; rates are there from the second look on."""
        before, self.seen = self.seen, {}
        for each in metrics:
            key = (each.name, each.instance)
            known = before.get(key)
            if known is None and self._last is None:
                counts = Counts(each.functions, each.edges)
                known = Seen(each.time, counts, every=each.every)
            elif known is None:  # it had counted nothing
                known = Seen(-inf, _NO_COUNTS)
            known.update(each, now, self._last if self._last is not None else now)
            self.seen[key] = known
        self._last = now


def function_load(
    component: str, function: str, counts: FunctionCounts, seen: Seen
) -> FunctionLoad:
    """Return the load of one function, or with "" as its name of all that are in ``counts``."""
    before = FunctionCounts()
    if seen.before is not None:
        found = seen.before.functions.get(function) if function else total(seen.before)
        before = found or before
    ended, ended_before = counts.done + counts.failed, before.done + before.failed
    latency = [max(a - b, 0) for a, b in zip(counts.latency, before.latency, strict=True)]
    if not any(latency):
        latency = counts.latency
    return FunctionLoad(
        component=component,
        function=function,
        rate_in=seen.rate(counts.received, before.received),
        rate_out=seen.rate(ended, ended_before),
        queued=counts.queued,
        running=counts.running,
        mean=mean(counts.seconds, ended, before.seconds, ended_before),
        p50=quantile(latency, 0.5),
        p99=quantile(latency, 0.99),
        received=counts.received,
        done=counts.done,
        failed=counts.failed,
        dropped=counts.dropped,
    )


def total(counts: Counts) -> FunctionCounts:
    """Return the counts of all functions together; what hooks pass on is counted already."""
    whole = FunctionCounts()
    for function, each in counts.functions.items():
        whole.queued += each.queued
        whole.running += each.running
        whole.seconds += each.seconds
        if not function.startswith("%"):
            whole.received += each.received
            whole.done += each.done
            whole.failed += each.failed
            whole.dropped += each.dropped
            whole.latency = [a + b for a, b in zip(whole.latency, each.latency, strict=True)]
    return whole


def mean(seconds: float, n: int, seconds_before: float, n_before: int) -> float | None:
    """Return the mean of what is new, or of all if nothing is; None: there is nothing."""
    if n > n_before:
        return max(seconds - seconds_before, 0.0) / (n - n_before)
    return seconds / n if n else None


def quantile(latency: Sequence[int], q: float) -> float | None:
    """Return the seconds below which the part ``q`` of a histogram is, about; None: it is empty."""
    left = q * sum(latency)
    if not left:
        return None
    found = 0.0
    for (lower, upper), n in zip(bounds(), latency, strict=True):
        if not n:
            continue
        found = lower if upper == inf else lower + (upper - lower) * min(left / n, 1.0)
        if left <= n:
            break
        left -= n
    return found
