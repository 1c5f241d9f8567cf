"""What processes use and do, as their runners sample it: the newest, and a few minutes. No I/O.

It lives in memory only: after a restart of the registry the runners tell it again within seconds.
``now`` is a monotonic clock in seconds, ``time`` is since the epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from palm.registry_api.schema import NodeSamples, Point, Sample, Series

__all__ = ["Beat", "Samples", "sample_every"]

#: Seconds for which points are kept, and least seconds between two of them: samples that come once
#: a second are not always as far apart.
KEPT = 300.0
APART = 0.5
#: Seconds after which the report of a node that sent no other one is forgotten.
STALE = 10.0
#: Points of one series, and of all series of a cluster together.
MAX_POINTS = 300
MAX_CLUSTER_POINTS = 30_000
#: Processes of a cluster; more are left out.
MAX_PROCESSES = 4096
#: Least seconds between two frames for one follower.
FRAME_EVERY = 1.0


#: Nodes that may tell their samples once a second, and the most seconds between those of more: a
#: report of which the next one is late is not stale by then.
NODES_A_SECOND = 250
SLOWEST = 4.0


def sample_every(nodes: int) -> float:
    """Return the seconds between two samples of each of so many nodes: 1, 2 or 4.

    A request takes the registry half a millisecond to a whole one, whatever is in it; without this
    a thousand nodes would take all the time of its only thread that answers.
    """
    every = 1.0
    while every < SLOWEST and nodes > every * NODES_A_SECOND:
        every *= 2
    return every


@dataclass(slots=True)
class _Report:
    """The last report of a node, and when it came."""

    at: float
    bounds: list[float]
    samples: list[Sample]


@dataclass(slots=True)
class _Line:
    """The points of one process, each with the ``now`` of its coming."""

    points: deque[tuple[float, Point]] = field(default_factory=deque)


@dataclass(slots=True)
class _Cluster:
    reports: dict[str, _Report] = field(default_factory=dict)
    #: By node and name of the process: one of each that a report names.
    lines: dict[tuple[str, str], _Line] = field(default_factory=dict)
    #: Points that a line may have.
    most: int = MAX_POINTS

    def names(self, node: str) -> set[str]:
        """The processes that a node has named last."""
        report = self.reports.get(node)
        return set() if report is None else {each.name for each in report.samples}


class Samples:
    """The samples of all clusters; belongs to the event loop."""

    def __init__(self) -> None:
        self._clusters: dict[str, _Cluster] = {}

    def put(self, cluster: str, node: str, report: NodeSamples, now: float, time: float) -> None:
        """Take what a node says: all its processes; what it does not name any more is dropped."""
        found = self._clusters.setdefault(cluster, _Cluster())
        before = found.names(node)
        room = max(MAX_PROCESSES - (len(found.lines) - len(before)), 0)
        samples = [replace(each, node=node) for each in report.samples[:room]]
        found.reports[node] = _Report(now, report.bounds, samples)
        _drop(found, node, before - found.names(node))
        _keep(found, node, samples, now, time)

    def newest(self, cluster: str, nodes: Collection[str], now: float) -> list[Sample]:
        """Return the last samples of these nodes, by name."""
        reports = self._fresh(cluster, nodes, now)
        return sorted((each for r in reports for each in r.samples), key=lambda each: each.name)

    def bounds(self, cluster: str, nodes: Collection[str], now: float) -> list[float]:
        """Return the bounds of the buckets: those that most reports have, all in practice."""
        return max((r.bounds for r in self._fresh(cluster, nodes, now)), key=len, default=[])

    def series(self, cluster: str, nodes: Collection[str], now: float) -> list[Series]:
        """Return what is kept of each process that `newest` names."""
        found = self._clusters.get(cluster, _Cluster())
        return [
            Series(
                name=each.name,
                component=each.component,
                replica=each.replica,
                node=each.node,
                points=[
                    p for at, p in found.lines[each.node, each.name].points if now - at <= KEPT
                ],
            )
            for each in self.newest(cluster, nodes, now)
        ]

    def expire(self, now: float) -> list[str]:
        """Forget reports that are too old; return the clusters that had some."""
        changed = []
        for key, cluster in list(self._clusters.items()):
            old = [name for name, each in cluster.reports.items() if now - each.at > STALE]
            for name in old:
                self._forget(key, name)
            changed += [key] if old else []
        return changed

    def _forget(self, key: str, node: str) -> None:
        cluster = self._clusters[key]
        _drop(cluster, node, cluster.names(node))
        del cluster.reports[node]
        if not cluster.reports:
            del self._clusters[key]

    def _fresh(self, cluster: str, nodes: Collection[str], now: float) -> Iterator[_Report]:
        for node, report in self._clusters.get(cluster, _Cluster()).reports.items():
            if node in nodes and now - report.at <= STALE:
                yield report


def _keep(cluster: _Cluster, node: str, samples: list[Sample], now: float, time: float) -> None:
    """Add a point to the series of each process of a node."""
    here = [cluster.lines.setdefault((node, each.name), _Line()) for each in samples]
    for line, each in zip(here, samples, strict=True):
        if not line.points or now - line.points[-1][0] >= APART:
            line.points.append((now, _point(each, time)))
    most = min(MAX_POINTS, MAX_CLUSTER_POINTS // max(len(cluster.lines), 1))
    # The lines of other nodes need a look only when each may have fewer points than before: a
    # report costs its own part, however many nodes there are.
    for line in cluster.lines.values() if most < cluster.most else here:
        while len(line.points) > most or (line.points and now - line.points[0][0] > KEPT):
            line.points.popleft()
    cluster.most = most


def _drop(cluster: _Cluster, node: str, names: Iterable[str]) -> None:
    for name in names:
        del cluster.lines[node, name]


def _point(sample: Sample, time: float) -> Point:
    return Point(
        time=time,
        cpu=sample.cpu,
        rss=sample.rss,
        rate_in=sample.rate_in,
        rate_out=sample.rate_out,
        queued=sample.queued,
        running=sample.running,
        failed=sample.failed,
        mean=sample.mean,
        p50=sample.p50,
        p99=sample.p99,
    )


class Beat:
    """When one follower of a live feed gets samples: at most so often, and only news.

    ``version`` is that of the topic in a ticket of `palm_registry.feed.Signals`, None for a
    follower that does not want samples.
    """

    def __init__(self) -> None:
        self._seen: int | None = None
        self._next = 0.0

    def take(self, version: int | None, now: float) -> bool:
        """Say whether it is time for a frame; if so, it counts as sent."""
        if version is None or version == self._seen or now < self._next:
            return False
        self._seen, self._next = version, now + FRAME_EVERY
        return True

    def wait(self, version: int | None, now: float) -> float | None:
        """Return the seconds until there will be one, None if nothing is new."""
        if version is None or version == self._seen:
            return None
        return max(self._next - now, 0.0)
