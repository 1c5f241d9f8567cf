"""Live status, events and output: each subscriber reads on from a cursor of its own.

What is delivered comes from the database, in the order of its ids. A connection holds nothing but
its cursor, so it makes no difference whether it is the first or the next after a break.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from palm.registry_api.schema import ClusterStatus, Event, Frame, Skipped, Topic
from palm_registry.failures import NotFound
from palm_registry.output import record_of
from palm_registry.store import Database
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import output as rows
from palm_registry.store.output import Segment, Selection

__all__ = ["Cursor", "Feed", "Signals", "Wanted"]

#: Seconds between two looks of one subscriber, so that many small changes become one frame.
PERIOD = 0.05
#: Events that a reader may be behind; earlier ones are skipped.
EVENT_BACKLOG = 1000
#: Events, and bytes of output, that are read at once.
EVENTS = 500
CHUNK = 256 * 1024
#: Segments that are looked at, at once.
PAGE = 1000

_CURSOR = re.compile(r"e(\d{1,18})\.o(\d{1,18})\.([0-9a-f]{1,32})")


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read; it is good for one database only. Opaque outside."""

    event: int
    output: int
    database: str

    def __str__(self) -> str:
        return f"e{self.event}.o{self.output}.{self.database}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read a cursor, None if it is none."""
        match = _CURSOR.fullmatch(text)
        return cls(int(match[1]), int(match[2]), match[3]) if match else None


@dataclass(frozen=True)
class Wanted:
    """What a subscriber is to get. ``backlog`` is in bytes of output."""

    topics: Collection[Topic]
    selection: Selection
    backlog: int = 1024 * 1024


class Signals:
    """Wakes those who wait for a change of a cluster; belongs to the event loop."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], int] = defaultdict(int)
        self._waiters: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._closed = False

    def notify(self, cluster: str, *topics: str) -> None:
        """Say that something of a cluster is different."""
        for topic in topics:
            self._versions[cluster, topic] += 1
        for waiter in self._waiters.pop(cluster, ()):
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Wake all, now and ever after."""
        self._closed = True
        for cluster in list(self._waiters):
            self.notify(cluster)

    @property
    def closed(self) -> bool:
        """Whether the registry is about to end."""
        return self._closed

    def versions(self, cluster: str, topics: Iterable[str]) -> dict[str, int]:
        """Return a ticket for `wait`: take it before looking, so that no change is missed."""
        return {topic: self._versions[cluster, topic] for topic in topics}

    async def wait(self, cluster: str, ticket: dict[str, int], within: float | None) -> bool:
        """Wait until something has changed since the ticket; say whether it has."""
        loop = asyncio.get_running_loop()
        end = None if within is None else loop.time() + within
        while self.versions(cluster, ticket) == ticket and not self._closed:
            left = None if end is None else end - loop.time()
            if left is not None and left <= 0:
                return False
            waiter = loop.create_future()
            self._waiters[cluster].add(waiter)
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                self._waiters[cluster].discard(waiter)
        return True


StatusOf = Callable[[str], Awaitable[ClusterStatus]]


class Feed:
    """Makes the frames of each subscriber."""

    def __init__(self, database: Database, signals: Signals, status: StatusOf) -> None:
        self.database = database
        self.signals = signals
        self.status = status

    async def frames(self, wanted: Wanted, since: str = "") -> AsyncIterator[Frame]:
        """Yield frames for ever, or until the registry ends.

        `since` is the cursor of the last frame that was seen, "start", or "now" (if empty too).
        """
        key = wanted.selection.cluster
        loop = asyncio.get_running_loop()
        reader = _Reader(self, wanted, await self._newest())
        for frame in reader.begin(since):
            yield frame
        while not self.signals.closed:
            began = loop.time()
            ticket = self.signals.versions(key, wanted.topics)
            frames = [
                *await reader.status(ticket),
                *await reader.events(),
                *await reader.output(),
            ]
            for frame in frames:
                yield frame
            if not frames:
                await self.signals.wait(key, ticket, None)
            if (pause := began + PERIOD - loop.time()) > 0:
                await asyncio.sleep(pause)

    async def _newest(self) -> Cursor:
        identity = self.database.identity
        return await self.database.read(
            lambda c: Cursor(rows.last_event(c), rows.last_segment(c), identity)
        )


