"""Lines of output, looked for from the newest backwards, several windows at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from palm.registry_api.schema import OutputPage
from palm_registry.cursor import Cursor, Place
from palm_registry.failures import Invalid
from palm_registry.matching import Matcher
from palm_registry.output import LONGEST_LINE, record_of
from palm_registry.search import Found, is_before, look_through, windows
from palm_registry.service.core import Core, get_cluster
from palm_registry.store import events as event_rows
from palm_registry.store import output as rows
from palm_registry.store.output import Segment, Selection

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MAX_LINES", "Searches"]

#: Lines of one answer.
MAX_LINES = 100_000
#: Seconds after which an answer has what was found until then, and says where to go on.
PATIENCE = 20.0
#: Windows that are looked through at the same time, once the first had too little.
AT_ONCE = 2
#: Segments of which the sizes are read at once: at first, then.
FIRST_IDS, MORE_IDS = 64, 4096

_Window = tuple[int, int]


class Searches:
    """Rules for looking for lines."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # One at a time goes beyond its first window: the readers are for others, too.
        self._deep = asyncio.Semaphore(1)

    async def lines(
        self,
        selection: Selection,
        count: int,
        matcher: Matcher,
        before: str = "",
        *,
        raw: bool = False,
    ) -> OutputPage:
        """Return the last lines that are wanted, of those before a place, a record each.

        The answer has ``more`` if there may be others; they are before its ``first``.
        """
        count = max(0, min(count, MAX_LINES))
        newest = await self._core.database.read(lambda c: self._newest(c, selection.cluster))
        place = self._place(before)
        search = _Search(self._core, selection, matcher, count, place, newest.output, self._deep)
        lines = await search.run() if count else []
        first = search.reached(lines)
        return OutputPage(
            records=[record_of(line, str(newest), raw=raw) for line in lines],
            cursor=str(newest),
            more=search.more,
            first="" if first is None else str(Place(*first, newest.database)),
        )

    def _newest(self, connection: Connection, key: str) -> Cursor:
        get_cluster(connection, key)
        event, output = event_rows.last_event(connection), rows.last_segment(connection)
        return Cursor(event, output, self._core.database.identity)

    def _place(self, text: str) -> tuple[int, int] | None:
        if not text:
            return None
        place = Place.parse(text)
        if place is None or place.database != self._core.database.identity:
            raise Invalid("before", f"{text!r} is no place", "take the `first` of an answer")
        return place.segment, place.offset


class _Search:
    """One search, for the last `count` lines before a place."""

    def __init__(
        self,
        core: Core,
        selection: Selection,
        matcher: Matcher,
        count: int,
        before: tuple[int, int] | None,
        newest: int,
        deep: asyncio.Semaphore,
    ) -> None:
        self._core = core
        self._deep = deep
        self._selection = selection
        self._matcher = matcher
        self._count = count
        self._before = before
        self._newest = newest
        #: The first segment that was looked through.
        self._begin: int | None = None
        #: Whether there may be other lines before those.
        self.more = False

    async def run(self) -> list[Segment]:
        """Return the lines, in order."""
        lines: list[Segment] = []
        end: float | None = None
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(aclosing(self._found()))  # type: ignore[type-var]
            async for first, window in found:
                lines = [*window.sorted(), *lines]
                self._begin = first
                if len(lines) >= self._count or (end is not None and time.monotonic() > end):
                    self.more = True
                    return lines[-self._count :]
                if end is None:
                    await stack.enter_async_context(self._deep)
                    end = time.monotonic() + PATIENCE
        return lines

    def reached(self, lines: list[Segment]) -> tuple[int, int] | None:
        """Where the page before this one ends: at its first line, or what was looked through."""
        if self.more and len(lines) < self._count and self._begin is not None:
            return self._begin, 0
        return (lines[0].id, lines[0].offset) if lines else None

    async def _found(self) -> AsyncIterator[tuple[int, Found]]:
        """Yield what windows have, from the newest backwards, with their first segment."""
        running: deque[tuple[int, asyncio.Task[Found]]] = deque()
        at_once = 1
        try:
            async for first, last in self._windows():
                running.append((first, asyncio.create_task(self._look(first, last))))
                if len(running) < at_once:
                    continue
                first, task = running.popleft()
                yield first, await task
                at_once = AT_ONCE
            while running:
                first, task = running.popleft()
                yield first, await task
        finally:
            for _, task in running:
                task.cancel()

    async def _look(self, first: int, last: int) -> Found:
        key = self._selection.cluster

        def look(connection: Connection) -> Found:
            def begun(segment: Segment) -> bytes:
                return rows.line_before(connection, key, segment, LONGEST_LINE)

            segments = rows.segments(connection, self._selection, first, last)
            found = look_through(segments, self._matcher, self._count, begun, self._before)
            found.open = {
                stream: line
                for stream, line in found.open.items()
                if self._is_last(connection, line)
            }
            return found

        return await self._core.database.read(look)

    def _is_last(self, connection: Connection, line: Segment) -> bool:
        """Whether an open line is wanted, and not completed by what follows."""
        if not is_before(line, self._before) or not self._matcher.line(line.data):
            return False
        return not rows.goes_on(connection, self._selection.cluster, line, self._newest)

    async def _windows(self) -> AsyncIterator[_Window]:
        last = self._newest if self._before is None else min(self._newest, self._before[0])
        limit = FIRST_IDS
        while ids := await self._ids(last + 1, limit):
            for window in windows(ids):
                yield window
            if len(ids) < limit:
                return
            last, limit = ids[-1][0] - 1, MORE_IDS

    async def _ids(self, before: int, limit: int) -> list[tuple[int, int]]:
        selection = self._selection
        return await self._core.database.read(
            lambda c: rows.segment_ids(c, selection, before=before, limit=limit, newest=True)
        )
