"""How much a cluster has to do: what components counted, as rates, and what processes use.

Rates are differences of two snapshots, by the times of these. A component that is idle writes none:
what is new in the next one happened after it was last found idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Final

from palm.clusters.status import ComponentStatus, ProcessStatus, Status
from palm.clusters.usage import Usage
from palm.protocol.meter import Counts, EdgeCounts, FunctionCounts, bounds
from palm.runtime.folders import Folders
from palm.runtime.metrics import EVERY, Metrics, read_metrics

if TYPE_CHECKING:
    import pandas

__all__ = ["FIRST", "ComponentLoad", "EdgeLoad", "FunctionLoad", "Load", "Observer", "quantile"]

#: Seconds by which a snapshot may be late: the component is busy.
LATE: Final = 0.5

#: Least seconds between two snapshots that a rate can be told of.
LEAST: Final = 0.01

#: Seconds between the first two looks within which a component that is busy writes a snapshot.
FIRST: Final = EVERY + 0.2

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


@dataclass(frozen=True, slots=True)
class EdgeLoad:
    """Messages from one component to the next; ``role`` is that of the other end.

    ``rate`` is in messages, ``throughput`` in bytes a second, ``mean`` the seconds that the
    functions of a worker took.
    """

    source: str
    target: str
    role: str
    rate: float | None
    throughput: float | None
    open: int
    leases: int
    mean: float | None
    messages: int
    bytes: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class ComponentLoad:
    """One process; ``cpu`` is in percent of a processor, ``rss`` its memory in bytes.

    The rest is as in `FunctionLoad`, of all its functions together.
    """

    name: str
    component: str
    role: str
    state: str
    pid: int | None
    cpu: float | None = None
    rss: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    queued: int = 0
    running: int = 0
    mean: float | None = None
    p50: float | None = None
    p99: float | None = None
    received: int = 0
    done: int = 0
    failed: int = 0
    functions: tuple[FunctionLoad, ...] = ()
    edges: tuple[EdgeLoad, ...] = ()
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """A cluster at one moment; ``time`` is in seconds since the epoch."""

    cluster: str
    time: float
    components: tuple[ComponentLoad, ...] = ()

    @property
    def functions(self) -> list[FunctionLoad]:
        """Of all components."""
        return [function for each in self.components for function in each.functions]

    @property
    def edges(self) -> list[EdgeLoad]:
        """Of all components."""
        return [edge for each in self.components for edge in each.edges]

    def to_frame(self, what: str = "components") -> pandas.DataFrame:
        """One row each of the "components", "functions" or "edges"."""
        import pandas as pd  # heavy, and only here

        kind, index = _FRAMES[what]
        rows = [asdict(each) for each in getattr(self, what)]
        columns = [name for name in kind.__dataclass_fields__ if name not in ("functions", "edges")]
        frame = pd.DataFrame(rows, columns=columns)
        for name in ("pid", "rss"):
            if name in frame:
                frame[name] = frame[name].astype("Int64")
        for name in _MEASURED:
            if name in frame:
                frame[name] = frame[name].astype("float64")
        return frame.set_index(index)


_FRAMES: Final[dict[str, tuple[type[Any], str | list[str]]]] = {
    "components": (ComponentLoad, "name"),
    "functions": (FunctionLoad, ["component", "function"]),
    "edges": (EdgeLoad, ["source", "target"]),
}
_MEASURED: Final = ("cpu", "rate_in", "rate_out", "rate", "throughput", "mean", "p50", "p99")


@dataclass(slots=True)
class _Seen:
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
class Observer:
    """Looks at the components of a cluster on this machine, again and again."""

    folders: Folders
    clock: Callable[[], float] = time.time
    _last: float | None = None
    _seen: dict[tuple[str, str], _Seen] = field(default_factory=dict)
    _usage: Usage = field(default_factory=Usage)
    #: Names under which components are listed, by their own.
    _shown: dict[str, str] = field(default_factory=dict)

    def look(self, status: Status) -> Load:
        """Return the load of what there is; rates are there from the second look on."""
        now = self.clock()
        metrics = read_metrics(self.folders)
        self._update(metrics, now)
        pids = [p.pid for each in status.components for p in each.processes if p.pid is not None]
        self._usage.look(pids, now)
        found: dict[str, list[Metrics]] = {}
        for each in metrics:
            found.setdefault(each.instance, []).append(each)
        self._shown = _shown(status, found)
        rows = [
            row
            for component in status.components
            for process in component.lines
            for row in self._rows(component, process, found.get(process.instance, []))
        ]
        self._last = now
        return Load(status.cluster, now, tuple(rows))

    def _update(self, metrics: Iterable[Metrics], now: float) -> None:
        seen, self._seen = self._seen, {}
        for each in metrics:
            key = (each.name, each.instance)
            known = seen.get(key)
            if known is None and self._last is None:
                counts = Counts(each.functions, each.edges)
                known = _Seen(each.time, counts, every=each.every)
            elif known is None:  # it had counted nothing
                known = _Seen(-inf, _NO_COUNTS)
            known.update(each, now, self._last if self._last is not None else now)
            self._seen[key] = known

    def _rows(
        self, component: ComponentStatus, process: ProcessStatus, metrics: Sequence[Metrics]
    ) -> list[ComponentLoad]:
        """Return a row for a process, or one each if it has several components."""
        if not metrics:
            return [self._row(component, process, process.name, None)]
        return [
            self._row(
                component,
                process,
                self._shown[each.name],
                self._seen[each.name, each.instance],
            )
            for each in metrics
        ]

    def _row(
        self, component: ComponentStatus, process: ProcessStatus, name: str, seen: _Seen | None
    ) -> ComponentLoad:
        used = self._usage.of(process.pid)
        row = ComponentLoad(
            name=name,
            component=component.name,
            role=component.role,
            state=process.state,
            pid=process.pid,
            cpu=used.cpu if used is not None else None,
            rss=used.rss if used is not None else None,
        )
        if seen is None:
            idle = None if self._last is None or used is None else 0.0
            return replace(row, rate_in=idle, rate_out=idle)
        functions = tuple(
            _function_load(name, function, counts, seen)
            for function, counts in sorted(seen.counts.functions.items())
        )
        whole = _function_load(name, "", _sum(seen.counts), seen)
        return replace(
            row,
            rate_in=whole.rate_in,
            rate_out=whole.rate_out,
            queued=whole.queued,
            running=whole.running,
            mean=whole.mean,
            p50=whole.p50,
            p99=whole.p99,
            received=whole.received,
            done=whole.done,
            failed=whole.failed,
            dropped=whole.dropped,
            functions=functions,
            edges=_edge_loads(seen, self._shown),
        )


def _function_load(
    component: str, function: str, counts: FunctionCounts, seen: _Seen
) -> FunctionLoad:
    before = FunctionCounts()
    if seen.before is not None:
        found = seen.before.functions.get(function) if function else _sum(seen.before)
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
        mean=_mean(counts.seconds, ended, before.seconds, ended_before),
        p50=quantile(latency, 0.5),
        p99=quantile(latency, 0.99),
        received=counts.received,
        done=counts.done,
        failed=counts.failed,
        dropped=counts.dropped,
    )


def _shown(status: Status, found: Mapping[str, Sequence[Metrics]]) -> dict[str, str]:
    """Return the name of its process of each component, or its own where they are several."""
    shown = {}
    for component in status.components:
        for process in component.processes:
            metrics = found.get(process.instance, ())
            for each in metrics:
                shown[each.name] = each.name if len(metrics) > 1 else process.name
    return shown


def _edge_loads(seen: _Seen, shown: Mapping[str, str]) -> tuple[EdgeLoad, ...]:
    edges = seen.before.edges if seen.before is not None else []
    before = {(each.source, each.target, each.role): each for each in edges}
    return tuple(
        replace(
            _edge_load(each, before.get((each.source, each.target, each.role), EdgeCounts()), seen),
            source=shown.get(each.source, each.source),
            target=shown.get(each.target, each.target),
        )
        for each in seen.counts.edges
    )


def _edge_load(edge: EdgeCounts, before: EdgeCounts, seen: _Seen) -> EdgeLoad:
    if edge.messages < before.messages:  # it was started anew
        before = EdgeCounts()
    ended, ended_before = edge.done + edge.failed, before.done + before.failed
    return EdgeLoad(
        source=edge.source,
        target=edge.target,
        role=edge.role,
        rate=seen.rate(edge.messages, before.messages),
        throughput=seen.rate(edge.size, before.size),
        open=edge.open,
        leases=edge.leases,
        mean=_mean(edge.seconds, ended, before.seconds, ended_before) if edge.seconds else None,
        messages=edge.messages,
        bytes=edge.size,
        done=edge.done,
        failed=edge.failed,
    )


def _sum(counts: Counts) -> FunctionCounts:
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


def _mean(seconds: float, n: int, seconds_before: float, n_before: int) -> float | None:
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
