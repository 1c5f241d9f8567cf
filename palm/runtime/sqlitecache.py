"""The cache of a master in an SQLite database: values, and their ends, outlive the master."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

from palm.errors import ConfigError, PalmError, PayloadTooLarge
from palm.files import privatefile
from palm.protocol.store import QUOTA, Store, fitting

__all__ = ["SqliteCache"]

#: Version of the tables, kept in the database.
SCHEMA: Final = 1

#: Bytes of its log that stay on the disk after something large was written.
LOG_LIMIT: Final = 16 * 1024 * 1024

#: Bytes of a row besides its value: the longest key, and what SQLite adds.
ROW_ROOM: Final = 1024 * 1024

# Keys are UTF-8, which sorts as Python sorts str, and in which no byte is 0xff.
_TABLE: Final = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, ends REAL, value BLOB NOT NULL);
CREATE INDEX entries_by_end ON entries (ends) WHERE ends IS NOT NULL;
"""


class SqliteCache(Store):
    """Values in a file: `Master` opens it at its start and closes it at its end.

    Each operation is a transaction. What was answered is there after the master was killed; a
    crash of the machine may lose the last of it, but not damage the rest. The answers of a killed
    master are not there: an operation that was under way then may be carried out twice.

    Parameters
    ----------
    path
        The file; it is made, mode 0600, if it is not there. One master uses it at a time.
    quota
        Bytes of keys and values that there is room for.
    wall
        Returns the seconds since 1970: so ends are noted, for the next master.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        quota: int = QUOTA,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__({}, quota, threading.RLock())
        self.path = Path(path)
        self._wall = wall
        self._connection: sqlite3.Connection | None = None
        self._guard = -1

    # Operations are carried out by the master's own thread. A small one takes some 100 us there; to
    # hand it to a thread and back costs as much, and later ones would have to wait for it all the
    # same. Only a checkpoint, after each 4 MB of changes, waits for the disk. A value of 100 MB
    # holds the master up for about a second.

    def open(self, now: float) -> None:
        """Open the file, or make it.

        Raises
        ------
        ConfigError, AuthenticationError
            It cannot be used: it is damaged, no cache, open to others, or another master uses it.
        """
        with self.lock:
            if self._connection is not None:
                raise self._taken()
            try:
                self._guard = self._lock()
                self._connection = connection = self._connect()
                self._take_over(connection, now)
            except BaseException as error:
                self.close()
                if isinstance(error, sqlite3.Error | OSError):
                    raise self._unusable(error) from error
                raise

    def close(self) -> None:
        """Close the file; nothing can be asked any more."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._guard >= 0:
                os.close(self._guard)
                self._guard = -1

    def page(self, prefix: str, after: str, now: float) -> tuple[list[str], int]:
        """Return keys that begin with ``prefix``, from the first ``after`` one, and their number.

        They are in order, and no more than one message should carry.
        """
        self.expire(now)
        low, high = _bounds(prefix)
        if after:
            low = max(low, after.encode() + b"\0")
        query = "SELECT COUNT(*) FROM entries WHERE key >= ? AND key < ?"
        (count,) = self._execute(query, low, high).fetchone()
        query = "SELECT key FROM entries WHERE key >= ? AND key < ? ORDER BY key"
        return fitting(key.decode() for (key,) in self._execute(query, low, high)), count

    def clear(self, prefix: str, now: float) -> int:
        """Delete the keys that begin with ``prefix``; return how many there were."""
        self.expire(now)
        bounds, connection = _bounds(prefix), self._open_one()
        query = (
            "SELECT COUNT(*), COALESCE(SUM(length(key) + length(value)), 0) FROM entries"
            " WHERE key >= ? AND key < ?"
        )
        count, freed = connection.execute(query, bounds).fetchone()
        connection.execute("DELETE FROM entries WHERE key >= ? AND key < ?", bounds)
        self.size -= freed
        for key in [key for key in self._ends if key.startswith(prefix)]:
            del self._ends[key]
        return int(count)

    def count(self, prefix: str, now: float) -> int:
        """Return how many keys begin with ``prefix``."""
        self.expire(now)
        query = "SELECT COUNT(*) FROM entries WHERE key >= ? AND key < ?"
        (count,) = self._execute(query, *_bounds(prefix)).fetchone()
        return int(count)

    # Where the values are

    def _contains(self, key: str) -> bool:
        return self._size_of(key) is not None

    def _read(self, key: str) -> bytes | None:
        row = self._execute("SELECT value FROM entries WHERE key = ?", key.encode()).fetchone()
        return None if row is None else row[0]

    def _size_of(self, key: str) -> int | None:
        query = "SELECT length(value) FROM entries WHERE key = ?"
        row = self._execute(query, key.encode()).fetchone()
        return None if row is None else row[0]

    def _write(self, key: str, stored: bytes, ttl: float) -> None:
        limit = self._open_one().getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - ROW_ROOM
        if len(stored) > limit:
            text = f"a value of {len(stored):,} bytes is more than {limit:,}, which SQLite takes"
            raise PayloadTooLarge(text, limit=limit)
        self._execute(
            "INSERT INTO entries (key, value, ends) VALUES (?, ?, ?) ON CONFLICT (key)"
            " DO UPDATE SET value = excluded.value, ends = excluded.ends",
            *(key.encode(), stored, self._wall() + ttl if ttl > 0 else None),
        )

    def _remove(self, key: str) -> bool:
        return self._execute("DELETE FROM entries WHERE key = ?", key.encode()).rowcount > 0

    def _keys(self, prefix: str) -> Iterator[str]:
        query = "SELECT key FROM entries WHERE key >= ? AND key < ?"
        return (key.decode() for (key,) in self._execute(query, *_bounds(prefix)))

    def _delete_all(self, keys: Collection[str]) -> None:
        """Delete all or none: what is known of them here changes when the file has."""
        connection = self._open_one()
        freed = sum(map(self._cost_of, keys))
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "DELETE FROM entries WHERE key = ?", ((key.encode(),) for key in keys)
            )
        self.size -= freed
        for key in keys:
            self._ends.pop(key, None)

    def _execute(self, query: str, *values: Any) -> sqlite3.Cursor:
        return self._open_one().execute(query, values)

    def _open_one(self) -> sqlite3.Connection:
        if self._connection is None:
            raise PalmError(f"the cache {self.path} is not open: its master does not run")
        return self._connection

    # The file

    def _lock(self) -> int:
        """Keep other masters away: each counts what it has written, and nothing else."""
        guard = privatefile.open_lock(self.path.with_name(f"{self.path.name}.lock"))
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(guard)
            raise self._taken() from error
        return guard

    def _taken(self) -> ConfigError:
        hint = "give each master a file of its own"
        return ConfigError("another master uses this cache", file=str(self.path), hint=hint)

    def _unusable(self, error: sqlite3.Error | OSError) -> ConfigError:
        if isinstance(error, OSError):
            return ConfigError(f"the cache cannot be used: {error}", file=str(self.path))
        hint = "move it away to begin with an empty one"
        return ConfigError(f"the cache cannot be read: {error}", file=str(self.path), hint=hint)

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        for end in (
            "",
            "-wal",
            "-journal",
            "-shm",
        ):  # SQLite reads them all, and values are pickles
            path = self.path.with_name(self.path.name + end)
            if os.path.lexists(path):
                privatefile.read(path, "cache file", 0)
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=1.0
        )
        try:
            version = _version(connection)  # first: a file that is not ours stays as it is
            connection.execute("PRAGMA journal_mode = WAL")
            # A commit does not wait for the disk: only the death of the machine loses it.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
            if not version:
                connection.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {SCHEMA}; COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_over(self, connection: sqlite3.Connection, now: float) -> None:
        """Take what an earlier master left, without what is over."""
        wall = self._wall()
        connection.execute("DELETE FROM entries WHERE ends <= ?", (wall,))
        query = "SELECT COALESCE(SUM(length(key) + length(value)), 0) FROM entries"
        (self.size,) = connection.execute(query).fetchone()
        self._ends.clear()
        self._due.clear()
        for key, ends in connection.execute("SELECT key, ends FROM entries WHERE ends > 0"):
            self._end(key.decode(), now + ends - wall)


def _bounds(prefix: str) -> tuple[bytes, bytes]:
    """Return the range of the keys that begin so, its end not included."""
    low = prefix.encode()
    return low, low + b"\xff"


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the table, 0 of an empty file; raises where it is not ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if version == SCHEMA and "entries" in tables:
        return int(version)
    if version or tables:
        raise sqlite3.DatabaseError("it is a database, but no cache of this version")
    return 0
