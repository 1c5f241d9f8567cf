"""A copy of the database while others write into it: one state of it, in a file of its own."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from palm.errors import ConfigError
from palm_registry.store.database import StoreError

__all__ = ["back_up", "copy"]

#: Pages that are copied at once: between two such steps it can be given up.
PAGES = 1024


def back_up(url: str, path: Path, *, force: bool = False) -> None:
    """Copy the database at `url` into a file that only its owner may read, all at once or not.

    Raises
    ------
    ConfigError
        The file is there and not to be replaced, or it is no database of SQLite.
    StoreError
        The database cannot be read, or the copy not written.
    """
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", hint="--force replaces it")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        copy(url, temporary)
        if force:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # not over one that has come meanwhile
    except FileExistsError:
        raise ConfigError(f"{path} is there already", hint="--force replaces it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def copy(url: str, path: Path, go_on: Callable[[], bool] = lambda: True) -> None:
    """Copy the database at `url` into a new file, and look for damage there.

    The copy has an identity of its own: put in place of the original it is an earlier state, in
    which cursors of the original lead nowhere. `go_on` is asked between steps; StoreError if not.
    """
    source = _file_of(url)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as original,
            closing(sqlite3.connect(path)) as made,
        ):
            _copy(original, made, go_on)
            made.set_progress_handler(lambda: not go_on(), 100_000)
            _finish(made)
        _sync(path)
    except sqlite3.Error as error:
        raise StoreError(f"the database cannot be copied: {error}") from error


def _file_of(url: str) -> Path:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        shown = parsed.render_as_string(hide_password=True)
        raise ConfigError(
            f"the registry does not copy {shown}",
            key="--db",
            hint="its own tools do: pg_dump, and pg_restore to put it back",
        )
    return Path(parsed.database).absolute()


def _copy(
    original: sqlite3.Connection, made: sqlite3.Connection, go_on: Callable[[], bool]
) -> None:
    def step(_status: int, _remaining: int, _total: int) -> None:
        if not go_on():
            raise StoreError("the copy was given up: the registry ends")

    # As long as this transaction is open we see one state, whatever is written; without it each
    # write in between would make the copy begin again.
    original.isolation_level = None
    original.execute("BEGIN")
    original.execute("SELECT count(*) FROM sqlite_master").fetchone()
    original.backup(made, pages=PAGES, progress=step)
    original.execute("ROLLBACK")


def _finish(made: sqlite3.Connection) -> None:
    made.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    with made:
        made.execute("UPDATE meta SET identity = ?", (secrets.token_hex(4),))
    found = [str(row[0]) for row in made.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StoreError(f"the database is damaged, and so is its copy: {'; '.join(found)}")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
