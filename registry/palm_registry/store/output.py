"""Output: rows that are only ever added, or dropped as the oldest, with ids that are cursors.

A row says where a piece of output belongs, and another has its bytes: what looks for rows reads
few pages. Rows are found by cluster, or by cluster and component, in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, insert, select, update

from palm.registry_api.schema import OutputPiece, Stream
from palm_registry.models import instances, output, output_data, streams
from palm_registry.store.database import fetch_all

__all__ = [
    "Fresh",
    "Segment",
    "Selection",
    "StreamState",
    "add_segments",
    "count_after",
    "get_streams",
    "goes_on",
    "line_before",
    "last_segment",
    "last_stored",
    "segment_ids",
    "segments",
    "set_durable",
]


class Segment(msgspec.Struct, kw_only=True):
    """One stored piece of output; or, with no data, ``lost`` bytes that are not there."""

    id: int
    component: str
    replica: int
    name: str
    instance: str
    stream: Stream
    offset: int
    time: float
    data: bytes
    lost: int = 0
    reason: str = ""

    @property
    def end(self) -> int:
        """The offset of what follows in its stream."""
        return self.offset + self.lost + len(self.data)


class Fresh(msgspec.Struct, kw_only=True):
    """A piece that is about to be stored: for the stream of instance ``number``."""

    number: int
    component: str
    stream: Stream
    offset: int
    time: float
    stored: float
    data: bytes
    lost: int = 0
    reason: str = ""


class Selection(msgspec.Struct, kw_only=True, frozen=True):
    """Which output of a cluster is meant; empty fields select all."""

    cluster: str
    components: tuple[str, ...] = ()
    name: str = ""
    instance: str = ""
    replica: int | None = None
    stream: str = ""
    since: float | None = None
    until: float | None = None

    def has(self, segment: Segment) -> bool:
        """Say whether a piece of the cluster's output is meant."""
        return (
            (not self.components or segment.component in self.components)
            and self.name in ("", segment.name)
            and self.instance in ("", segment.instance)
            and self.replica in (None, segment.replica)
            and self.stream in ("", segment.stream)
            and (self.since is None or segment.time >= self.since)
            and (self.until is None or segment.time < self.until)
        )


class StreamState(msgspec.Struct):
    """How far a stream of the instance ``number`` is stored."""

    number: int
    durable: int


#: Instance and stream.
StreamKey = tuple[str, str]


def get_streams(
    connection: Connection, key: str, pieces: Sequence[OutputPiece], now: float
) -> dict[StreamKey, StreamState]:
    """Return how far the streams of pieces are stored; new ones are added."""
    names = {piece.instance: piece for piece in pieces}
    numbers = _instances(connection, key, names, now)
    query = select(streams).where(streams.c.instance.in_(numbers.values()))
    known = {(row.instance, row.stream): row.durable for row in connection.execute(query)}
    wanted = dict.fromkeys((piece.instance, piece.stream) for piece in pieces)
    missing = [
        {"instance": numbers[instance], "stream": stream, "durable": 0, "dropped": 0}
        for instance, stream in wanted
        if (numbers[instance], stream) not in known
    ]
    if missing:
        connection.execute(insert(streams), missing)
    return {
        (instance, stream): StreamState(
            numbers[instance], known.get((numbers[instance], stream), 0)
        )
        for instance, stream in wanted
    }


def _instances(
    connection: Connection, key: str, pieces: Mapping[str, OutputPiece], now: float
) -> dict[str, int]:
    """Return the numbers of instances; new ones are added as their pieces say."""
    same = (instances.c.cluster == key, instances.c.instance.in_(pieces))
    query = select(instances.c.instance, instances.c.id).where(*same)
    missing = pieces.keys() - {row.instance for row in connection.execute(query)}
    if missing:
        values = [
            {
                "cluster": key,
                "instance": name,
                "component": pieces[name].component,
                "replica": pieces[name].replica,
                "name": pieces[name].name or pieces[name].component,
                "created": now,
            }
            for name in pieces
            if name in missing
        ]
        connection.execute(insert(instances), values)
    return {row.instance: int(row.id) for row in connection.execute(query)}


