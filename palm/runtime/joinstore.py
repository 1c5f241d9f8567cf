"""What a component has joined, on disk until all of its outcomes are safe.

It outlives the process, not the machine: after a crash of that, parts are joined anew.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from palm.errors import ConfigError
from palm.protocol.entries import Joined, PartOf

__all__ = ["JoinStore"]

#: Version of the table; a file of another one is not touched.
SCHEMA: Final = 1

_encode = msgspec.msgpack.Encoder().encode
_parts = msgspec.msgpack.Decoder(list[PartOf])


class JoinStore:
    """A file of one component; used by one thread.

    Raises
    ------
    ConfigError
        The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
            self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            hint = "move it away: what was joined and is not safe is joined anew"
            raise ConfigError(f"{path} cannot be used: {error}", hint=hint) from error

    def _prepare(self) -> None:
        (version,) = self._file.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            raise sqlite3.DatabaseError(f"its version is {version}, not {SCHEMA}")
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = OFF")  # see above
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS joined"
            " (id INTEGER PRIMARY KEY, parts BLOB NOT NULL, whole BLOB NOT NULL)"
        )
        self._file.execute(f"PRAGMA user_version = {SCHEMA}")

    def all(self) -> list[Joined]:
        """Return what an earlier process of the component had joined."""
        rows = self._file.execute("SELECT id, parts, whole FROM joined ORDER BY id")
        return [Joined(id_, _parts.decode(parts), whole) for id_, parts, whole in rows]

    def keep(self, joined: Joined) -> None:
        """Keep what was joined; it is there for the next process when this returns."""
        row = (joined.id, _encode(joined.parts), joined.whole)
        self._file.execute("INSERT OR REPLACE INTO joined VALUES (?, ?, ?)", row)

    def forget(self, id_: int) -> None:
        """Forget what was joined; harmless when it is not there."""
        self._file.execute("DELETE FROM joined WHERE id = ?", (id_,))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
