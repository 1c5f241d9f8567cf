"""Metrics: what processes use, and what their functions did."""

from __future__ import annotations

from typing import Annotated

import msgspec

from palm.registry_api.schema.base import Count, Large, Measure, Value
from palm.registry_api.schema.components import ReplicaState

__all__ = [
    "ClusterMetrics",
    "EdgeSample",
    "FunctionSample",
    "MAX_BUCKETS",
    "MAX_EDGES",
    "MAX_FUNCTIONS",
    "MAX_SAMPLES",
    "NodeSamples",
    "Point",
    "Sample",
    "Series",
]

#: Of one report: samples, functions of each, and buckets of a histogram.
MAX_SAMPLES, MAX_FUNCTIONS, MAX_BUCKETS = 1024, 65, 64
#: Likewise: neighbours of one process that are told.
MAX_EDGES = 64


class _Counted(Value):
    """What was counted since a process started.

    ``received`` messages are ``done``, ``failed``, ``dropped`` or open; of the open ones ``queued``
    wait here and ``running`` are at work. ``seconds`` is the time that functions took. The rates
    are messages a second, ``mean`` is the time that a function takes, ``p50`` and ``p99`` are
    from arrival to outcome, in seconds and of what is new; None: not known yet.
    """

    received: Large = 0
    done: Large = 0
    failed: Large = 0
    dropped: Large = 0
    queued: Large = 0
    running: Large = 0
    seconds: Measure = 0.0
    rate_in: Measure | None = None
    rate_out: Measure | None = None
    mean: Measure | None = None
    p50: Measure | None = None
    p99: Measure | None = None


class FunctionSample(_Counted, kw_only=True):
    """What a component has counted of one function.

    ``part`` names the component where a process has several.
    """

    name: Annotated[str, msgspec.Meta(max_length=200)]
    part: Annotated[str, msgspec.Meta(max_length=64)] = ""


class EdgeSample(Value):
    """Messages from one component or process to the next: to a worker, or to a later stage.

    ``role`` is that of the end that did not count them: "client", "worker", "stage", "stage
    before". ``rate`` is messages a second, None: not known yet; ``open`` have no outcome.
    """

    source: Annotated[str, msgspec.Meta(max_length=200)]
    target: Annotated[str, msgspec.Meta(max_length=200)]
    role: Annotated[str, msgspec.Meta(max_length=32)] = ""
    rate: Measure | None = None
    messages: Large = 0
    open: Large = 0


class Sample(_Counted, kw_only=True):
    """One process at one ``time``: what it uses, and what its functions did, all together.

    ``cpu`` is in percent of a processor, ``cpu_seconds`` since its start, ``rss`` in bytes,
    ``files`` counts all that is open, sockets too; None: not known. ``latency`` counts outcomes by
    the time since arrival, in the buckets of `ClusterMetrics`. ``functions`` are those with most
    messages; others are counted together as "(others)". ``edges`` are its busiest neighbours.
    """

    name: str
    component: str
    replica: Count = 0
    node: str = ""
    instance: Annotated[str, msgspec.Meta(max_length=128)] = ""
    state: ReplicaState = "ready"
    pid: Count | None = None
    time: Measure = 0.0
    cpu: Measure | None = None
    cpu_seconds: Measure | None = None
    rss: Large | None = None
    threads: Count | None = None
    files: Count | None = None
    restarts: Count = 0
    latency: Annotated[list[Large], msgspec.Meta(max_length=MAX_BUCKETS)] = []
    functions: Annotated[list[FunctionSample], msgspec.Meta(max_length=MAX_FUNCTIONS)] = []
    edges: Annotated[list[EdgeSample], msgspec.Meta(max_length=MAX_EDGES)] = []


class NodeSamples(Value):
    """POST .../nodes/{id}/metrics: all processes of a node as they are now.

    ``session`` is that of the heartbeats. ``bounds`` are the upper bounds, in seconds, of the
    buckets of each ``latency``; the last bucket has none.
    """

    session: str = ""
    bounds: Annotated[list[Measure], msgspec.Meta(max_length=MAX_BUCKETS)] = []
    samples: Annotated[list[Sample], msgspec.Meta(max_length=MAX_SAMPLES)] = []


class Point(Value):
    """One sample of a series: the numbers that make a curve."""

    time: float
    cpu: float | None = None
    rss: int | None = None
    rate_in: float | None = None
    rate_out: float | None = None
    queued: int = 0
    running: int = 0
    failed: int = 0
    mean: float | None = None
    p50: float | None = None
    p99: float | None = None


class Series(Value):
    """What was kept of one process, oldest first."""

    name: str
    component: str
    replica: int = 0
    node: str = ""
    points: list[Point] = []


class ClusterMetrics(Value):
    """GET .../metrics: the newest sample of each process; with ``history=1`` the last minutes too.

    It is kept in memory only. ``bounds`` are those of `NodeSamples`.
    """

    cluster: str
    time: float
    bounds: list[float] = []
    samples: list[Sample] = []
    series: list[Series] = []