def add_segments(connection: Connection, key: str, fresh: Sequence[Fresh]) -> list[int]:
    """Store pieces in their order; return their ids."""
    if not fresh:
        return []
    query = insert(output).returning(output.c.id, sort_by_parameter_order=True)
    found = connection.execute(query, [_row(key, piece) for piece in fresh])
    ids = [int(row.id) for row in found]
    data = [{"id": id_, "data": piece.data} for id_, piece in zip(ids, fresh, strict=True)]
    connection.execute(insert(output_data), data)
    return ids


def _row(key: str, piece: Fresh) -> dict[str, Any]:
    return {
        "cluster": key,
        "component": piece.component,
        "instance": piece.number,
        "stream": piece.stream,
        "offset": piece.offset,
        "size": len(piece.data),
        "time": piece.time,
        "stored": piece.stored,
        "lost": piece.lost,
        "reason": piece.reason,
    }


_DURABLE = (
    update(streams)
    .where(streams.c.instance == bindparam("number"), streams.c.stream == bindparam("name"))
    .values(durable=bindparam("stored"))
)


def set_durable(connection: Connection, found: Mapping[StreamKey, StreamState]) -> None:
    """Say how far streams are stored."""
    connection.execute(
        _DURABLE,
        [
            {"number": state.number, "name": stream, "stored": state.durable}
            for (_, stream), state in found.items()
        ],
    )


def last_segment(connection: Connection, key: str | None = None) -> int:
    """Return the newest id of all output, or of that of one cluster."""
    query = select(func.max(output.c.id))
    if key is not None:
        query = query.where(output.c.cluster == key)
    return int(connection.scalar(query) or 0)


def last_stored(connection: Connection, last: int) -> float:
    """Return when the row of an id was stored, 0 if there is none."""
    return float(connection.scalar(select(output.c.stored).where(output.c.id == last)) or 0.0)


def count_after(connection: Connection, selection: Selection, after: int) -> tuple[int, int]:
    """Return how many segments, and bytes, there are after an id."""
    query = select(func.count(), func.coalesce(func.sum(output.c.size), 0)).select_from(output)
    query = query.where(output.c.cluster == selection.cluster, output.c.id > after)
    if components := _components(connection, selection):
        query = query.where(output.c.component.in_(components))
    count, size = connection.execute(_filtered(query, selection)).one()
    return int(count), int(size)


def segment_ids(
    connection: Connection,
    selection: Selection,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int = 1000,
    newest: bool = False,
) -> list[tuple[int, int]]:
    """Return id and size of segments between two ids, the oldest or the newest first."""
    after = max(after, _before_since(connection, selection))
    query: Select[Any] = select(output.c.id, output.c.size).where(
        output.c.cluster == selection.cluster, output.c.id > after
    )
    if before is not None:
        query = query.where(output.c.id < before)
    query = _filtered(query, selection)
    query = query.order_by(output.c.id.desc() if newest else output.c.id).limit(limit)
    components = _components(connection, selection)
    if components is None:
        return _pairs(connection, query)
    # One by one: a database has to sort what it finds by several components.
    found = [_pairs(connection, query.where(output.c.component == name)) for name in components]
    return list(islice(merge(*found, reverse=newest), limit))


def _pairs(connection: Connection, query: Select[Any]) -> list[tuple[int, int]]:
    return [(int(row.id), int(row.size)) for row in connection.execute(query)]


def segments(connection: Connection, selection: Selection, first: int, last: int) -> list[Segment]:
    """Return the segments from one id to another, in order."""
    query: Select[Any] = (
        select(
            output.c.id,
            instances.c.component,
            instances.c.replica,
            instances.c.name,
            instances.c.instance,
            output.c.stream,
            output.c.offset,
            output.c.time,
            output_data.c.data,
            output.c.lost,
            output.c.reason,
        )
        .join(instances, instances.c.id == output.c.instance)
        .join(output_data, output_data.c.id == output.c.id)
        .where(output.c.cluster == selection.cluster)
        .where(output.c.id >= first, output.c.id <= last)
    )
    if selection.components:
        query = query.where(output.c.component.in_(selection.components))
    query = _filtered(query, selection).order_by(output.c.id)
    return [Segment(**row) for row in fetch_all(connection, query)]


