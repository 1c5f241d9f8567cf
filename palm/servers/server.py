"""The server: runs functions for clients, in its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from logging import INFO
from typing import Any, ClassVar, Final
from uuid import uuid4

from palm.runtime.cache import MISSING
from palm.runtime.functions import FunctionTable
from palm.runtime.message import Hook
from palm.servers.listening import CacheSpec
from palm.servers.staged import Previous, Staged

__all__ = ["Server", "Serving"]

#: Where the classes are whose methods are no functions.
OURS: Final = "palm.servers."


class Serving(Staged):
    """Base of components that run functions themselves, in the thread that serves.

    They are the public methods of a subclass, or ``functions``, and `echo`.
    """

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, str | None],
        cache: CacheSpec = None,
        log_level: int = INFO,
        *,
        pipelined: bool = False,
        previous: Iterable[Previous] = (),
        messages: int | None = None,
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
        handle_stream: Hook | None = None,
        durable: bool = False,
    ) -> None:
        super().__init__(
            name,
            addresses,
            cache,
            log_level,
            pipelined=pipelined,
            previous=previous,
            messages=messages,
            hooks={"handle_stream": handle_stream},
            durable=durable,
        )
        self._given_functions = functions

    def echo(self, payload: Any) -> Any:
        """Return what it is given: a function that every server has."""
        return payload

    @property
    def functions(self) -> list[str]:
        """The names of what it serves."""
        return self._functions().names()

    def start(self, cache_messages: int | None = None) -> None:
        """Open, serve until `stop`, SIGTERM or SIGINT, and close; then return.

        Scripts for pylm give ``cache_messages``; it has no effect, since the cache ends with the
        rest of the component.
        """
        super().start()

    def set(self, value: Any, key: str | None = None) -> str:
        """Keep a value in its cache; return its key, a new one if none is given."""
        key = uuid4().hex if key is None else key
        self.cache[key] = value
        return key

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of its cache, or ``default``."""
        return self.cache.get(key, default)

    def delete(self, key: str) -> bool:
        """Delete a value of its cache; return whether it was there."""
        return self.cache.pop(key, MISSING) is not MISSING

    def _functions(self) -> FunctionTable:
        base = next(kind for kind in type(self).__mro__ if kind.__module__.startswith(OURS))
        given = self._given_functions
        own = FunctionTable.of(self, base) if given is None else FunctionTable(given)
        return FunctionTable({"echo": self.echo}).under(own)


class Server(Serving):
    """Runs functions for clients: the public methods of its subclass, or ``functions``.

    Each takes one argument, the payload, and returns the result; a generator has as many results
    as it yields. One call runs at a time; a `palm.Master` with workers runs many.

    Parameters
    ----------
    name
        Its name.
    db_address, pull_address, pub_address
        ``tcp://HOST:PORT`` (port 0: any free one, see `endpoints`) or ``ipc://PATH``; every role
        may connect to any of them. Without one it is found by its name.
    pipelined
        Results go to the stages that subscribe to its name, not to the client.
    messages
        Stop after so many messages (None: never).
    functions
        What to serve, by name, in place of methods.
    handle_stream
        Returns the topic of a result, and the result; a subclass may define the method instead.
    cache
        Where the shared values are kept: in memory (None), in a file ("sqlite", "sqlite:PATH", a
        `Path`), or in a mapping of str to bytes. `MemoryCache` and `SqliteCache` take a quota.
    durable
        Open the journal of durable jobs at the start, and fail if that cannot be done.
    """

    role: ClassVar[str] = "server"

    def __init__(
        self,
        name: str,
        db_address: str | None = None,
        pull_address: str | None = None,
        pub_address: str | None = None,
        pipelined: bool = False,
        log_level: int = INFO,
        messages: int | None = None,
        *,
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
        handle_stream: Hook | None = None,
        cache: CacheSpec = None,
        durable: bool = False,
    ) -> None:
        super().__init__(
            name,
            {"db": db_address, "pull": pull_address, "pub": pub_address},
            cache,
            log_level,
            pipelined=pipelined,
            messages=messages,
            functions=functions,
            handle_stream=handle_stream,
            durable=durable,
        )
