"""What the registry and the components count, in the text format of Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/. Nothing is counted here: `render`
takes a picture of what others have counted, so that it may run in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any

from palm.registry_api.schema import FunctionSample, Sample
from palm_registry.tally import Histogram, Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["CONTENT_TYPE", "MAX_SERIES", "ClusterPicture", "Picture", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Lines of components in one answer; processes beyond are left out, and their number is told.
MAX_SERIES = 50_000

_PROCESS = ("cluster", "component", "replica", "node")
_FUNCTION = (*_PROCESS, "part", "function")
#: Name, meaning, and where it is in a sample.
_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("resident_memory_bytes", "Memory of the process.", "rss"),
    ("threads", "Threads of the process.", "threads"),
    ("open_files", "Files, sockets and pipes that the process has open.", "files"),
    ("sample_timestamp_seconds", "When the process was looked at.", "time"),
)
_COUNTERS: tuple[tuple[str, str, str], ...] = (
    ("cpu_seconds", "Time of processors that the process used.", "cpu_seconds"),
    ("restarts", "Starts after the first one.", "restarts"),
)
_FUNCTION_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("messages_queued", "Messages that wait here.", "queued"),
    ("messages_running", "Messages that are at work.", "running"),
)
_FUNCTION_COUNTERS: tuple[tuple[str, str, str], ...] = (
    ("messages_received", "Messages that came.", "received"),
    ("messages_done", "Messages that had a result.", "done"),
    ("messages_failed", "Messages that failed.", "failed"),
    ("messages_dropped", "Messages that nobody wanted any more.", "dropped"),
    ("function_seconds", "Time that functions took.", "seconds"),
)


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """A cluster at one moment: nodes that are ``alive`` and ``lost``, and its samples."""

    key: str
    state: str
    alive: int = 0
    lost: int = 0
    bounds: Sequence[float] = ()
    samples: Sequence[Sample] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """The registry at one moment; ``waiting`` are writes that the database has not begun."""

    version: str
    tally: Tally
    waiting: int = 0
    clusters: Sequence[ClusterPicture] = ()
    #: How many clusters there are in each state.
    states: Mapping[str, int] = field(default_factory=dict)


def render(picture: Picture) -> bytes:
    """Return the text. The first time takes longer: a library is loaded."""
    from prometheus_client import ProcessCollector, generate_latest  # slow, and few ask

    class Families:
        def collect(self) -> Iterator[Metric]:
            yield from _registry(picture)
            yield from ProcessCollector(registry=None).collect()
            yield from _components(picture.clusters)

    return bytes(generate_latest(Families()))


# ---- the registry itself


def _registry(picture: Picture) -> Iterator[Metric]:
    tally = picture.tally
    requests = [((route, method, str(status)), n)
                for (route, method, status), n in _items(tally.requests)]  # fmt: skip
    states = [((state,), n) for state, n in _items(picture.states)]
    make = _Maker("palm_registry_")
    yield make.gauge("build_info", "What runs.", ("version",), [((picture.version,), 1)])
    labels = ("route", "method", "status")
    yield make.counter("http_requests", "Answers to requests.", labels, requests)
    yield make.histogram(
        "http_request_duration_seconds", "Time to an answer; heartbeats may be held back.",
        ("route", "method"), _items(tally.answers),
    )  # fmt: skip
    plain: list[tuple[Callable[..., Metric], str, str, float]] = [
        (make.gauge, "live_connections", "Live feeds that are open.", tally.live),
        (make.counter, "output_pieces", "Pieces of output that came.", tally.output_pieces),
        (make.counter, "output_bytes", "Output that came.", tally.output_bytes),
        (make.gauge, "database_writes_waiting", "Writes that are not begun.", picture.waiting),
        (make.counter, "database_writes", "Writes that are on disk.", tally.writes),
    ]
    for kind, name, text, value in plain:
        yield kind(name, text, (), [((), value)])
    yield make.histogram(
        "database_commit_seconds", "Time until writes were on disk.", (), [((), tally.commits)]
    )
    yield make.histogram(
        "event_loop_lag_seconds", "How late the registry woke up.", (), [((), tally.lags)]
    )
    yield make.gauge("clusters", "Clusters.", ("state",), states)
    nodes = [((each.key, state), getattr(each, state))
             for each in picture.clusters for state in ("alive", "lost")]  # fmt: skip
    yield make.gauge("nodes", "Machines with a runner.", ("cluster", "state"), nodes)


def _items(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return sorted(mapping.items())


# ---- components


def _components(clusters: Iterable[ClusterPicture]) -> Iterator[Metric]:
    shown, left_out = _within(clusters)
    yield _Maker("palm_registry_").gauge(
        "samples_left_out", "Processes that are not in here: too many.", (), [((), left_out)]
    )
    make = _Maker("palm_component_")
    yield make.gauge(
        "state", "1 for the state that the process is in.", (*_PROCESS, "state"),
        [((*labels, sample.state), 1) for labels, sample, _ in shown],
    )  # fmt: skip
    for kind, table in ((make.gauge, _GAUGES), (make.counter, _COUNTERS)):
        for name, text, where in table:
            values = [(labels, getattr(sample, where)) for labels, sample, _ in shown]
            yield kind(name, text, _PROCESS, [each for each in values if each[1] is not None])
    functions = [
        ((*labels, function.part, function.name), function)
        for labels, sample, _ in shown
        for function in _functions(sample)
    ]
    for kind, table in ((make.gauge, _FUNCTION_GAUGES), (make.counter, _FUNCTION_COUNTERS)):
        for name, text, where in table:
            yield kind(name, text, _FUNCTION, [(k, getattr(f, where)) for k, f in functions])
    latencies = [(labels, _latency(sample, bounds)) for labels, sample, bounds in shown
                 if bounds and len(sample.latency) == len(bounds) + 1]  # fmt: skip
    yield make.histogram(
        "latency_seconds",
        "Time from arrival to outcome; its sum is estimated.",
        _PROCESS,
        latencies,
    )


_Shown = tuple[tuple[str, ...], Sample, Sequence[float]]


def _within(clusters: Iterable[ClusterPicture]) -> tuple[list[_Shown], int]:
    """Return the processes that there is room for, and how many are left out."""
    shown: list[_Shown] = []
    left_out = lines = 0
    for cluster in clusters:
        for each in cluster.samples:
            lines += _lines(each)
            if lines > MAX_SERIES:
                left_out += 1
                continue
            labels = (cluster.key, each.component, str(each.replica), each.node)
            shown.append((labels, each, cluster.bounds))
    return shown, left_out


def _lines(sample: Sample) -> int:
    kinds = len(_FUNCTION_GAUGES) + len(_FUNCTION_COUNTERS)
    fixed = 1 + len(_GAUGES) + len(_COUNTERS) + len(sample.latency) + 2
    return fixed + kinds * len(sample.functions)


def _functions(sample: Sample) -> list[FunctionSample]:
    # Those of hooks are in the table of `palm top`, where it says what they mean.
    return [each for each in sample.functions if not each.name.startswith("%")]


def _latency(sample: Sample, bounds: Sequence[float]) -> Histogram:
    histogram = Histogram(bounds)
    histogram.counts = list(sample.latency)
    # Only the buckets are known: half of their outcomes are taken to be in their lower half.
    lowers, uppers = [0.0, *bounds], [*bounds, *bounds[-1:]]
    middles = [(lower + upper) / 2 for lower, upper in zip(lowers, uppers, strict=True)]
    histogram.sum = sum(n * middle for n, middle in zip(sample.latency, middles, strict=True))
    return histogram


# ---- families


class _Maker:
    """Makes families of one prefix out of labels and values."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def gauge(
        self, name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Any, float]]
    ) -> Metric:
        from prometheus_client.core import GaugeMetricFamily

        return _filled(GaugeMetricFamily(self._prefix + name, text, labels=labels), values)

    def counter(
        self, name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Any, float]]
    ) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        return _filled(CounterMetricFamily(self._prefix + name, text, labels=labels), values)

    def histogram(
        self, name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Any, Histogram]]
    ) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(self._prefix + name, text, labels=labels)
        for keys, histogram in values:
            bounds = [*map(_bound, histogram.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
            family.add_metric(keys, buckets, sum_value=histogram.sum)
        return family


def _filled(family: Any, values: Iterable[tuple[Any, float]]) -> Metric:
    for keys, value in values:
        family.add_metric(keys, value)
    filled: Metric = family
    return filled


def _bound(value: float) -> str:
    return "+Inf" if value == inf else repr(float(value))
