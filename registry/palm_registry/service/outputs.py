"""Output: stored once, in order, and read again; and the events beside it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from palm.errors import ConfigError
from palm.registry_api.schema import Event, EventPage, OutputAck, OutputPage, OutputPiece, Stream
from palm.spec.names import check_name
from palm_registry.cursor import Cursor
from palm_registry.failures import Conflict, Invalid
from palm_registry.feed import Feed
from palm_registry.output import Gap, fresh_loss, fresh_parts, notice, record_of, within
from palm_registry.service.core import Core, get_cluster
from palm_registry.store import StoreError
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import events as event_rows
from palm_registry.store import output as rows
from palm_registry.store.output import Fresh, Segment, Selection, StreamState
from palm_registry.store.retention import dropped_after

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Outputs"]

#: Segments, and bytes, of one page.
MAX_RECORDS = 1000
MAX_PAGE = 1024 * 1024

#: Bytes of output that may wait to be written.
MAX_WAITING = 64 * 1024 * 1024

_REASON = re.compile(r"[a-z-]{0,32}")
_INSTANCE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


class Outputs:
    """Rules for output and events."""

    def __init__(self, core: Core, feed: Feed) -> None:
        self._core = core
        self._feed = feed
        #: Bytes that wait to be written.
        self._waiting = 0
        #: Bytes that were stored since the start.
        self.taken = 0

    async def store(self, key: str, pieces: list[OutputPiece]) -> list[OutputAck]:
        """Store pieces; say, per stream, up to which byte all is on disk.

        A piece that was sent before, or overlaps with one, is taken as far as it is new.

        Raises
        ------
        Conflict
            A piece begins after what is stored: code "gap", ``acks`` say where to go on. All
            other pieces are stored.
        StoreError
            More waits to be written than memory is to hold: send it again.
        """
        for piece in pieces:
            _check_piece(piece)
        size = sum(len(piece.data) for piece in pieces)
        if self._waiting and self._waiting + size > MAX_WAITING:
            raise StoreError("more output waits to be written than the disk takes")
        self._waiting += size
        try:
            taken = await self._core.database.write(lambda c: _store(c, key, pieces))
        finally:
            self._waiting -= size
        self.taken += sum(len(segment.data) for segment in taken.segments)
        self._feed.stored(key, taken.previous, taken.segments)
        if taken.gap:
            raise Conflict(
                "gap", "bytes before a piece are missing", "go on from the durable offsets",
                acks=msgspec.to_builtins(taken.acks),
            )  # fmt: skip
        return taken.acks

    async def page(
        self, selection: Selection, cursor: str, limit: int, *, raw: bool = False
    ) -> OutputPage:
        """Return stored output after a cursor, in the order it was stored."""
        after = self._position(cursor)
        limit = max(1, min(limit, MAX_RECORDS))

        def read(connection: Connection) -> _Found:
            get_cluster(connection, selection.cluster)
            ids = rows.segment_ids(connection, selection, after=after.output, limit=limit + 1)
            kept = within(ids[:limit], MAX_PAGE)
            found = rows.segments(connection, selection, kept[0], kept[-1]) if kept else []
            # A page without a cursor begins with what there is.
            gone = bool(cursor) and dropped_after(connection, selection, after.output) is not None
            return _Found(found, len(ids) > len(kept), event_rows.last_event(connection), gone)

        found = await self._core.database.read(read)
        return self._page(found, after, found.event if not cursor else after.event, raw=raw)

    async def download(self, selection: Selection) -> AsyncIterator[bytes]:
        """Yield the bytes of a selection as they were stored; a line for what is lost."""
        page = await self.page(selection, "", MAX_RECORDS)
        while True:
            for record in page.records:
                lost = f"\n{notice(record.lost, record.reason)}\n" if record.lost else ""
                yield record.raw or lost.encode()
            if not page.more:
                return
            page = await self.page(selection, page.cursor, MAX_RECORDS)

    async def events(
        self, key: str, cursor: str, limit: int, since: float | None = None
    ) -> tuple[list[Event], str]:
        """Return events after a cursor, and where to go on."""
        after = self._position(cursor)

        def read(connection: Connection) -> list[Event]:
            get_cluster(connection, key)
            count = max(1, min(limit, MAX_RECORDS))
            return event_rows.events_after(connection, key, after.event, count, since)

        found = await self._core.database.read(read)
        last = found[-1].seq if found else after.event
        return found, str(Cursor(last, after.output, after.database))

    async def latest_events(
        self, key: str, before: int | None, limit: int, component: str, kind: str
    ) -> EventPage:
        """Return the last events before a number, in order, and where to go on after them."""
        count = max(1, min(limit, MAX_RECORDS))

        def read(connection: Connection) -> list[Event]:
            get_cluster(connection, key)
            latest = event_rows.latest_events
            return latest(connection, key, before, count + 1, component, kind)

        found = await self._core.database.read(read)
        events = found[-count:]
        last = events[-1].seq if events else 0
        cursor = Cursor(last, 0, self._core.database.identity)
        return EventPage(events=events, cursor=str(cursor), more=len(found) > count)

    def _position(self, text: str) -> Cursor:
        beginning = Cursor(0, 0, self._core.database.identity)
        if text in ("", "start"):
            return beginning
        cursor = Cursor.parse(text)
        if cursor is None:
            raise Invalid("cursor", f"{text!r} is not a cursor", "take one from an answer")
        return cursor if cursor.database == beginning.database else beginning

    def _page(self, found: _Found, after: Cursor, event: int, *, raw: bool) -> OutputPage:
        def cursor(position: int) -> str:
            return str(Cursor(event, position, after.database))

        segments = found.segments
        return OutputPage(
            records=[record_of(segment, cursor(segment.id), raw=raw) for segment in segments],
            cursor=cursor(segments[-1].id if segments else after.output),
            more=found.more,
            dropped=found.dropped,
        )


@dataclass
class _Found:
    """A page of segments; ``event`` is the newest, ``dropped`` says that some are gone."""

    segments: list[Segment]
    more: bool
    event: int
    dropped: bool


def _check_piece(piece: OutputPiece) -> None:
    if not _INSTANCE.fullmatch(piece.instance):
        hint = "1 to 128 letters, digits, '-', '_', and '.' but at the beginning"
        raise Invalid("instance", "that cannot be the name of an instance", hint)
    if not 0 <= piece.offset < 2**62:
        raise Invalid("offset", f"{piece.offset} is no offset")
    if not 0 <= piece.lost < 2**62 - piece.offset or (piece.lost and piece.data):
        raise Invalid("lost", "that many bytes cannot be lost", "what is lost has no bytes")
    if not _REASON.fullmatch(piece.reason):
        raise Invalid("reason", "that cannot be a reason", "at most 32 small letters and '-'")
    if not 0 <= piece.replica < 2**31:
        raise Invalid("replica", f"{piece.replica} is no number of a replica")
    if not abs(piece.time) < 2**53:
        raise Invalid("time", "it is not a time in seconds since 1970")
    try:
        check_name(piece.component)
        check_name(piece.name or piece.component)
    except ConfigError as error:
        raise Invalid("name", str(error.args[0]), error.hint or "") from error


@dataclass
class _Taken:
    """What became of pieces: ``segments`` are new, after the id ``previous`` of the cluster."""

    previous: int
    segments: list[Segment]
    acks: list[OutputAck]
    gap: bool


def _store(connection: Connection, key: str, pieces: list[OutputPiece]) -> _Taken:
    """Add what is new."""
    # To a cluster that is being deleted too: its runners end once they are rid of their output.
    if cluster_rows.get_cluster(connection, key) is None:
        get_cluster(connection, key)
    # When it is stored only grows, whatever somebody does to the clock.
    now = max(time.time(), rows.last_stored(connection, rows.last_segment(connection)))
    streams = rows.get_streams(connection, key, pieces, now) if pieces else {}
    fresh: list[tuple[Fresh, OutputPiece]] = []
    gap = False
    for piece in pieces:
        try:
            fresh += _fresh(streams[piece.instance, piece.stream], piece, now)
        except Gap:
            gap = True
    previous = rows.last_segment(connection, key)
    ids = rows.add_segments(connection, key, [part for part, _ in fresh])
    segments = [_segment(id_, part, piece) for id_, (part, piece) in zip(ids, fresh, strict=True)]
    if streams:
        rows.set_durable(connection, streams)
    acks = [
        OutputAck(instance=instance, stream=cast(Stream, stream), durable_offset=state.durable)
        for (instance, stream), state in streams.items()
    ]
    return _Taken(previous, segments, acks, gap)


def _fresh(
    stream: StreamState, piece: OutputPiece, now: float
) -> Iterator[tuple[Fresh, OutputPiece]]:
    """What a piece adds to a stream, which is that much longer then."""
    for offset, data, lost in _parts(piece, stream.durable):
        part = Fresh(
            number=stream.number,
            component=piece.component,
            stream=piece.stream,
            offset=offset,
            # A node whose clock is ahead does not write in the future.
            time=min(piece.time or now, now),
            stored=now,
            data=data,
            lost=lost,
            reason=piece.reason if lost else "",
        )
        yield part, piece
        stream.durable = offset + lost + len(data)


def _parts(piece: OutputPiece, durable: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield offset, bytes and number of lost bytes of what a piece adds."""
    if piece.lost:
        offset, lost = fresh_loss(piece, durable)
        if lost:
            yield offset, b"", lost
    else:
        yield from ((offset, data, 0) for offset, data in fresh_parts(piece, durable))


def _segment(number: int, part: Fresh, piece: OutputPiece) -> Segment:
    return Segment(
        id=number,
        component=piece.component,
        replica=piece.replica,
        name=piece.name or piece.component,
        instance=piece.instance,
        stream=piece.stream,
        offset=part.offset,
        time=part.time,
        data=part.data,
        lost=part.lost,
        reason=part.reason,
    )
