"""Output of a component as it comes, until the component is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palm.clusters.output import Line, LineReader
from palm.registry_api import schema
from palm.runner.spool import compile_pattern

if TYPE_CHECKING:
    from palm.clusters.cluster import Cluster

__all__ = ["follow"]

#: Seconds for the last words of a component that is over.
_LAST_WORDS = 5.0
_POLL = 0.02
_OVER = ("stopped", "failed")


def follow(cluster: Cluster, name: str, since: str, grep: str | None = None) -> Iterator[Line]:
    """Yield the lines that a component, or one of its processes, writes after a cursor.

    Ends when it is over and all that it wrote was yielded; of lines in which the regular
    expression ``grep`` is found, if one is given. What the registry leaves out, since it comes
    faster than anybody reads, is told in a line.
    """
    pattern = compile_pattern(grep)
    for line in _all(cluster, name, since):
        if pattern is None or pattern.search(line.text):
            yield line


def _all(cluster: Cluster, name: str, since: str) -> Iterator[Line]:
    reader = LineReader()
    owner = _owner(cluster, name)
    cursor = since
    with cluster.live(("status", "output"), since, components=[owner]) as feed:
        for frame in feed:
            cursor = frame.cursor
            if frame.topic == "output":
                yield from _lines(reader, frame.data, name)
            elif frame.topic == "skipped":
                yield _skipped(name, frame.data)
            elif frame.topic == "status" and _is_over(_component(frame.data, owner), name):
                break
    yield from _last_words(cluster, owner, name, reader, cursor)


def _last_words(
    cluster: Cluster, owner: str, name: str, reader: LineReader, cursor: str
) -> Iterator[Line]:
    deadline = time.monotonic() + _LAST_WORDS
    replicas = _replicas(_component(cluster.registry.cluster_status(cluster.name), owner), name)
    while True:
        # Looked at first: what is stored by then is in the page.
        complete = all(_is_stored(cluster, replica) for replica in replicas)
        page = cluster.registry.output(cluster.name, owner, cursor=cursor)
        cursor = page.cursor
        yield from _lines(reader, page.records, name)
        if not page.more and (complete or time.monotonic() > deadline):
            break
        time.sleep(_POLL)
    for replica in replicas:
        for stream, text in reader.rest(replica.instance):
            yield Line(replica.name, stream, text, time.time(), replica.instance)


def _owner(cluster: Cluster, name: str) -> str:
    """The component that has the name, or a process of that name."""
    components = cluster.registry.components(cluster.name)
    for component in components:
        if component.name != name and any(r.name == name for r in component.replicas):
            return component.name
    return name


def _component(status: schema.ClusterStatus, name: str) -> schema.ComponentStatus | None:
    return next((each for each in status.components if each.name == name), None)


def _replicas(component: schema.ComponentStatus | None, name: str) -> list[schema.ReplicaStatus]:
    if component is None:
        return []
    return [r for r in component.replicas if name in (component.name, r.name)]


def _is_over(component: schema.ComponentStatus | None, name: str) -> bool:
    """Whether nothing will be written any more; what is about to start again is not over."""
    if component is None:
        return True
    replicas = _replicas(component, name)
    if any(replica.state not in _OVER for replica in replicas):
        return False
    # One that is wanted, and of which nothing is known yet, is about to start.
    return bool(replicas) or not component.desired


def _is_stored(cluster: Cluster, replica: schema.ReplicaStatus) -> bool:
    for stream, size in replica.written.items():
        page = cluster.registry.output(cluster.name, name=replica.name, stream=stream, lines=1)
        ends = [record.end for record in page.records if record.instance == replica.instance]
        if size > max(ends, default=0):
            return False
    return True


def _lines(reader: LineReader, records: list[schema.OutputRecord], name: str) -> Iterator[Line]:
    for record in records:
        for line in reader.read(record):
            if name in (record.component, record.name):
                yield line


def _skipped(name: str, skipped: schema.Skipped) -> Line:
    told = (
        "earlier output is gone"
        if skipped.reason == "dropped"
        else f"{skipped.size:,} bytes skipped"
    )
    return Line(name, "stderr", f"... {told} ...", time.time())
