"""Output and events: rows that are only ever added, with ids that are cursors."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, insert, select, update

from palm.registry_api.schema import Event, OutputPiece, Stream
from palm_registry.models import events, instances, output, streams
from palm_registry.store.database import fetch_all

__all__ = [
    "Segment",
    "Selection",
    "add_event",
    "add_segment",
    "count_after",
    "count_events",
    "event_before_last",
    "events_after",
    "get_stream",
    "last_event",
    "last_segment",
    "segment_ids",
    "segments",
    "set_durable",
]


class Segment(msgspec.Struct, kw_only=True):
    """One stored piece of output."""

    id: int
    component: str
    replica: int
    name: str
    instance: str
    stream: Stream
    offset: int
    time: float
    data: bytes


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


def get_stream(connection: Connection, key: str, piece: OutputPiece, now: float) -> tuple[int, int]:
    """Return the number of an instance and how far its stream is stored; new ones are added."""
    same = (instances.c.cluster == key, instances.c.instance == piece.instance)
    number = connection.scalar(select(instances.c.id).where(*same))
    if number is None:
        values = {
            "cluster": key,
            "instance": piece.instance,
            "component": piece.component,
            "replica": piece.replica,
            "name": piece.name or piece.component,
            "created": now,
        }
        added = connection.execute(insert(instances).values(**values)).inserted_primary_key
        number = int(added[0]) if added else 0
    of = (streams.c.instance == number, streams.c.stream == piece.stream)
    durable = connection.scalar(select(streams.c.durable).where(*of))
    if durable is None:
        durable = 0
        connection.execute(
            insert(streams).values(instance=number, stream=piece.stream, durable=durable)
        )
    return int(number), int(durable)


def add_segment(
    connection: Connection,
    key: str,
    number: int,
    stream: str,
    offset: int,
    time: float,
    data: bytes,
) -> None:
    """Store a piece of output."""
    values = {"offset": offset, "size": len(data), "time": time, "data": data}
    connection.execute(insert(output).values(cluster=key, instance=number, stream=stream, **values))


def set_durable(connection: Connection, number: int, stream: str, durable: int) -> None:
    """Say how far a stream is stored."""
    same = (streams.c.instance == number, streams.c.stream == stream)
    connection.execute(update(streams).where(*same).values(durable=durable))


def last_segment(connection: Connection) -> int:
    """Return the newest id of all output."""
    return int(connection.scalar(select(func.max(output.c.id))) or 0)


def last_event(connection: Connection) -> int:
    """Return the newest number of all events."""
    return int(connection.scalar(select(func.max(events.c.seq))) or 0)


def count_after(connection: Connection, selection: Selection, after: int) -> tuple[int, int]:
    """Return how many segments, and bytes, there are after an id."""
    query = select(func.count(), func.coalesce(func.sum(output.c.size), 0))
    query = _selected(query.select_from(output), selection).where(output.c.id > after)
    count, size = connection.execute(query).one()
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
    query = _selected(select(output.c.id, output.c.size), selection).where(output.c.id > after)
    if before is not None:
        query = query.where(output.c.id < before)
    query = query.order_by(output.c.id.desc() if newest else output.c.id).limit(limit)
    return [(int(row.id), int(row.size)) for row in connection.execute(query)]


def segments(connection: Connection, selection: Selection, first: int, last: int) -> list[Segment]:
    """Return the segments from one id to another, in order."""
    query: Select[Any] = select(
        output.c.id,
        instances.c.component,
        instances.c.replica,
        instances.c.name,
        instances.c.instance,
        output.c.stream,
        output.c.offset,
        output.c.time,
        output.c.data,
    ).join(instances, instances.c.id == output.c.instance)
    query = _filtered(query, selection).where(output.c.id >= first, output.c.id <= last)
    return [Segment(**row) for row in fetch_all(connection, query.order_by(output.c.id))]


def _selected(query: Select[Any], selection: Selection) -> Select[Any]:
    return _filtered(query.join(instances, instances.c.id == output.c.instance), selection)


def _filtered(query: Select[Any], selection: Selection) -> Select[Any]:
    query = query.where(output.c.cluster == selection.cluster)
    if selection.components:
        query = query.where(instances.c.component.in_(selection.components))
    if selection.name:
        query = query.where(instances.c.name == selection.name)
    if selection.instance:
        query = query.where(instances.c.instance == selection.instance)
    if selection.replica is not None:
        query = query.where(instances.c.replica == selection.replica)
    if selection.stream:
        query = query.where(output.c.stream == selection.stream)
    if selection.since is not None:
        query = query.where(output.c.time >= selection.since)
    if selection.until is not None:
        query = query.where(output.c.time < selection.until)
    return query


def add_event(connection: Connection, key: str, event: Event) -> None:
    """Store an event; its number is given here."""
    values = msgspec.structs.asdict(event)
    del values["seq"]
    connection.execute(insert(events).values(cluster=key, **values))


def events_after(
    connection: Connection, key: str, after: int, limit: int, since: float | None = None
) -> list[Event]:
    """Return events after a number, in order."""
    query = select(events).where(events.c.cluster == key, events.c.seq > after)
    if since is not None:
        query = query.where(events.c.time >= since)
    rows = fetch_all(connection, query.order_by(events.c.seq).limit(limit))
    for row in rows:
        del row["cluster"]
    return [Event(**row) for row in rows]


def event_before_last(connection: Connection, key: str, count: int) -> int:
    """Return the number of the event before the last `count` of a cluster, 0 if there is none."""
    query = select(events.c.seq).where(events.c.cluster == key)
    query = query.order_by(events.c.seq.desc()).offset(count).limit(1)
    return int(connection.scalar(query) or 0)


def count_events(connection: Connection, key: str, after: int, last: int) -> int:
    """Return how many events of a cluster there are after one number, up to another."""
    query = select(func.count()).select_from(events).where(events.c.cluster == key)
    return int(connection.scalar(query.where(events.c.seq > after, events.c.seq <= last)) or 0)
