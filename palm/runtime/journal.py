"""The journal of a master: an SQLite database that a thread of its own writes and reads.

What comes while the disk is busy is written together (group commit): one wait for the disk serves
all that came during the last one. Large payloads lie in rows of their own, a frame each.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from palm.errors import ConfigError
from palm.protocol.effects import LoadInputs, LoadOutcomes, Write
from palm.protocol.entries import (
    Begun,
    Entry,
    Inputs,
    JobBegun,
    JobEnded,
    Outcomes,
    Owned,
    Recovered,
)
from palm.protocol.events import Event, InputsLoaded, JournalFailed, OutcomesLoaded, Written
from palm.wire.batch import Batch, Buffer
from palm.wire.message import Outcome, Route, Terms
from palm.wire.outcome import failures_in

__all__ = ["Journal"]

#: Version of the tables, kept in the database.
SCHEMA: Final = 2

#: Most entries that are written together.
MAX_GROUP: Final = 1024

#: Messages and bytes that are read back at a time.
LOAD_MESSAGES: Final = 4096
LOAD_BYTES: Final = 4 * 1024 * 1024

#: Bytes of a large payload in one row: a row of SQLite may have fewer than the largest payload.
MAX_FRAME: Final = 64 * 1024 * 1024

#: Seconds for which it is known that a job has ended.
KNOW_ENDED: Final = 7 * 24 * 3600.0

#: Seconds between two tries to write when the disk refuses.
RETRY_AFTER: Final = 1.0

_TABLES: Final = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, job BLOB NOT NULL UNIQUE, function TEXT NOT NULL,
    client TEXT NOT NULL, terms BLOB NOT NULL, began REAL NOT NULL,
    owner BLOB NOT NULL, way BLOB NOT NULL DEFAULT x'',
    closed INTEGER NOT NULL DEFAULT 0, begun INTEGER NOT NULL DEFAULT 0, ended REAL);
CREATE TABLE inputs (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    first INTEGER NOT NULL, n INTEGER NOT NULL, codec INTEGER NOT NULL, partitions BLOB NOT NULL,
    kinds BLOB NOT NULL, lengths BLOB NOT NULL, body BLOB NOT NULL, frames INTEGER NOT NULL);
CREATE UNIQUE INDEX inputs_by_number ON inputs (job, first);
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY, job INTEGER NOT NULL REFERENCES jobs ON DELETE CASCADE,
    position INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL,
    failed INTEGER NOT NULL, header BLOB NOT NULL, lengths BLOB NOT NULL, body BLOB NOT NULL,
    frames INTEGER NOT NULL);
CREATE UNIQUE INDEX outcomes_by_position ON outcomes (job, position);
CREATE TABLE input_frames (
    input INTEGER NOT NULL REFERENCES inputs ON DELETE CASCADE, at INTEGER NOT NULL,
    frame BLOB NOT NULL, PRIMARY KEY (input, at));
CREATE TABLE outcome_frames (
    outcome INTEGER NOT NULL REFERENCES outcomes ON DELETE CASCADE, at INTEGER NOT NULL,
    frame BLOB NOT NULL, PRIMARY KEY (outcome, at));
"""

#: How the frames of large payloads are written and read.
_FRAMES: Final = {
    "input": (
        "INSERT INTO input_frames (input, at, frame) VALUES (?, ?, ?)",
        "SELECT frame FROM input_frames WHERE input = ? ORDER BY at",
    ),
    "outcome": (
        "INSERT INTO outcome_frames (outcome, at, frame) VALUES (?, ?, ?)",
        "SELECT frame FROM outcome_frames WHERE outcome = ? ORDER BY at",
    ),
}

#: From version 1: how messages go on from their master.
_TO_2: Final = "ALTER TABLE jobs ADD COLUMN way BLOB NOT NULL DEFAULT x'';"

_encode = msgspec.msgpack.encode
_way = msgspec.msgpack.Decoder(tuple[str, Route | None])
_terms = msgspec.msgpack.Decoder(Terms)
_outcome = msgspec.msgpack.Decoder(Outcome)


