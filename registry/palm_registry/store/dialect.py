"""What a kind of database decides: its address, its connections, and what an error means."""

from __future__ import annotations

import re
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError

from palm.errors import RegistryError

__all__ = [
    "BUSY",
    "READERS",
    "Dialect",
    "StoreError",
    "Taken",
    "Unstorable",
    "reason_of",
    "translated",
]

#: Threads that read, each with a connection of its own.
READERS = 4
#: Seconds to wait for another program that has the database, or a part of it, locked.
BUSY = 5.0
#: What drivers raise, beside errors of the database, for a value that no column can hold.
UNSTORABLE = (OverflowError, UnicodeEncodeError)

#: Where a message of PostgreSQL begins to quote the statement, or what was to be stored.
_QUOTED = re.compile(
    r"^(DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LINE \d+):.*", re.DOTALL | re.MULTILINE
)


class StoreError(RegistryError):
    """The database cannot be used at the moment: locked, full, away, or broken."""


class Taken(StoreError):  # noqa: N818 - says what happened, as palm's own errors do
    """Another registry uses the database."""


class Unstorable(RegistryError):  # noqa: N818 - likewise
    """A value is such that no column can hold it: another try would end the same way."""


class Dialect(Protocol):
    """One database of some kind.

    ``shown`` is its address without secrets, ``hint`` what may help where it cannot be opened.
    ``look`` are the seconds after which an idle connection is looked at, None if it cannot be lost.
    """

    shown: str
    hint: str
    look: float | None

    def engine(self, *, read_only: bool) -> Engine:
        """Return what makes connections, ready for one writer or for `READERS` readers.

        The one who writes keeps every other registry out for as long as it is connected.
        """
        ...

    def check(self, connection: Connection) -> None:
        """Look for damage and for settings under which the registry cannot work.

        Raises
        ------
        ConfigError
            It found some.
        """
        ...

    def make_shrinkable(self, engine: Engine) -> None:
        """See that what is freed can be given back to the file system."""
        ...

    def checkpoint(self, engine: Engine) -> None:
        """Have the files be as large as what is in them, as far as that is up to us."""
        ...

    def is_over(self, error: DBAPIError) -> bool:
        """Say whether an error has ended the transaction, and not only what failed within it."""
        ...

    def is_lost(self, error: DBAPIError) -> bool:
        """Say whether an error means that the database is away, and may come back."""
        ...


def translated(error: Exception) -> RegistryError:
    """Return the error that others see of what a driver raised."""
    if isinstance(error, (DataError, *UNSTORABLE)):
        return Unstorable(f"the database cannot hold this: {reason_of(error)}")
    return StoreError(f"the database cannot be used at the moment: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """Return what a driver said, in one line and without quoting what was to be stored."""
    if not isinstance(error, DBAPIError):
        return str(error) if isinstance(error, UNSTORABLE) else type(error).__name__
    return " ".join(_QUOTED.sub("", str(error.orig)).split())
