"""Live status, events and output: each subscriber reads on from a cursor of its own.

What is delivered is what the database has, in the order of its ids. A connection holds nothing
but its cursor, so it makes no difference whether it is the first or the next after a break.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from palm.registry_api.schema import ClusterMetrics, ClusterStatus, Event, Frame, Skipped, Topic
from palm_registry.cursor import Cursor
from palm_registry.failures import NotFound
from palm_registry.output import record_of, within
from palm_registry.samples import Beat
from palm_registry.signals import Signals
from palm_registry.store import Database
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import events as event_rows
from palm_registry.store import output as rows
from palm_registry.store.output import Segment, Selection
from palm_registry.store.retention import dropped_after
from palm_registry.tail import BLOCK, Tail

__all__ = ["Feed", "Wanted"]

#: Seconds between two looks of one subscriber, so that many small changes become one frame.
PERIOD = 0.05
#: Events that a reader may be behind; earlier ones are skipped.
EVENT_BACKLOG = 1000
#: Events that are read at once.
EVENTS = 500
#: Segments that are looked at, at once.
PAGE = 1000
#: Segments, and bytes, that are read at once for who skips nothing: it has the more before it.
GAPLESS_PAGE, GAPLESS = 256, 1024 * 1024
#: Bytes of the newest output that are kept for those who follow: of a cluster, and of all.
TAIL, TAILS = 16 * 1024 * 1024, 64 * 1024 * 1024

#: What is noted when anything of a cluster is different, its end too.
_CLUSTER = "plan"

#: A frame as it is sent: JSON.
Encoded = bytes


@dataclass(frozen=True)
class Wanted:
    """What a subscriber is to get.

    ``backlog`` is how many bytes of output it may be behind before it skips some; None: it never
    skips any, however slow it is.
    """

    topics: Collection[Topic]
    selection: Selection
    backlog: int | None = 1024 * 1024


StatusOf = Callable[[str], Awaitable[ClusterStatus]]
MetricsOf = Callable[[str], Awaitable[ClusterMetrics]]


class Feed:
    """Makes the frames of each subscriber."""

    def __init__(
        self, database: Database, signals: Signals, status: StatusOf, metrics: MetricsOf
    ) -> None:
        self.database = database
        self.signals = signals
        self.status = status
        self.metrics = metrics
        self._tails: dict[str, Tail] = {}
        self._followers: Counter[str] = Counter()

    def stored(self, cluster: str, previous: int, segments: Sequence[Segment]) -> None:
        """Take what was stored of a cluster's output after the id `previous`, and wake readers."""
        if (tail := self._tails.get(cluster)) is not None:
            tail.append(previous, segments)
        self.signals.notify(cluster, "output")

    def forget_newest(self) -> None:
        """Read from the database what was stored, also what nobody was told of."""
        for tail in self._tails.values():
            tail.clear()

    def tail(self, cluster: str) -> Tail:
        """Return the newest output of a cluster that is followed."""
        return self._tails[cluster]

    async def frames(self, wanted: Wanted, since: str = "") -> AsyncIterator[Encoded]:
        """Yield frames for ever, or until the registry ends.

        `since` is the cursor of the last frame that was seen, "start", or "now" (if empty too).
        """
        key = wanted.selection.cluster
        self._join(key)
        try:
            reader = _Reader(self, wanted, await self._newest())
            for frame in reader.begin(since):
                yield frame
            while not self.signals.closed:
                began = asyncio.get_running_loop().time()
                ticket = self.signals.versions(key, [*wanted.topics, _CLUSTER])
                frames = await reader.look(ticket)
                for frame in frames:
                    yield frame
                if not frames and not reader.behind:
                    await self.signals.wait(key, ticket, reader.patience(ticket))
                await self._pause(reader, began)
        finally:
            self._leave(key)

    async def _pause(self, reader: _Reader, began: float) -> None:
        """Let some time be between two looks, but not if there is more to be read already."""
        pause = began + PERIOD - asyncio.get_running_loop().time()
        # Others are to have their turn in any case.
        await asyncio.sleep(0 if reader.behind else max(pause, 0))

    def _join(self, key: str) -> None:
        self._followers[key] += 1
        self._tails.setdefault(key, Tail(TAIL))
        self._share()

    def _leave(self, key: str) -> None:
        self._followers[key] -= 1
        if not self._followers[key]:
            del self._followers[key], self._tails[key]
            self._share()

    def _share(self) -> None:
        for tail in self._tails.values():
            tail.limit = min(TAIL, TAILS // len(self._tails))

    async def _newest(self) -> Cursor:
        identity = self.database.identity
        return await self.database.read(
            lambda c: Cursor(event_rows.last_event(c), rows.last_segment(c), identity)
        )


class _Reader:
    """One subscriber: what it wants, and how far it has read."""

    def __init__(self, feed: Feed, wanted: Wanted, newest: Cursor) -> None:
        self._feed = feed
        self._wanted = wanted
        self._cursor = newest
        self._shown = b""
        #: What was looked at last, by topic.
        self._seen: dict[str, int] = {}
        #: Up to where it knows that output was dropped; None: what is gone by now is no news.
        self._dropped: int | None = 0
        #: Whether there is more to be read at once.
        self.behind = False
        self._beat = Beat()

    def begin(self, since: str) -> list[Encoded]:
        if since in ("", "now"):
            return []
        asked = Cursor.parse(since)
        if asked is not None and asked.database == self._cursor.database:
            self._cursor = asked
            return []
        self._cursor, self._dropped = Cursor(0, 0, self._cursor.database), None
        if since == "start":
            return []
        # A cursor of a database that was here before: nobody can tell what is missing.
        return [self._frame("skipped", Skipped(topic="output", count=0))]

    async def look(self, ticket: dict[str, int]) -> list[Encoded]:
        """Return what there is to be told."""
        self.behind = False
        frames: list[Encoded] = []
        if self._is_new(_CLUSTER, ticket):
            key = self._wanted.selection.cluster
            await self._feed.database.read(lambda c: _check(c, key))
        if self._is_new("status", ticket):
            frames += await self._status()
        frames += await self._metrics(ticket)
        if self._is_new("events", ticket):
            frames += await self._events()
        if self._is_new("output", ticket):
            frames += await self._output()
        if not self.behind:
            self._seen = dict(ticket)
        return frames

    def _is_new(self, topic: str, ticket: dict[str, int]) -> bool:
        return topic in ticket and ticket[topic] != self._seen.get(topic)

    async def _status(self) -> list[Encoded]:
        status = await self._feed.status(self._wanted.selection.cluster)
        essence = _essence(status)
        if essence == self._shown:
            return []
        self._shown = essence
        return [self._frame("status", status)]

    async def _metrics(self, ticket: dict[str, int]) -> list[Encoded]:
        if not self._beat.take(ticket.get("metrics"), asyncio.get_running_loop().time()):
            return []
        return [self._frame("metrics", await self._feed.metrics(self._wanted.selection.cluster))]

    def patience(self, ticket: dict[str, int]) -> float | None:
        """Seconds to wait for a change: less than for ever if samples are held back."""
        return self._beat.wait(ticket.get("metrics"), asyncio.get_running_loop().time())

    async def _events(self) -> list[Encoded]:
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
        self.behind = self.behind or len(found) == EVENTS
        return frames

    async def _output(self) -> list[Encoded]:
        selection, backlog = self._wanted.selection, self._wanted.backlog
        tail = self._feed.tail(selection.cluster)
        run = tail.after(self._cursor.output)
        if run is None or (backlog is not None and tail.size_after(self._cursor.output) > backlog):
            return await self._stored_output()
        self.behind = self.behind or run.more
        if not run.segments:
            return []
        cursor = self._cursor = replace(self._cursor, output=run.last)
        key = (selection, run.segments[0].id, cursor)
        made = tail.shared(
            key, lambda: _encoded([s for s in run.segments if selection.has(s)], cursor)
        )
        return [] if made is None else [made]

    async def _stored_output(self) -> list[Encoded]:
        """Read what is not in memory, or skip what is too much."""
        after, known = self._cursor.output, self._dropped
        found = await self._feed.database.read(
            lambda c: _next_output(c, self._wanted, after, known)
        )
        self._cursor = replace(self._cursor, output=found.last)
        self._dropped = found.dropped
        self.behind = self.behind or found.more
        frames = []
        if found.skipped is not None:
            frames.append(self._frame("skipped", found.skipped))
        if (made := _encoded(found.segments, self._cursor)) is not None:
            frames.append(made)
        return frames

    def _frame(self, topic: Topic, data: Any) -> Encoded:
        return msgspec.json.encode(Frame(topic=topic, cursor=str(self._cursor), data=data))


def _encoded(segments: Sequence[Segment], cursor: Cursor) -> Encoded | None:
    """Make a frame of output, None if there is none."""
    if not segments:
        return None
    records = [record_of(s, str(replace(cursor, output=s.id))) for s in segments]
    return msgspec.json.encode(Frame(topic="output", cursor=str(cursor), data=records))


def _next_events(connection: Any, key: str, after: int) -> tuple[list[Event], Skipped | None, int]:
    """The next events, what a reader that is far behind skips before them, and up to where."""
    _check(connection, key)
    begin = max(after, event_rows.event_before_last(connection, key, EVENT_BACKLOG))
    found = event_rows.events_after(connection, key, begin, EVENTS)
    if begin == after:
        return found, None, begin
    count = event_rows.count_events(connection, key, after, begin)
    return found, Skipped(topic="events", count=count), begin


def _check(connection: Any, key: str) -> None:
    """Refuse to go on when the cluster is gone: the next one of its name may be another's."""
    row = cluster_rows.get_cluster(connection, key)
    if row is None or row.purge:
        raise NotFound("no-such-cluster", f"there is no cluster {key!r}")


@dataclass(frozen=True)
class _Next:
    """What a reader reads next, and where it is then; ``dropped``: what it knows to be gone."""

    last: int
    dropped: int
    segments: Sequence[Segment] = ()
    skipped: Skipped | None = None
    more: bool = False


def _next_output(connection: Any, wanted: Wanted, after: int, known: int | None) -> _Next:
    """The next segments; or, for a reader that is too far behind, what it has to skip."""
    selection = wanted.selection
    _check(connection, selection.cluster)
    dropped = dropped_after(connection, selection, max(after, known or 0))
    if known is None:
        known = dropped or 0
    elif dropped is not None:
        gone = Skipped(topic="output", count=0, reason="dropped")
        return _Next(after, dropped, skipped=gone, more=True)
    limit, size = (PAGE, BLOCK) if wanted.backlog is not None else (GAPLESS_PAGE, GAPLESS)
    ids = rows.segment_ids(connection, selection, after=after, limit=limit)
    if not ids:
        # So that what others write need not be looked through again.
        return _Next(max(after, rows.last_segment(connection, selection.cluster)), known)
    if wanted.backlog is not None and _is_much(ids, wanted.backlog):
        skip = _skipped(connection, selection, after, wanted.backlog)
        if skip is not None:
            return _Next(skip[1], known, skipped=skip[0], more=True)
    last = within(ids, size)[-1]
    more = last != ids[-1][0] or len(ids) == limit
    return _Next(last, known, rows.segments(connection, selection, ids[0][0], last), more=more)


def _is_much(ids: list[tuple[int, int]], backlog: int) -> bool:
    return len(ids) == PAGE or sum(size for _, size in ids) > backlog


def _skipped(
    connection: Any, selection: Selection, after: int, backlog: int
) -> tuple[Skipped, int] | None:
    count, size = rows.count_after(connection, selection, after)
    if size <= backlog:
        return None
    kept_count = kept = 0
    before: int | None = None
    while True:
        newest = rows.segment_ids(
            connection, selection, after=after, before=before, limit=256, newest=True
        )
        for number, part in newest:
            if kept and kept + part > backlog:
                left_out = Skipped(topic="output", count=count - kept_count, size=size - kept)
                return left_out, number
            kept += part
            kept_count += 1
            before = number
        if not newest:
            return None  # all of it fits after all


def _essence(status: ClusterStatus) -> bytes:
    """A status without what always differs."""
    nodes = [msgspec.structs.replace(node, seen=0.0) for node in status.nodes]
    same = msgspec.structs.replace(status, cursor="", time=0.0, nodes=nodes)
    return msgspec.json.encode(same)