class Journal:
    """Carries out `Write`, `LoadInputs` and `LoadOutcomes`; ``tell`` takes what comes of them.

    ``tell(event)`` is called in the journal's thread. The thread, and the file, are made when they
    are first needed.
    """

    def __init__(self, path: Path, tell: Callable[[Event], None]) -> None:
        self.path = path
        self._tell = tell
        self._commands: deque[Write | LoadInputs | LoadOutcomes] = deque()
        self._wanted = threading.Condition()
        self._closing = False
        self._troubled = False
        self._thread: threading.Thread | None = None

    def recover(self, *, create: bool = False) -> list[Recovered]:
        """Return what an earlier master left; without ``create`` no file is made for that.

        Raises
        ------
        ConfigError
            The file is damaged, or made by another version.
        """
        if not create and not os.path.lexists(self.path):
            return []
        try:
            connection = self._open()
            try:
                return list(_recovered(connection, time.time()))
            finally:
                connection.close()
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            hint = "move it away to begin with an empty one; its jobs are lost then"
            raise ConfigError(
                f"the journal cannot be read: {error}", file=str(self.path), hint=hint
            ) from error

    def put(self, command: Write | LoadInputs | LoadOutcomes) -> None:
        """Have something written or read."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="palm-journal", daemon=True)
            self._thread.start()
        with self._wanted:
            self._commands.append(command)
            self._wanted.notify()

    def close(self) -> None:
        """Write what is left, unless the disk refuses, and end the thread."""
        if self._thread is not None:
            with self._wanted:
                self._closing = True
                self._wanted.notify()
            self._thread.join()
            self._thread = None

    # In its thread

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while (command := self._next()) is not None:
                try:
                    connection = connection or self._open()
                    self._carry_out(connection, command)
                except (sqlite3.Error, OSError) as error:
                    if not self._give_back(command, error):
                        return
        finally:
            if connection is not None:
                connection.close()

    def _next(self) -> list[Write] | LoadInputs | LoadOutcomes | None:
        """Wait for something to do: a read, or all writes up to the next read."""
        with self._wanted:
            while not self._commands:
                if self._closing:
                    return None
                self._wanted.wait()
            group: list[Write] = []
            while self._commands and len(group) < MAX_GROUP:
                command = self._commands[0]
                if not isinstance(command, Write):
                    return group or self._commands.popleft()  # type: ignore[return-value]
                group.append(command)
                self._commands.popleft()
            return group

    def _give_back(
        self, command: list[Write] | LoadInputs | LoadOutcomes, error: Exception
    ) -> bool:
        """Try again after a while what the disk refused; False: there is no time for that."""
        if not self._troubled:
            self._troubled = True
            self._tell(JournalFailed(str(error)))
        with self._wanted:
            self._commands.extendleft(reversed(command) if isinstance(command, list) else [command])
            self._wanted.wait_for(lambda: self._closing, RETRY_AFTER)
            return not self._closing

    def _carry_out(
        self, connection: sqlite3.Connection, command: list[Write] | LoadInputs | LoadOutcomes
    ) -> None:
        if isinstance(command, LoadInputs):
            self._tell(InputsLoaded(command.job, _load_inputs(connection, command)))
        elif isinstance(command, LoadOutcomes):
            self._tell(OutcomesLoaded(command.job, _load_outcomes(connection, command)))
        else:
            self._write(connection, command)
            self._troubled = False
            self._tell(Written(command[-1].ticket, _size(connection)))

    def _write(self, connection: sqlite3.Connection, group: list[Write]) -> None:
        sync = any(command.sync for command in group)
        connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for command in group:
                _insert(connection, command.entry)

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        try:
            version = _version(connection)  # first: a file that is not ours stays as it is
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            steps = {0: _TABLES, 1: _TO_2}.get(version)
            if steps is not None:
                connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA}; COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 of an empty file; raises where they are not ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= SCHEMA:
        raise sqlite3.DatabaseError(f"its version is {version}, not {SCHEMA}")
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if tables and not version:
        raise sqlite3.DatabaseError("it is a database, but no journal")
    return int(version)


def _size(connection: sqlite3.Connection) -> int:
    """Return how many bytes are in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {what}").fetchone()[0]
        for what in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


# Writing


def _insert(connection: sqlite3.Connection, entry: Entry) -> None:
    execute = connection.execute
    if isinstance(entry, JobBegun):
        execute(
            "INSERT INTO jobs (job, function, client, terms, owner, way, began)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(entry.job, entry.function, entry.client, _encode(entry.terms)),
                *(entry.owner, _encode((entry.chain, entry.route)), time.time()),
            ),
        )
    elif isinstance(entry, Owned):
        execute("UPDATE jobs SET owner = ? WHERE job = ?", (entry.owner, entry.job))
    elif isinstance(entry, JobEnded):
        _end(connection, entry.job)
    elif isinstance(entry, Begun):
        execute("UPDATE jobs SET begun = ? WHERE job = ?", (entry.upto, entry.job))
    elif isinstance(entry, Inputs):
        _insert_inputs(connection, entry)
    else:
        _insert_outcomes(connection, entry)


def _end(connection: sqlite3.Connection, job: bytes) -> None:
    """Delete all of a job, but for a while that it has ended."""
    now = time.time()
    for table in ("inputs", "outcomes"):
        query = f"DELETE FROM {table} WHERE job = (SELECT id FROM jobs WHERE job = ?)"  # noqa: S608 - one of two names
        connection.execute(query, (job,))
    connection.execute("UPDATE jobs SET ended = ? WHERE job = ?", (now, job))
    connection.execute("DELETE FROM jobs WHERE ended < ?", (now - KNOW_ENDED,))


def _insert_inputs(connection: sqlite3.Connection, entry: Inputs) -> None:
    batch = entry.batch
    if entry.last:
        connection.execute("UPDATE jobs SET closed = 1 WHERE job = ?", (entry.job,))
    if not batch.n:
        return
    cursor = connection.execute(
        "INSERT INTO inputs (job, first, n, codec, partitions, kinds, lengths, body, frames)"
        " SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM jobs WHERE job = ? AND ended IS NULL",
        (
            *(entry.first, batch.n, entry.codec, entry.partitions, entry.kinds),
            *(*_frames(batch), entry.job),
        ),
    )
    if cursor.rowcount:  # else the job has ended
        _insert_frames(connection, "input", cursor.lastrowid, batch)


