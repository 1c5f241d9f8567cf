"""How much a cluster has to do: what components counted, as rates, and what processes use.

Rates are differences of two snapshots, by the times of these. A component that is idle writes none:
what is new in the next one happened after it was last found idle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from palm.clusters.status import ComponentStatus, ProcessStatus, Status
from palm.protocol.meter import EdgeCounts
from palm.runtime.folders import Folders
from palm.runtime.metrics import EVERY, Metrics, read_metrics
from palm.runtime.rates import FunctionLoad, Rates, Seen, function_load, mean, quantile, total
from palm.runtime.usage import Usage

if TYPE_CHECKING:
    import pandas

__all__ = ["FIRST", "ComponentLoad", "EdgeLoad", "FunctionLoad", "Load", "Observer", "quantile"]

#: Seconds between the first two looks within which a component that is busy writes a snapshot.
FIRST: Final = EVERY + 0.2


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
class Observer:
    """Looks at the components of a cluster on this machine, again and again."""

    folders: Folders
    clock: Callable[[], float] = time.time
    _last: float | None = None
    _rates: Rates = field(default_factory=Rates)
    _usage: Usage = field(default_factory=Usage)
    #: Names under which components are listed, by their own.
    _shown: dict[str, str] = field(default_factory=dict)

    def look(self, status: Status) -> Load:
        """Return the load of what there is; rates are there from the second look on."""
        now = self.clock()
        metrics = read_metrics(self.folders)
        self._rates.look(metrics, now)
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
                self._rates.seen[each.name, each.instance],
            )
            for each in metrics
        ]

    def _row(
        self, component: ComponentStatus, process: ProcessStatus, name: str, seen: Seen | None
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
            function_load(name, function, counts, seen)
            for function, counts in sorted(seen.counts.functions.items())
        )
        whole = function_load(name, "", total(seen.counts), seen)
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


def _shown(status: Status, found: Mapping[str, Sequence[Metrics]]) -> dict[str, str]:
    """Return the name of its process of each component, or its own where they are several."""
    shown = {}
    for component in status.components:
        for process in component.processes:
            metrics = found.get(process.instance, ())
            for each in metrics:
                shown[each.name] = each.name if len(metrics) > 1 else process.name
    return shown


def _edge_loads(seen: Seen, shown: Mapping[str, str]) -> tuple[EdgeLoad, ...]:
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


def _edge_load(edge: EdgeCounts, before: EdgeCounts, seen: Seen) -> EdgeLoad:
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
        mean=mean(edge.seconds, ended, before.seconds, ended_before) if edge.seconds else None,
        messages=edge.messages,
        bytes=edge.size,
        done=edge.done,
        failed=edge.failed,
    )
