"""What is kept of output and events: so many bytes, and for so long.

Room is made at the expense of who has most: the oldest output of the component that has more than
any other goes first, so that one that floods takes nothing from the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from palm_registry.service.code import KEPT
from palm_registry.service.core import Core
from palm_registry.store import retention as rows
from palm_registry.store import space
from palm_registry.store.code import drop_code
from palm_registry.store.events import drop_events
from palm_registry.store.retention import Oldest

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Retention", "too_much"]

#: Seconds between two looks when nothing is to be done, and between two at code.
PERIOD = 30.0
CODE_PERIOD = 600.0
#: Rows, and bytes, that are dropped at once: others wait for the writer meanwhile.
STEP_ROWS, STEP_BYTES = 1000, 16 * 1024 * 1024
#: Bytes that a row takes beside its output.
ROW = 300
#: What is free, of the limit, once room was made.
SPARE = 0.05
#: Pages that are given back to the file system at once, and that may stay free.
STEP_PAGES, FREE_PAGES = 1024, 256


class Retention:
    """Drops what is too old, or too much. ``size`` in bytes, ``age`` in seconds; None: no limit."""

    def __init__(self, core: Core, size: int | None, age: float | None) -> None:
        self._core = core
        self._size = size
        self._age = age
        self._next = 0.0
        self._next_code = 0.0
        self._seen = 0
        self._freed = False
        # How old something is, is reckoned from here on by the clock that only goes forward:
        # setting the other one ages nothing.
        self._began = time.time() - core.now()

    async def sweep(self, taken: int) -> None:
        """Do the next step, if there is one; `taken` is how many bytes were stored since the start.

        To be called a few times a second.
        """
        now = self._core.now()
        much = self._size is not None and taken - self._seen > self._size * SPARE
        if now < self._next and not much:
            return
        self._seen = taken
        more = await self._core.database.write(self._step)
        if now >= self._next_code:
            before = self._began + now - KEPT
            await self._core.database.write(lambda c: drop_code(c, before))
            self._next_code = now + CODE_PERIOD
        self._next = 0.0 if more else now + PERIOD
        if self._freed and not more:
            await self._core.database.checkpoint()
        self._freed = more

    def _step(self, connection: Connection) -> bool:
        """Drop a little; say whether there is more to be done."""
        more = False
        if self._age is not None:
            more = _drop_old(connection, self._began + self._core.now() - self._age)
        if self._size is not None:
            more = _make_room(connection, self._size) or more
        if space.free_pages(connection) > FREE_PAGES:
            space.shrink(connection, STEP_PAGES)
            more = more or space.free_pages(connection) > FREE_PAGES
        return more


def _drop_old(connection: Connection, before: float) -> bool:
    found = rows.oldest(connection, STEP_ROWS)
    old = list(_up_to(STEP_BYTES, list(takewhile(lambda row: row.stored < before, found))))
    if old:
        rows.drop(connection, old)
        rows.forget_instances(connection, before, STEP_ROWS)
    return drop_events(connection, before, STEP_ROWS) == STEP_ROWS or bool(old)


def _make_room(connection: Connection, limit: int) -> bool:
    kept = rows.kept(connection)
    used = space.used(connection)
    excess = (sum(kept.values()) if used is None else used) - limit
    if excess <= 0:
        return False
    component = too_much(kept)
    if component is None:
        return False
    wanted = min(STEP_BYTES, excess + int(limit * SPARE))
    rows.drop(connection, list(_up_to(wanted, rows.oldest_of(connection, component, STEP_ROWS))))
    return True


def too_much(kept: dict[tuple[str, str], int]) -> tuple[str, str] | None:
    """Return the component that has most, None if none has anything."""
    most = max(kept, key=lambda component: (kept[component], component), default=None)
    return most if most is not None and kept[most] > 0 else None


def _up_to(size: int, found: list[Oldest]) -> Iterator[Oldest]:
    """Yield rows until they have so many bytes together; at least the first."""
    for row in found:
        yield row
        size -= row.size + ROW
        if size <= 0:
            return