def _insert_outcomes(connection: sqlite3.Connection, entry: Outcomes) -> None:
    outcome, batch = entry.outcome, entry.batch
    failed = failures_in(outcome.kinds)
    cursor = connection.execute(
        "INSERT INTO outcomes (job, position, first, n, failed, header, lengths, body, frames)"
        " SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM jobs WHERE job = ? AND ended IS NULL",
        (
            *(outcome.position, outcome.first, outcome.n, failed, _encode(outcome)),
            *(*_frames(batch), entry.job),
        ),
    )
    if cursor.rowcount:  # likewise
        _insert_frames(connection, "outcome", cursor.lastrowid, batch)


def _frames(batch: Batch) -> tuple[Buffer, Buffer, int]:
    return _plain(batch.lengths), _plain(batch.body), len(batch.large)


def _insert_frames(
    connection: sqlite3.Connection, owner: str, row: int | None, batch: Batch
) -> None:
    if batch.large:
        connection.executemany(
            _FRAMES[owner][0],
            ((row, at, piece) for at, piece in enumerate(_pieces(batch.large))),
        )


def _pieces(frames: list[Buffer]) -> Iterator[memoryview]:
    """Cut frames to what a row may have; how a batch's frames are sliced does not matter."""
    for frame in frames:
        view = memoryview(frame)
        for at in range(0, len(view), MAX_FRAME):
            yield view[at : at + MAX_FRAME]


def _plain(frame: Any) -> Buffer:
    """Return what SQLite takes: bytes, or a view of contiguous ones."""
    return frame if isinstance(frame, bytes | memoryview) else memoryview(frame)


# Reading


def _load_inputs(connection: sqlite3.Connection, wanted: LoadInputs) -> list[Inputs]:
    rows = connection.execute(
        "SELECT i.id, first, n, codec, partitions, kinds, lengths, body, frames"
        " FROM inputs i JOIN jobs j ON j.id = i.job WHERE j.job = ? AND first >= ("
        "  SELECT COALESCE(MAX(first), 0) FROM inputs WHERE job = j.id AND first <= ?)"
        " ORDER BY first",
        (wanted.job, wanted.first),
    )
    found: list[Inputs] = []
    room = _Room()
    for row, first, n, codec, partitions, kinds, lengths, body, frames in rows:
        batch = Batch(n, lengths, body, _load_frames(connection, "input", row, frames))
        found.append(Inputs(wanted.job, first, batch, codec, False, partitions, kinds))
        if not room.take(batch):
            break
    return found


def _load_outcomes(connection: sqlite3.Connection, wanted: LoadOutcomes) -> list[Outcomes]:
    rows = connection.execute(
        "SELECT o.id, n, header, lengths, body, frames FROM outcomes o"
        " JOIN jobs j ON j.id = o.job WHERE j.job = ? AND position >= ? ORDER BY position",
        (wanted.job, wanted.position),
    )
    found: list[Outcomes] = []
    room = _Room()
    for row, n, header, lengths, body, frames in rows:
        batch = Batch(n, lengths, body, _load_frames(connection, "outcome", row, frames))
        found.append(Outcomes(wanted.job, _outcome.decode(header), batch))
        if not room.take(batch):
            break
    return found


class _Room:
    """How much may be read at a time."""

    def __init__(self) -> None:
        self._messages, self._bytes = LOAD_MESSAGES, LOAD_BYTES

    def take(self, batch: Batch) -> bool:
        """Note that a batch was read; return whether another may be."""
        self._messages -= batch.n
        self._bytes -= batch.size
        return self._messages > 0 and self._bytes > 0


def _load_frames(connection: sqlite3.Connection, owner: str, row: int, count: int) -> list[Buffer]:
    if not count:
        return []
    return [frame for (frame,) in connection.execute(_FRAMES[owner][1], (row,))]


def _recovered(connection: sqlite3.Connection, now: float) -> Iterator[Recovered]:
    rows = connection.execute(
        "SELECT id, job, function, client, terms, began, closed, begun, ended, owner, way"
        " FROM jobs ORDER BY id"
    ).fetchall()
    for row, job, function, client, terms, began, closed, begun, ended, owner, way in rows:
        (accepted,) = connection.execute(
            "SELECT COALESCE(MAX(first + n), 0) FROM inputs WHERE job = ?", (row,)
        ).fetchone()
        done = connection.execute("SELECT first, first + n FROM outcomes WHERE job = ?", (row,))
        ranges = done.fetchall()
        (failed,) = connection.execute(
            "SELECT COALESCE(SUM(failed), 0) FROM outcomes WHERE job = ?", (row,)
        ).fetchone()
        yield Recovered(
            job,
            function,
            client,
            _terms.decode(terms),
            accepted,
            bool(closed),
            begun,
            len(ranges),
            failed,
            ranges,
            max(now - began, 0.0),
            ended is not None,
            owner,
            *(_way.decode(way) if way else ("", None)),
        )