#: One stream, by cluster, instance and name. The statements of it are made once: they are run for
#: each stream of each window that is looked through.
_OF_STREAM = (
    output.c.instance
    == select(instances.c.id)
    .where(instances.c.cluster == bindparam("cluster"))
    .where(instances.c.instance == bindparam("instance"))
    .scalar_subquery(),
    output.c.stream == bindparam("stream"),
)
_AFTER = select(output.c.id).where(
    *_OF_STREAM, output.c.offset == bindparam("end"), output.c.id <= bindparam("newest")
)
_BEFORE = (
    select(output.c.offset, output_data.c.data)
    .join(output_data, output_data.c.id == output.c.id)
    .where(*_OF_STREAM, output.c.offset < bindparam("start"))
    .order_by(output.c.offset.desc())
    .limit(bindparam("limit"))
)
#: Segments before one that are read at once, to see how a line began.
_BEFORE_AT_ONCE = 4


def goes_on(connection: Connection, key: str, part: Segment, newest: int) -> bool:
    """Say whether a stream goes on after a part of it, up to the newest id that counts."""
    values = {"end": part.end, "newest": newest}
    return connection.scalar(_AFTER, _stream(key, part) | values) is not None


def line_before(connection: Connection, key: str, segment: Segment, longest: int) -> bytes:
    """Return how the line began in whose midst a segment begins, b"" if it is too long to tell."""
    begun: bytes = b""
    start, limit = segment.offset, 1
    while True:
        values = _stream(key, segment) | {"start": start, "limit": limit}
        found = connection.execute(_BEFORE, values).all()
        for offset, data in found:
            if offset + len(data) != start:
                return begun  # what was before it is not there
            newline = data.rfind(b"\n") + 1
            begun, start = data[newline:] + begun, offset
            if newline:
                return begun
            if len(begun) >= longest:
                return b""
        if len(found) < limit:
            return begun
        limit = _BEFORE_AT_ONCE


def _stream(key: str, part: Segment) -> dict[str, Any]:
    return {"cluster": key, "instance": part.instance, "stream": part.stream}


def _components(connection: Connection, selection: Selection) -> Iterable[str] | None:
    """The components that a selection is of, None if it is of all."""
    if selection.components:
        return dict.fromkeys(selection.components)
    if not (selection.name or selection.instance):
        return None
    query = select(instances.c.component).distinct().where(*_of_instance(selection))
    return [str(row.component) for row in connection.execute(query)]


def _of_instance(selection: Selection) -> list[Any]:
    found = [instances.c.cluster == selection.cluster]
    if selection.name:
        found.append(instances.c.name == selection.name)
    if selection.instance:
        found.append(instances.c.instance == selection.instance)
    if selection.replica is not None:
        found.append(instances.c.replica == selection.replica)
    return found


def _filtered(query: Select[Any], selection: Selection) -> Select[Any]:
    if selection.name or selection.instance or selection.replica is not None:
        meant = select(instances.c.id).where(*_of_instance(selection))
        query = query.where(output.c.instance.in_(meant))
    if selection.stream:
        query = query.where(output.c.stream == selection.stream)
    if selection.since is not None:
        query = query.where(output.c.time >= selection.since)
    if selection.until is not None:
        query = query.where(output.c.time < selection.until)
    return query


def _before_since(connection: Connection, selection: Selection) -> int:
    """Return an id up to which all output is from before the time that is asked for.

    Nothing is from later than when it was stored, and that only grows: so it is found by halves.
    """
    if selection.since is None:
        return 0
    low, high = 0, last_segment(connection, selection.cluster)
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(
            select(output.c.id, output.c.stored)
            .where(output.c.cluster == selection.cluster, output.c.id > middle)
            .order_by(output.c.id)
            .limit(1)
        ).first()
        if found is None or found.stored >= selection.since:
            high = middle
        else:
            low = int(found.id)
    return low
