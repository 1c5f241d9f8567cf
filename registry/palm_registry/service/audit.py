"""The audit list: who changed what, and who tried to.

An entry is written a moment after the answer that it is about, in a transaction of its own, so
that nobody waits for it; what fails is tried again. Entries hold names, never secrets.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from palm.registry_api.schema import AuditEntry, AuditPage
from palm_registry.attempts import Attempts
from palm_registry.failures import Invalid
from palm_registry.store import Database, StoreError
from palm_registry.store import audit as rows
from palm_registry.store.audit import Entries

__all__ = ["Audit"]

_log = logging.getLogger("palm.registry")

#: Seconds that an entry is kept, and between two looks for those that are too old.
KEEP = 90 * 24 * 3600.0
PRUNE = 3600.0
#: Entries that wait while the database cannot be used.
MAX_WAITING = 10_000
#: Entries of one page.
MAX_PAGE = 1000


class Audit:
    """Takes entries and shows them; belongs to the event loop. `close` comes last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[AuditEntry] = []
        self._task: asyncio.Task[None] | None = None
        self._pruned: float | None = None
        self._refused = Attempts()

    def note(self, entry: AuditEntry) -> None:
        """Take an entry.

        What was refused is left out when it comes from the same token again and again: nobody
        shall fill the disk with what it may not do.
        """
        if entry.status >= 400 and self._refused.fail(entry.token, time.monotonic())[0]:
            return
        if len(self._waiting) >= MAX_WAITING:
            _log.error("not in the audit list: %s by %s", entry.what, entry.token or "nobody")
            return
        self._waiting.append(entry)
        self._begin()

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        while self._waiting:
            entries, self._waiting = self._waiting, []
            try:
                await self._database.write(partial(rows.add_entries, entries=entries))
            except StoreError as error:
                self._waiting = entries + self._waiting
                _log.error("%d entries of the audit list wait: %s", len(self._waiting), error)
                return

    async def close(self) -> None:
        """Write what waits."""
        await self._flush()

    async def _flush(self) -> None:
        if self._waiting:
            self._begin()
        if self._task is not None:
            await asyncio.shield(self._task)  # whoever waits may be cancelled, what is written not

    async def sweep(self, now: float, wall: float) -> None:
        """Try again what could not be written, and now and then forget what is too old.

        ``now`` is a clock that only goes forward, ``wall`` the time of day.
        """
        await self._flush()
        if self._pruned is None or now - self._pruned >= PRUNE:
            self._pruned = now
            await self.prune(wall)

    async def prune(self, wall: float) -> int:
        """Forget what is older than `KEEP`; return how many entries that were."""
        return await self._database.write(lambda c: rows.delete_before(c, wall - KEEP))

    async def page(self, since: str, limit: int) -> AuditPage:
        """Return entries after a cursor, in order, those that were noted before this call too."""
        await self._flush()
        after = _position(since)
        count = max(1, min(limit, MAX_PAGE))
        found = await self._database.read(lambda c: rows.entries_after(c, after, count + 1))
        entries = found[:count]
        last = entries[-1].seq if entries else after
        return AuditPage(entries=entries, cursor=str(last), more=len(found) > count)

    async def latest(self, wanted: Entries, limit: int) -> AuditPage:
        """Return the last of the entries that are meant, in order."""
        await self._flush()
        count = max(1, min(limit, MAX_PAGE))
        found = await self._database.read(lambda c: rows.latest_entries(c, wanted, count + 1))
        entries = found[-count:]
        last = entries[-1].seq if entries else 0
        return AuditPage(entries=entries, cursor=str(last), more=len(found) > count)


def _position(cursor: str) -> int:
    if cursor in ("", "start"):
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise Invalid("cursor", f"{cursor!r} is not a cursor", "take one from an answer")
    return int(cursor)
