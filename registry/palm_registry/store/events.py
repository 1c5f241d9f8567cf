"""Events: rows that are only ever added, with numbers that are cursors."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, func, insert, or_, select

from palm.registry_api.schema import Event
from palm_registry.models import events
from palm_registry.store.database import fetch_all

__all__ = [
    "add_event",
    "count_events",
    "drop_events",
    "event_before_last",
    "events_after",
    "last_event",
    "latest_events",
]


def last_event(connection: Connection) -> int:
    """Return the newest number of all events."""
    return int(connection.scalar(select(func.max(events.c.seq))) or 0)


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


def latest_events(
    connection: Connection, key: str, before: int | None, limit: int, component: str, kind: str
) -> list[Event]:
    """Return the last events before a number, in order: of a component, and of a kind, if given.

    "component" is the kind of "component.ready", too.
    """
    query = select(events).where(events.c.cluster == key)
    if before is not None:
        query = query.where(events.c.seq < before)
    if component:
        query = query.where(events.c.component == component)
    if kind:
        within = events.c.kind.startswith(f"{kind}.", autoescape=True)
        query = query.where(or_(events.c.kind == kind, within))
    rows = fetch_all(connection, query.order_by(events.c.seq.desc()).limit(limit))
    for row in rows:
        del row["cluster"]
    return [Event(**row) for row in reversed(rows)]


def event_before_last(connection: Connection, key: str, count: int) -> int:
    """Return the number of the event before the last `count` of a cluster, 0 if there is none."""
    query = select(events.c.seq).where(events.c.cluster == key)
    query = query.order_by(events.c.seq.desc()).offset(count).limit(1)
    return int(connection.scalar(query) or 0)


def count_events(connection: Connection, key: str, after: int, last: int) -> int:
    """Return how many events of a cluster there are after one number, up to another."""
    query = select(func.count()).select_from(events).where(events.c.cluster == key)
    return int(connection.scalar(query.where(events.c.seq > after, events.c.seq <= last)) or 0)


def drop_events(connection: Connection, before: float, limit: int) -> int:
    """Forget up to `limit` events from before a time, the oldest first; say how many."""
    # Times need not be in order, and have no index: what is old comes first all the same.
    first = select(events.c.seq, events.c.time).order_by(events.c.seq).limit(limit)
    old = [row.seq for row in connection.execute(first) if row.time < before]
    if old:
        connection.execute(delete(events).where(events.c.seq.in_(old)))
    return len(old)
