"""The registry's frames as the panel takes them: without what it does not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from palm.clusters import ComponentStatus, Status
from palm.registry_api.schema import (
    ClusterMetrics,
    ClusterStatus,
    EdgeSample,
    Frame,
    OutputRecord,
    ReplicaStatus,
    Sample,
)

__all__ = ["event_frame", "metrics_frame", "output_frame", "parts_of", "size_of", "status_frame"]

_REPLICA = (
    "name", "replica", "node", "state", "pid", "restarts", "exit", "reason", "started",
    "last_lines",
)  # fmt: skip
_SAMPLE = (
    "name", "component", "time", "cpu", "rss", "rate_in", "rate_out", "queued", "running", "done",
    "failed", "mean", "p50", "p99",
)  # fmt: skip
_EDGE = ("source", "target", "role", "rate", "open")


def status_frame(found: ClusterStatus, status: Status) -> dict[str, Any]:
    """How the cluster is; ``status`` is the same with what somebody started in a shell."""
    components = [
        {
            "name": each.name,
            "role": each.role,
            "state": each.state,
            "desired": each.desired,
            "actual": each.actual,
            "done": each.done,
            "reason": each.reason,
            "functions": each.functions,
            "master": each.master,
            "kernel": each.kernel,
            "replicas": [_some(replica, _REPLICA) for replica in each.replicas],
        }
        for each in found.components
    ]
    components += [_elsewhere(each) for each in status.components if not each.own]
    data = {
        "cluster": found.cluster,
        "ready": found.ready,
        "state": found.state,
        "time": found.time,
        "missing": [msgspec.to_builtins(each) for each in found.missing],
        "components": components,
    }
    return {"topic": "status", "cursor": found.cursor, "data": data}


def _elsewhere(status: ComponentStatus) -> dict[str, Any]:
    replicas = [
        ReplicaStatus(
            name=each.name,
            component=status.name,
            state="ready",
            pid=each.pid,
            started=each.started,
        )
        for each in status.processes
    ]
    return {
        "name": status.name,
        "role": status.role,
        "state": status.state,
        "desired": 0,
        "actual": len(replicas),
        "functions": list(status.functions),
        "master": status.master,
        "own": False,
        "replicas": [_some(replica, _REPLICA) for replica in replicas],
    }


def metrics_frame(metrics: ClusterMetrics, cursor: str = "") -> dict[str, Any]:
    """What the processes use and do."""
    data: dict[str, Any] = {
        "cluster": metrics.cluster,
        "time": metrics.time,
        "samples": [_sample(each) for each in metrics.samples],
    }
    if metrics.series:
        data["series"] = [msgspec.to_builtins(each) for each in metrics.series]
    return {"topic": "metrics", "cursor": cursor, "data": data}


def _sample(sample: Sample) -> dict[str, Any]:
    edges = [_edge(each) for each in sample.edges]
    return {**_some(sample, _SAMPLE), **({"edges": edges} if edges else {})}


def _edge(edge: EdgeSample) -> dict[str, Any]:
    return _some(edge, _EDGE)


def event_frame(frame: Frame) -> dict[str, Any]:
    """Something that happened, or what was skipped."""
    data = msgspec.to_builtins(frame.data)
    return {"topic": frame.topic, "cursor": frame.cursor, "data": data}


def output_frame(records: Sequence[OutputRecord]) -> dict[str, Any]:
    """What components wrote."""
    data = [msgspec.to_builtins(record) for record in records]
    return {"topic": "output", "cursor": records[-1].cursor, "data": data}


def size_of(value: Any) -> int:
    """Bytes of a value as it is sent."""
    return len(msgspec.json.encode(value))


def parts_of(record: OutputRecord, most: int) -> Iterator[OutputRecord]:
    """Yield a record in parts of so many bytes at most, each a record by itself.

    They end with lines where that can be, so that they are text, as which they are shortest.
    """
    data = record.raw
    if len(data) <= most:
        yield record
        return
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + most) + 1
        part = data[start : end or start + most]
        yield _part(record, start, part)
        start += len(part)


def _part(record: OutputRecord, start: int, data: bytes) -> OutputRecord:
    offset = record.offset + start
    try:
        return msgspec.structs.replace(record, offset=offset, text=data.decode(), data=None)
    except UnicodeDecodeError:
        return msgspec.structs.replace(record, offset=offset, text=None, data=data)


def _some(value: msgspec.Struct, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of a value, but for those that say nothing."""
    found: Mapping[str, Any] = {name: getattr(value, name) for name in names}
    return {name: each for name, each in found.items() if each is not None and each != ""}
