"""The database: one thread that writes, a few that read, and never the event loop.

Writes that wait together are committed together, each in a savepoint of its own: one that fails
takes nothing with it. A write has happened, on disk, when its future has a result.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from palm.errors import ConfigError, RegistryError
from palm_registry import models
from palm_registry.migrations import migrate
from palm_registry.store.dialect import (
    READERS,
    UNSTORABLE,
    Dialect,
    StoreError,
    Taken,
    Unstorable,
    reason_of,
    translated,
)
from palm_registry.store.postgresql import PostgreSQL
from palm_registry.store.sqlite import SQLite

__all__ = ["Database", "StoreError", "Unstorable"]

T = TypeVar("T")
Job = Callable[[Connection], T]
_Entry = tuple[Job[Any], Future[Any]]

_log = logging.getLogger("palm.registry")

#: Writes that are committed together at most: so many wait for one another.
_BATCH = 64
#: Seconds between two attempts to get back to a database that was lost.
_AGAIN = 1.0
#: What an address is like.
_URLS = "sqlite:////home/me/registry.db or postgresql://USER@HOST/DATABASE"


def _checkpoint_job(_connection: Connection) -> None:
    """Stand among jobs for what cannot be done in a transaction."""


class Database:
    """The database behind ``url`` (SQLAlchemy's form); `open` comes first, `close` last."""

    def __init__(self, url: str) -> None:
        self._dialect = dialect_of(url)
        self._writer = self._dialect.engine(read_only=False)
        self._reader = self._dialect.engine(read_only=True)
        self._jobs: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="palm-registry-read")
        self._thread = threading.Thread(
            target=self._write_all, name="palm-registry-write", daemon=True
        )
        self._failed = 0
        self._lost = False
        #: Tells this database from any other that might take its place.
        self.identity = ""
        #: How often the database was lost and has come back. Commits that were under way when it
        #: went may have happened, and nobody was told.
        self.returns = 0
        #: Told, in the writing thread, of each commit: how many writes, and in how many seconds.
        self.committed: Callable[[int, float], None] = lambda _writes, _seconds: None

    @property
    def waiting(self) -> int:
        """How many writes are not begun."""
        return self._jobs.qsize()

    @property
    def shown(self) -> str:
        """The address of the database, without secrets."""
        return self._dialect.shown

    def open(self) -> None:
        """Check the database, bring it to the latest schema, and begin to take jobs.

        Raises
        ------
        ConfigError
            It is damaged, of a newer palm, not a database, or in use by another registry.
        """
        try:
            with self._writer.begin() as connection:
                self._dialect.check(connection)
                migrate(connection)
                self.identity = str(connection.scalar(select(models.meta.c.identity)))
            self._dialect.make_shrinkable(self._writer)
        except (DBAPIError, sqlite3.Error) as error:
            self._dispose()
            reason = reason_of(error) if isinstance(error, DBAPIError) else error
            raise ConfigError(
                f"the database {self.shown} cannot be used: {reason}", hint=self._dialect.hint
            ) from error
        except Taken as error:
            self._dispose()
            hint = "stop it first, or give each registry a database of its own"
            raise ConfigError(str(error), hint=hint) from error
        except ConfigError:
            self._dispose()
            raise
        self._thread.start()

    def close(self) -> None:
        """Finish the jobs that were taken, and let go of the database."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        self._dispose()

    def _dispose(self) -> None:
        self._threads.shutdown()
        self._reader.dispose()
        self._writer.dispose()

    async def write(self, job: Job[T]) -> T:
        """Run `job` in the writing thread; return what it returns, once it is on disk.

        What `job` raises is raised here, and nothing of it is kept.
        """
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return await asyncio.wrap_future(future)

    async def checkpoint(self) -> None:
        """Have the database's file itself be as large as what is in it, as far as nobody reads."""
        future: Future[None] = Future()
        self._jobs.put((_checkpoint_job, future))
        await asyncio.wrap_future(future)

    async def read(self, job: Job[T]) -> T:
        """Run `job`, which only reads, on one state of the database."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, job)

    def _read(self, job: Job[T]) -> T:
        try:
            with self._reader.connect() as connection:
                return job(connection)
        except (SQLAlchemyError, *UNSTORABLE) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> RegistryError:
        """Return what others see of an error: not where a server is, nor why it is away."""
        if isinstance(error, Taken):
            return StoreError("another registry uses the database")
        if self._is_lost(error):
            return StoreError("the database cannot be reached at the moment")
        return translated(error)

    def _is_lost(self, error: Exception) -> bool:
        # A database that another registry has taken is as lost as one that is not there.
        return isinstance(error, Taken) or (
            isinstance(error, DBAPIError) and self._dialect.is_lost(error)
        )

    def _write_all(self) -> None:
        while (batch := self._next_batch()) is not None:
            # An empty batch looks whether the database is still there, or there again: who keeps
            # other registries out is not to be away for long.
            self._commit([entry for entry in batch if entry[0] is not _checkpoint_job])
            for job, future in batch:
                if job is _checkpoint_job and future.set_running_or_notify_cancel():
                    self._dialect.checkpoint(self._writer)
                    future.set_result(None)

    def _next_batch(self) -> list[_Entry] | None:
        try:
            first = self._jobs.get(timeout=_AGAIN if self._lost else self._dialect.look)
        except queue.Empty:
            return []
        if first is None:
            return None
        batch = [first]
        while len(batch) < _BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            batch.append(job)
        return batch

    def _commit(self, batch: list[_Entry]) -> None:
        wanted = [entry for entry in batch if entry[1].set_running_or_notify_cancel()]
        done: list[tuple[Future[Any], Any]] = []
        begun = time.monotonic()
        try:
            with self._writer.begin() as connection:
                for job, future in wanted:
                    self._run(connection, job, future, done)
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked for the writes
            failure = self._note_failure(error)
            for _job, future in wanted:
                if not future.done():
                    future.set_exception(failure)
            return
        self._note_success()
        if wanted:
            self.committed(len(done), time.monotonic() - begun)
        for future, result in done:
            future.set_result(result)

    def _run(
        self,
        connection: Connection,
        job: Job[Any],
        future: Future[Any],
        done: list[tuple[Future[Any], Any]],
    ) -> None:
        result = self.attempt(connection, job)
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            done.append((future, result))

    def attempt(self, connection: Connection, job: Job[T]) -> T | Exception:
        """Run a part of a write: where it raises an error nothing of it is kept; return that."""
        savepoint = connection.begin_nested()
        try:
            result = job(connection)
        except (DBAPIError, *UNSTORABLE) as error:
            if isinstance(error, DBAPIError) and self._dialect.is_over(error):
                raise
            savepoint.rollback()
            return self._translated(error)
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked for the write
            savepoint.rollback()
            return error
        savepoint.commit()
        return result

    def _note_failure(self, error: Exception) -> Exception:
        """Say once, for all that follow, that nothing is written; return what others see."""
        known = isinstance(error, SQLAlchemyError)
        if not self._failed:
            _log.error("the database is not written: %s", reason_of(error) if known else error)
        self._failed += 1
        self._lost = self._lost or self._is_lost(error)
        return self._translated(error) if known or self._is_lost(error) else error

    def _note_success(self) -> None:
        if self._failed:
            _log.warning("the database can be written again, after %d attempts", self._failed)
        if self._lost:
            self.returns += 1
        self._failed, self._lost = 0, False


def dialect_of(url: str) -> Dialect:
    """Return the kind of database that is at an address.

    Raises
    ------
    ConfigError
        There is no such kind, or it is no address.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without its cause: that would quote a password.
        shown = url.rpartition("@")[2]
        text = f"{shown!r} is not the URL of a database"
        raise ConfigError(text, key="--db", hint=_URLS) from None
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        return SQLite(parsed)
    if kind in ("postgresql", "postgres"):
        return PostgreSQL(parsed)
    raise ConfigError(f"the registry knows no database {kind!r}", key="--db", hint=_URLS)


def fetch_all(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Return the rows of a query as plain mappings."""
    result = connection.execute(query)
    keys = list(result.keys())  # once, and not for each of thousands of rows
    return [dict(zip(keys, row, strict=True)) for row in result]


def fetch_one(connection: Connection, query: Select[Any]) -> dict[str, Any] | None:
    """Return the first row of a query as a plain mapping, or None."""
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)
