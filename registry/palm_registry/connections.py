"""What is being answered, and to whom: so that it ends with the right to ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from palm.registry_api.schema import Scope

__all__ = ["Connection", "Connections", "Principal"]


@dataclass(frozen=True)
class Principal:
    """Who asks: by which token, of which user, and for which cluster only ("": all of the user).

    ``node`` is the only node that it may be, "" for any. ``token`` is its name, ``digest`` its
    hash. For browsers, ``session`` is the hash of theirs and ``xsrf`` what they must send with
    each change; both are "" for tokens.
    """

    token: str
    scope: Scope
    user: str
    cluster: str = ""
    digest: str = ""
    node: str = ""
    session: str = ""
    xsrf: str = ""

    @property
    def owner(self) -> str | None:
        """Whose clusters there are for this one, None for everybody's."""
        return None if self.scope == "admin" else self.user


class Connection(Protocol):
    """A request that is being answered, be it for hours."""

    principal: Principal

    def cut(self) -> None:
        """End it now: whoever asked may not any more."""


class Connections:
    """All that is being answered; belongs to the event loop."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Note that it has begun."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Note that it is over, or that it shall go on whatever happens."""
        self._open.discard(connection)

    def cut(self, is_over: Callable[[Principal], bool]) -> int:
        """End those of whom `is_over` is true; return how many."""
        over = [each for each in self._open if is_over(each.principal)]
        for connection in over:
            self._open.discard(connection)
            connection.cut()
        return len(over)
