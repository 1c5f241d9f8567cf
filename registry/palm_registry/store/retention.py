"""What is dropped of the oldest output, and what remembers that it was there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from palm_registry.models import drops, instances, output, replicas, streams
from palm_registry.store.output import Selection

__all__ = ["Oldest", "drop", "dropped_after", "forget_instances", "kept", "oldest", "oldest_of"]

Component = tuple[str, str]


class Oldest(msgspec.Struct, frozen=True):
    """A row of output that may be dropped."""

    id: int
    cluster: str
    component: str
    instance: int
    stream: str
    offset: int
    size: int
    stored: float
    lost: int

    @property
    def end(self) -> int:
        """The offset of what follows in its stream."""
        return self.offset + self.lost + self.size


_COLUMNS = [output.c[name] for name in Oldest.__struct_fields__]


def kept(connection: Connection) -> dict[Component, int]:
    """Return how many bytes are kept of each component, by cluster and name."""
    size = func.sum(streams.c.durable - streams.c.dropped)
    query = (
        select(instances.c.cluster, instances.c.component, size.label("size"))
        .join(streams, streams.c.instance == instances.c.id)
        .group_by(instances.c.cluster, instances.c.component)
    )
    found = {(row.cluster, row.component): int(row.size) for row in connection.execute(query)}
    for component, lost in _lost(connection):
        found[component] -= lost
    return found


def _lost(connection: Connection) -> Iterator[tuple[Component, int]]:
    """Yield how many bytes of components are not there, of those that count as kept."""
    query = (
        select(instances.c.cluster, instances.c.component, func.sum(output.c.lost).label("size"))
        .join(output, output.c.instance == instances.c.id)
        .where(output.c.lost > 0)
        .group_by(instances.c.cluster, instances.c.component)
    )
    for row in connection.execute(query):
        yield (row.cluster, row.component), int(row.size)


def oldest(connection: Connection, limit: int) -> list[Oldest]:
    """Return the rows that were stored first."""
    query = select(*_COLUMNS).order_by(output.c.id).limit(limit)
    return [Oldest(*row) for row in connection.execute(query)]


def oldest_of(connection: Connection, component: Component, limit: int) -> list[Oldest]:
    """Return the rows of a component that were stored first."""
    key, name = component
    query = select(*_COLUMNS).where(output.c.cluster == key, output.c.component == name)
    return [Oldest(*row) for row in connection.execute(query.order_by(output.c.id).limit(limit))]


def drop(connection: Connection, rows: Sequence[Oldest]) -> None:
    """Forget the bytes of rows, and note how far each stream and component is gone."""
    connection.execute(delete(output).where(output.c.id.in_([row.id for row in rows])))
    ends: dict[tuple[int, str], int] = defaultdict(int)
    lasts: dict[Component, int] = defaultdict(int)
    for row in rows:
        stream, component = (row.instance, row.stream), (row.cluster, row.component)
        ends[stream] = max(ends[stream], row.end)
        lasts[component] = max(lasts[component], row.id)
    for (number, stream_name), end in ends.items():
        same = (streams.c.instance == number, streams.c.stream == stream_name)
        connection.execute(update(streams).where(*same).values(dropped=end))
    for (key, name), last in lasts.items():
        _note(connection, key, name, last)


def _note(connection: Connection, key: str, name: str, last: int) -> None:
    same = (drops.c.cluster == key, drops.c.component == name)
    if not connection.execute(update(drops).where(*same).values(last=last)).rowcount:
        connection.execute(insert(drops).values(cluster=key, component=name, last=last))


def dropped_after(connection: Connection, selection: Selection, after: int) -> int | None:
    """Return up to where output of a selection was dropped, None if all after an id is there."""
    query = select(func.max(drops.c.last)).where(drops.c.cluster == selection.cluster)
    if selection.components:
        query = query.where(drops.c.component.in_(selection.components))
    last = connection.scalar(query)
    return None if last is None or last <= after else int(last)


def forget_instances(connection: Connection, before: float, limit: int) -> int:
    """Forget processes of before a time of which nothing is left; say how many.

    One that a runner still reports is kept: it may go on to write.
    """
    left = select(output.c.id).where(output.c.instance == instances.c.id).exists()
    reported = select(replicas.c.name).where(
        replicas.c.cluster == instances.c.cluster, replicas.c.name == instances.c.name
    )
    old = (
        select(instances.c.id)
        .where(instances.c.created < before, ~left, ~reported.exists())
        .limit(limit)
    )
    found: Iterable[int] = connection.scalars(old).all()
    return connection.execute(delete(instances).where(instances.c.id.in_(found))).rowcount
