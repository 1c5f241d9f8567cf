"""Output of components as it comes, until they are over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

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


def follow(
    cluster: Cluster,
    names: str | Sequence[str],
    since: str,
    grep: str | None = None,
    stream: str | None = None,
) -> Iterator[Line]:
    """Yield the lines that components, or processes of theirs, write after a cursor.

    Ends when all of them are over and all that they wrote was yielded; of lines in which the
    regular expression ``grep`` is found, if one is given. No names: all of the cluster, until it
    has ended. What the registry leaves out, since it comes faster than anybody reads, is told in
    a line.
    """
    pattern = compile_pattern(grep)
    known = cluster.registry.components(cluster.name)
    given = [names] if isinstance(names, str) else names
    for line in _all(cluster, [_Followed(name, _owner(known, name)) for name in given], since):
        wanted = stream in (None, line.stream)
        if wanted and (pattern is None or pattern.search(line.text)):
            yield line


class _Followed(NamedTuple):
    """A component, or a process, whose lines are wanted."""

    name: str
    owner: str

    def is_over(self, status: schema.ClusterStatus) -> bool:
        return _is_over(_component(status, self.owner), self.name)


def _all(cluster: Cluster, wanted: Sequence[_Followed], since: str) -> Iterator[Line]:
    reader = LineReader()
    cursor = since
    owners = sorted({each.owner for each in wanted})
    with cluster.live(("status", "output"), since, components=owners) as feed:
        for frame in feed:
            cursor = frame.cursor
            if frame.topic == "output":
                yield from _lines(reader, frame.data, wanted)
            elif frame.topic == "skipped":
                yield _skipped(", ".join(each.name for each in wanted) or "palm", frame.data)
            elif frame.topic == "status" and _ends(frame.data, wanted):
                break
    yield from _last_words(cluster, owners, wanted, reader, cursor)


def _ends(status: schema.ClusterStatus, wanted: Sequence[_Followed]) -> bool:
    return status.state == "ended" or (
        bool(wanted) and all(each.is_over(status) for each in wanted)
    )


def _last_words(
    cluster: Cluster,
    owners: Sequence[str],
    wanted: Sequence[_Followed],
    reader: LineReader,
    cursor: str,
) -> Iterator[Line]:
    deadline = time.monotonic() + _LAST_WORDS
    status = cluster.registry.cluster_status(cluster.name)
    replicas = [
        replica
        for component in status.components
        for replica in component.replicas
        if _is_wanted(wanted, component.name, replica.name)
    ]
    while True:
        # Looked at first: what is stored by then is in the page.
        complete = all(_is_stored(cluster, replica) for replica in replicas)
        page = cluster.registry.output(cluster.name, owners, cursor=cursor)
        cursor = page.cursor
        yield from _lines(reader, page.records, wanted)
        if not page.more and (complete or time.monotonic() > deadline):
            break
        time.sleep(_POLL)
    for replica in replicas:
        for stream, text in reader.rest(replica.instance):
            yield Line(replica.name, stream, text, time.time(), replica.instance, text)


def _is_wanted(wanted: Sequence[_Followed], component: str, process: str) -> bool:
    return not wanted or any(each.name in (component, process) for each in wanted)


def _owner(components: Sequence[schema.ComponentStatus], name: str) -> str:
    """The component that has the name, or a process of that name."""
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


def _lines(
    reader: LineReader, records: list[schema.OutputRecord], wanted: Sequence[_Followed]
) -> Iterator[Line]:
    for record in records:
        for line in reader.read(record):
            if _is_wanted(wanted, record.component, record.name):
                yield line


def _skipped(name: str, skipped: schema.Skipped) -> Line:
    told = (
        "earlier output is gone"
        if skipped.reason == "dropped"
        else f"{skipped.size:,} bytes skipped"
    )
    return Line(name, "stderr", f"... {told} ...", time.time())
