"""Output: stored once, in order, and read again; and the events beside it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from palm.errors import ConfigError
from palm.registry_api.schema import Event, OutputAck, OutputPage, OutputPiece
from palm.spec.names import check_name
from palm_registry.failures import Conflict, Invalid
from palm_registry.feed import Cursor
from palm_registry.output import Gap, fresh_parts, last_lines, record_of
from palm_registry.service.core import Core, get_cluster
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import output as rows
from palm_registry.store.output import Segment, Selection

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Outputs"]

#: Segments, and bytes, of one page.
MAX_RECORDS = 1000
MAX_PAGE = 1024 * 1024
#: Lines that are looked for from the end, and bytes in which they are.
MAX_LINES = 100_000
LOOK_BACK = 64 * 1024 * 1024

_INSTANCE = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class Outputs:
    """Rules for output and events."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def store(self, key: str, pieces: list[OutputPiece]) -> list[OutputAck]:
        """Store pieces; say, per stream, up to which byte all is on disk.

        A piece that was sent before, or overlaps with one, is taken as far as it is new.

        Raises
        ------
        Conflict
            A piece begins after what is stored: code "gap", ``acks`` say where to go on. All
            other pieces are stored.
        """
        for piece in pieces:
            _check_piece(piece)

        def write(connection: Connection) -> tuple[list[OutputAck], bool]:
            # One that is being deleted too: its runners end once they are rid of their output.
            if cluster_rows.get_cluster(connection, key) is None:
                get_cluster(connection, key)
            return _store(connection, key, pieces)

        acks, gap = await self._core.database.write(write)
        self._core.signals.notify(key, "output")
        if gap:
            raise Conflict(
                "gap", "bytes before a piece are missing", "go on from the durable offsets",
                acks=msgspec.to_builtins(acks),
            )  # fmt: skip
        return acks

    async def page(
        self, selection: Selection, cursor: str, limit: int, *, raw: bool = False
    ) -> OutputPage:
        """Return stored output after a cursor, in the order it was stored."""
        after = self._position(cursor)
        limit = max(1, min(limit, MAX_RECORDS))

        def read(connection: Connection) -> tuple[list[Segment], bool, int]:
            get_cluster(connection, selection.cluster)
            ids = rows.segment_ids(connection, selection, after=after.output, limit=limit + 1)
            kept = _within(ids[:limit], MAX_PAGE)
            found = rows.segments(connection, selection, kept[0], kept[-1]) if kept else []
            return found, len(ids) > len(kept), rows.last_event(connection)

        found, more, event = await self._core.database.read(read)
        return self._page(found, more, after, event if not cursor else after.event, raw=raw)

    async def lines(
        self, selection: Selection, count: int, grep: str = "", *, raw: bool = False
    ) -> OutputPage:
        """Return the last lines, of those that contain `grep`, a record each."""
        count = max(0, min(count, MAX_LINES))
        wanted: Callable[[bytes], bool] = (lambda line: grep.encode() in line) if grep else bool

        def read(connection: Connection) -> tuple[list[Segment], Cursor]:
            get_cluster(connection, selection.cluster)
            found = last_lines(_newest_first(connection, selection), count, wanted, LOOK_BACK)
            event, output = rows.last_event(connection), rows.last_segment(connection)
            return found, Cursor(event, output, self._core.database.identity)

        found, newest = await self._core.database.read(read)
        return OutputPage(
            records=[record_of(line, str(newest), raw=raw) for line in found], cursor=str(newest)
        )

    async def download(self, selection: Selection) -> AsyncIterator[bytes]:
        """Yield all bytes of a selection, in the order they were stored."""
        page = await self.page(selection, "", MAX_RECORDS)
        while True:
            for record in page.records:
                yield record.raw
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
            return rows.events_after(connection, key, after.event, count, since)

        found = await self._core.database.read(read)
        last = found[-1].seq if found else after.event
        return found, str(Cursor(last, after.output, after.database))

    def _position(self, text: str) -> Cursor:
        beginning = Cursor(0, 0, self._core.database.identity)
        if text in ("", "start"):
            return beginning
        cursor = Cursor.parse(text)
        if cursor is None:
            raise Invalid("cursor", f"{text!r} is not a cursor", "take one from an answer")
        return cursor if cursor.database == beginning.database else beginning

    def _page(
        self, found: list[Segment], more: bool, after: Cursor, event: int, *, raw: bool
    ) -> OutputPage:
        def cursor(position: int) -> str:
            return str(Cursor(event, position, after.database))

        last = found[-1].id if found else after.output
        records = [record_of(segment, cursor(segment.id), raw=raw) for segment in found]
        return OutputPage(records=records, cursor=cursor(last), more=more)


def _check_piece(piece: OutputPiece) -> None:
    if not _INSTANCE.fullmatch(piece.instance):
        raise Invalid("instance", "an instance has 1 to 128 letters, digits, '.', '-' or '_'")
    if not 0 <= piece.offset < 2**62:
        raise Invalid("offset", f"{piece.offset} is no offset")
    if not 0 <= piece.replica < 2**31:
        raise Invalid("replica", f"{piece.replica} is no number of a replica")
    if not abs(piece.time) < 2**53:
        raise Invalid("time", "it is not a time in seconds since 1970")
    try:
        check_name(piece.component)
        check_name(piece.name or piece.component)
    except ConfigError as error:
        raise Invalid("name", str(error.args[0]), error.hint or "") from error


def _store(
    connection: Connection, key: str, pieces: list[OutputPiece]
) -> tuple[list[OutputAck], bool]:
    """Add what is new; return how far each stream is stored, and whether there was a gap."""
    now = time.time()
    streams: dict[tuple[str, str], tuple[int, int, OutputPiece]] = {}
    gap = False
    for piece in pieces:
        place = (piece.instance, piece.stream)
        number, durable, _ = streams.get(place) or (
            *rows.get_stream(connection, key, piece, now),
            piece,
        )
        try:
            for offset, data in fresh_parts(piece, durable):
                rows.add_segment(
                    connection, key, number, piece.stream, offset, piece.time or now, data
                )
                durable = offset + len(data)
        except Gap:
            gap = True
        streams[place] = (number, durable, piece)
    acks = []
    for number, durable, piece in streams.values():
        rows.set_durable(connection, number, piece.stream, durable)
        acks.append(OutputAck(instance=piece.instance, stream=piece.stream, durable_offset=durable))
    return acks, gap


def _newest_first(connection: Connection, selection: Selection) -> Iterator[Segment]:
    before: int | None = None
    while ids := rows.segment_ids(connection, selection, before=before, limit=64, newest=True):
        yield from reversed(rows.segments(connection, selection, ids[-1][0], ids[0][0]))
        before = ids[-1][0]


def _within(ids: list[tuple[int, int]], limit: int) -> list[int]:
    """As many of the ids, at least one, as their sizes fit the limit together."""
    kept: list[int] = []
    total = 0
    for number, size in ids:
        total += size
        if kept and total > limit:
            break
        kept.append(number)
    return kept
