"""SQLite: a file, one writer by its own lock, and a search for damage at the start."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import QueuePool

from palm.errors import ConfigError
from palm_registry.store.dialect import BUSY, READERS

__all__ = ["SQLite"]

_log = logging.getLogger("palm.registry")

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


class SQLite:
    """A file of SQLite."""

    hint = "another program may hold it; or restore a backup in its place"
    look: float | None = None

    def __init__(self, url: URL) -> None:
        self._url = url
        self.shown = url.database or "in memory"
        if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
            raise ConfigError(
                f"the registry cannot use the database {url.render_as_string()}",
                key="--db",
                hint="a file of SQLite has a path, as in sqlite:////home/me/registry.db",
            )

    def engine(self, *, read_only: bool) -> Engine:
        """Return what makes connections."""
        engine = create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=READERS if read_only else 1,
            max_overflow=0,
            connect_args={"timeout": BUSY, "check_same_thread": False},
            hide_parameters=True,  # no output and no hash ever goes into a log
        )
        event.listen(engine, "connect", _set_up_reading if read_only else _set_up_writing)
        event.listen(engine, "begin", _begin_reading if read_only else _begin_writing)
        return engine

    def check(self, connection: Connection) -> None:
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
                f"the database {self.shown} is damaged: {'; '.join(found)}",
                hint="move it away and restore a backup, or begin with a new one",
            )

    def make_shrinkable(self, engine: Engine) -> None:
        """Have a file of before give back what it frees; it is written anew for that, once."""
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            if cursor.execute("PRAGMA auto_vacuum").fetchone() != (2,):
                cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
                cursor.execute("VACUUM")
        finally:
            connection.close()

    def checkpoint(self, engine: Engine) -> None:
        """Write the journal back, as far as nobody reads: then the file itself is smaller."""
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            _log.warning("the journal was not written back: %s", error)
        finally:
            connection.close()

    def is_over(self, error: DBAPIError) -> bool:
        """Say yes, but for a bad value: a full or failing disk has rolled back everything."""
        return not isinstance(error, IntegrityError | DataError)

    def is_lost(self, _error: DBAPIError) -> bool:
        """Say no: a file is there, or it is not."""
        return False


def _set_up_writing(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver thinks
    is_new = connection.execute("PRAGMA page_count").fetchone() == (0,)
    for pragma in (*_PRAGMAS_OF_A_NEW_FILE, *_PRAGMAS) if is_new else _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _set_up_reading(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only = ON")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
