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

from sqlalchemy import Connection, Engine, Select, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from palm.errors import ConfigError, RegistryError
from palm_registry import models
from palm_registry.migrations import migrate

__all__ = ["Database", "StoreError"]

T = TypeVar("T")
Job = Callable[[Connection], T]

_log = logging.getLogger("palm.registry")

#: Writes that are committed together at most: so many wait for one another.
_BATCH = 64
#: Threads that read.
_READERS = 4
#: Seconds to wait for another program that has the database locked.
_BUSY = 5.0
#: Of a new file: pages that suit output, and that what is freed can be given back.
_PRAGMAS_OF_A_NEW_FILE = ("page_size = 8192", "auto_vacuum = INCREMENTAL")
_PRAGMAS = (
    "journal_mode = WAL",
    f"journal_size_limit = {16 * 1024 * 1024}",
    "synchronous = FULL",
    "foreign_keys = ON",
)
#: Seconds for the search for damage at the start.
_CHECK = 10.0
#: Seconds after which a client should try again when the database could not be used.
RETRY_AFTER = 1.0


def _checkpoint_job(_connection: Connection) -> None:
    """Stand among jobs for what cannot be done in a transaction."""


class StoreError(RegistryError):
    """The database cannot be used at the moment: locked, full, or broken."""


class Database:
    """The database behind ``url`` (SQLAlchemy's form); `open` comes first, `close` last."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._writer = _engine(url, read_only=False)
        self._reader = _engine(url, read_only=True)
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="palm-registry-read")
        self._thread = threading.Thread(
            target=self._write_all, name="palm-registry-write", daemon=True
        )
        #: Tells this database from any other that might take its place.
        self.identity = ""
        #: Told, in the writing thread, of each commit: how many writes, and in how many seconds.
        self.committed: Callable[[int, float], None] = lambda _writes, _seconds: None

    @property
    def waiting(self) -> int:
        """How many writes are not begun."""
        return self._jobs.qsize()

    def open(self) -> None:
        """Check the database, bring it to the latest schema, and begin to take jobs.

        Raises
        ------
        ConfigError
            It is damaged, of a newer palm, or not a database.
        """
        try:
            with self._writer.begin() as connection:
                _check_integrity(connection, self._url)
                migrate(connection)
                self.identity = str(connection.scalar(select(models.meta.c.identity)))
            _make_shrinkable(self._writer)
        except (DBAPIError, sqlite3.Error) as error:
            self._dispose()
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise ConfigError(
                f"the database {_shown(self._url)} cannot be used: {reason}",
                hint="another program may hold it; or restore a backup in its place",
            ) from error
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
        except SQLAlchemyError as error:
            raise _translated(error) from error

    def _write_all(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._commit([entry for entry in batch if entry[0] is not _checkpoint_job])
            for job, future in batch:
                if job is _checkpoint_job and future.set_running_or_notify_cancel():
                    self._checkpoint()
                    future.set_result(None)

    def _checkpoint(self) -> None:
        connection = self._writer.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            _log.warning("the journal was not written back: %s", error)
        finally:
            connection.close()

    def _next_batch(self) -> list[tuple[Job[Any], Future[Any]]] | None:
        first = self._jobs.get()
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

    def _commit(self, batch: list[tuple[Job[Any], Future[Any]]]) -> None:
        wanted = [entry for entry in batch if entry[1].set_running_or_notify_cancel()]
        if not wanted:
            return
        done: list[tuple[Future[Any], Any]] = []
        begun = time.monotonic()
        try:
            with self._writer.begin() as connection:
                for job, future in wanted:
                    _run(connection, job, future, done)
        except Exception as error:  # noqa: BLE001 - it goes to whoever asked for the writes
            _log.error("nothing was written: %s", error)
            failure = _translated(error) if isinstance(error, SQLAlchemyError) else error
            for _job, future in wanted:
                if not future.done():
                    future.set_exception(failure)
            return
        self.committed(len(done), time.monotonic() - begun)
        for future, result in done:
            future.set_result(result)


def _run(
    connection: Connection, job: Job[Any], future: Future[Any], done: list[tuple[Future[Any], Any]]
) -> None:
    savepoint = connection.begin_nested()
    try:
        result = job(connection)
    except DBAPIError as error:
        # A full or failing disk has rolled back everything, the savepoint too.
        if not isinstance(error, IntegrityError):
            raise
        savepoint.rollback()
        future.set_exception(_translated(error))
    except Exception as error:  # noqa: BLE001 - it goes to whoever asked for the write
        savepoint.rollback()
        future.set_exception(error)
    else:
        savepoint.commit()
        done.append((future, result))


def _engine(url: str, *, read_only: bool) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        hint = "it is like sqlite:////home/me/registry.db"
        raise ConfigError(f"{url!r} is not the URL of a database", key="--db", hint=hint) from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database or ":memory:" in url:
        raise ConfigError(
            f"the registry cannot use the database {_shown(url)}",
            key="--db",
            hint="a file of SQLite so far, as in sqlite:////home/me/registry.db",
        )
    size = _READERS if read_only else 1
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        connect_args={"timeout": _BUSY, "check_same_thread": False},
        hide_parameters=True,  # no output and no hash ever goes into a log
    )
    event.listen(engine, "connect", _set_up_reading if read_only else _set_up_writing)
    event.listen(engine, "begin", _begin_reading if read_only else _begin_writing)
    return engine


def _set_up_writing(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver thinks
    is_new = connection.execute("PRAGMA page_count").fetchone() == (0,)
    for pragma in (*_PRAGMAS_OF_A_NEW_FILE, *_PRAGMAS) if is_new else _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _make_shrinkable(engine: Engine) -> None:
    """Have a file of an earlier version give back what it frees; it is written anew for that."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA auto_vacuum").fetchone() != (2,):
            cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
            cursor.execute("VACUUM")
    finally:
        connection.close()


def _set_up_reading(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only = ON")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _check_integrity(connection: Connection, url: str) -> None:
    """Look for damage, as far as one gets in a few seconds."""
    driver: Any = connection.connection.dbapi_connection
    end = time.monotonic() + _CHECK
    driver.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        found = [str(row[0]) for row in driver.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        _log.info("the database is large: it was checked for %.0f s only", _CHECK)
        return
    finally:
        driver.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise ConfigError(
            f"the database {_shown(url)} is damaged: {'; '.join(found)}",
            hint="move it away and restore a backup, or begin with a new one",
        )


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True).removeprefix("sqlite:///")


def _translated(error: SQLAlchemyError) -> StoreError:
    reason = error.orig if isinstance(error, DBAPIError) else type(error).__name__
    return StoreError(f"the database cannot be used at the moment: {reason}")


def fetch_all(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    """Return the rows of a query as plain mappings."""
    return [dict(row) for row in connection.execute(query).mappings()]


def fetch_one(connection: Connection, query: Select[Any]) -> dict[str, Any] | None:
    """Return the first row of a query as a plain mapping, or None."""
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)