class _Reader:
    """One subscriber: what it wants, and how far it has read."""

    def __init__(self, feed: Feed, wanted: Wanted, newest: Cursor) -> None:
        self._feed = feed
        self._wanted = wanted
        self._cursor = newest
        self._shown = b""
        self._seen: int | None = None

    def begin(self, since: str) -> list[Frame]:
        if since in ("", "now"):
            return []
        asked = Cursor.parse(since)
        if asked is not None and asked.database == self._cursor.database:
            self._cursor = asked
            return []
        self._cursor = Cursor(0, 0, self._cursor.database)
        if since == "start":
            return []
        # A cursor of a database that was here before: nobody can tell what is missing.
        return [self._frame("skipped", Skipped(topic="output", count=0))]

    async def status(self, ticket: dict[str, int]) -> list[Frame]:
        if ticket.get("status") == self._seen:
            return []  # not wanted, or as it was
        status = await self._feed.status(self._wanted.selection.cluster)
        essence = _essence(status)
        self._seen = ticket["status"]
        if essence == self._shown:
            return []
        self._shown = essence
        return [self._frame("status", status)]

    async def events(self) -> list[Frame]:
        if "events" not in self._wanted.topics:
            return []
        key, after = self._wanted.selection.cluster, self._cursor.event
        found, skipped, begin = await self._feed.database.read(
            lambda c: _next_events(c, key, after)
        )
        frames = []
        if skipped is not None:
            self._cursor = replace(self._cursor, event=begin)
            frames.append(self._frame("skipped", skipped))
        for event in found:
            self._cursor = replace(self._cursor, event=event.seq)
            frames.append(self._frame("events", event))
        return frames

    async def output(self) -> list[Frame]:
        if "output" not in self._wanted.topics:
            return []
        after = self._cursor.output
        chunk, skipped, last = await self._feed.database.read(
            lambda c: _next_output(c, self._wanted, after)
        )
        records = [record_of(s, str(replace(self._cursor, output=s.id))) for s in chunk]
        self._cursor = replace(self._cursor, output=last)
        if skipped is not None:
            return [self._frame("skipped", skipped)]
        return [self._frame("output", records)] if records else []

    def _frame(self, topic: Topic, data: Any) -> Frame:
        return Frame(topic=topic, cursor=str(self._cursor), data=data)


def _next_events(connection: Any, key: str, after: int) -> tuple[list[Event], Skipped | None, int]:
    """The next events, what a reader that is far behind skips before them, and up to where."""
    _check(connection, key)
    begin = max(after, rows.event_before_last(connection, key, EVENT_BACKLOG))
    found = rows.events_after(connection, key, begin, EVENTS)
    if begin == after:
        return found, None, begin
    count = rows.count_events(connection, key, after, begin)
    return found, Skipped(topic="events", count=count), begin


def _check(connection: Any, key: str) -> None:
    """Refuse to go on when the cluster is gone: the next one of its name may be another's."""
    row = cluster_rows.get_cluster(connection, key)
    if row is None or row.purge:
        raise NotFound("no-such-cluster", f"there is no cluster {key!r}")


def _next_output(
    connection: Any, wanted: Wanted, after: int
) -> tuple[list[Segment], Skipped | None, int]:
    """The next segments; or, for a reader that is too far behind, what it has to skip."""
    selection = wanted.selection
    _check(connection, selection.cluster)
    ids = rows.segment_ids(connection, selection, after=after, limit=PAGE)
    if not ids:
        return [], None, after
    if len(ids) == PAGE or sum(size for _, size in ids) > wanted.backlog:
        skip = _skipped(connection, wanted, after)
        if skip is not None:
            return [], skip[0], skip[1]
    last = _within(ids, CHUNK)
    return rows.segments(connection, selection, ids[0][0], last), None, last


def _skipped(connection: Any, wanted: Wanted, after: int) -> tuple[Skipped, int] | None:
    count, size = rows.count_after(connection, wanted.selection, after)
    if size <= wanted.backlog:
        return None
    kept_count = kept = 0
    before: int | None = None
    while True:
        newest = rows.segment_ids(
            connection, wanted.selection, after=after, before=before, limit=256, newest=True
        )
        for number, part in newest:
            if kept and kept + part > wanted.backlog:
                left_out = Skipped(topic="output", count=count - kept_count, size=size - kept)
                return left_out, number
            kept += part
            kept_count += 1
            before = number
        if not newest:
            return None  # all of it fits after all


def _within(ids: list[tuple[int, int]], limit: int) -> int:
    """The last of the ids whose sizes fit the limit together; at least the first."""
    last, total = ids[0][0], 0
    for number, size in ids:
        total += size
        if total > limit and number != ids[0][0]:
            break
        last = number
    return last


def _essence(status: ClusterStatus) -> bytes:
    """A status without what always differs."""
    nodes = [msgspec.structs.replace(node, seen=0.0) for node in status.nodes]
    same = msgspec.structs.replace(status, cursor="", time=0.0, nodes=nodes)
    return msgspec.json.encode(same)
