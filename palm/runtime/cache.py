"""The cache of a master as a mapping: for clients, for workers, and in the master's own process."""

from __future__ import annotations

import builtins
import math
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, Protocol

from palm.errors import ConfigError
from palm.protocol.cache import Operation, carry_out, check_key, name_of
from palm.protocol.effects import Reply
from palm.protocol.store import QUOTA, Store
from palm.runtime.shared import encoded, value_of
from palm.wire.batch import Batch
from palm.wire.message import Browse, Clear, Fetch, Keep, Swap

__all__ = ["MISSING", "Cache", "LocalValues", "MemoryCache", "store_of"]


class _Missing(Enum):
    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


#: What a key that is not there has in place of a value; see `Cache.cas`.
MISSING: Final = _Missing.MISSING

#: No default, where any value may be one.
_NONE: Final = object()

_HINT: Final = 'None, a mapping, "sqlite", "sqlite:PATH", or a Path'


class Values(Protocol):
    """Who has operations done; raises their errors."""

    def ask(self, request: Operation, batch: Batch | None = None) -> Reply:
        """Have an operation done and wait for the reply."""


class Cache(MutableMapping[str, Any]):
    """The values that a master keeps for all its clients and workers.

    Each call is an operation at the master, whole, and carried out once however often the
    connection breaks meanwhile. One that is under way when the master is killed goes to the next
    master, which does not know whether it was carried out; in memory nothing is left then. Keys
    come in order.

    Parameters
    ----------
    values
        Who has operations done.
    prefix
        What all keys begin with at the master; nobody sees it here.
    """

    def __init__(self, values: Values, prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._ask(Keep(0, 0, self._full(key), 0)).found

    def __iter__(self) -> Iterator[str]:
        return self._names("")

    def __len__(self) -> int:
        return self._ask(Browse(0, 0, self._prefix, only=True)).count

    def __repr__(self) -> str:
        return f"<Cache, prefix {self._prefix!r}>" if self._prefix else "<Cache>"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or ``default``."""
        return value_of(self._ask(Fetch(0, 0, self._full(key), delete=False)), default)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Keep a value, for ``ttl`` seconds (None: for good).

        Raises
        ------
        CacheFull
            The master has no room for it; what was there stays.
        """
        codec, payload = encoded(value)
        request = Keep(0, 0, self._full(key), codec, _seconds(ttl))
        self._ask(request, Batch.pack([payload]))

    def cas(self, key: str, old: Any, new: Any, *, ttl: float | None = None) -> bool:
        """Set ``new`` if the value is ``old``; return whether it was (compare and set).

        `MISSING` as ``old`` means that the key must not be there, as ``new`` that it is deleted.
        The master compares what the values are encoded to, byte by byte. That is exact for plain
        ones: None, numbers, str, bytes, and lists and dicts of these whose items have the same
        order; ``1``, ``1.0`` and ``True`` differ. Others - sets, objects - are pickled, and two
        that are equal may be pickled in different ways: keep a version beside them.

        Without ``ttl`` the new value stays, whatever time the old one had.

        Raises
        ------
        CacheFull
            As `set` does.
        """
        return self._swap(key, _encoded(old), _encoded(new), ttl)

    def pop(self, key: str, default: Any = _NONE) -> Any:
        """Delete a key and return its value, which nobody else gets by `pop`."""
        while True:
            reply = self._ask(Fetch(0, 0, self._full(key), delete=False))
            if not reply.found or reply.batch is None:
                if default is _NONE:
                    raise KeyError(key)
                return default
            stored = (reply.codec, reply.batch.payloads()[0])
            if self._swap(key, stored, None):
                return value_of(reply)

    def popitem(self) -> tuple[str, Any]:
        """Delete some key and return it with its value; raises `KeyError` if there is none."""
        for key in self:
            value = self.pop(key, MISSING)
            if value is not MISSING:
                return key, value
        raise KeyError("the cache is empty")

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key; set it to ``default`` if it is not there."""
        while (value := self.get(key, MISSING)) is MISSING:
            if self.cas(key, MISSING, default):
                return default
        return value

    def clear(self, prefix: str = "") -> int:  # type: ignore[override]
        """Delete all keys that begin with ``prefix``, at once; return how many there were."""
        return self._ask(Clear(0, 0, self._full(prefix))).count

    def delete(self, key: str) -> bool:
        """Delete a key; return whether it was there."""
        return self._ask(Fetch(0, 0, self._full(key), delete=True)).found

    def clean(self, prefix: str) -> int:
        """Delete all keys that begin with ``prefix``: the name that `clear` had in pylm."""
        return self.clear(prefix)

    def list(self, prefix: str = "") -> builtins.list[str]:
        """Return the keys that begin with ``prefix``, in order.

        Those of a large cache come in pages: what is set or deleted meanwhile may be there or
        not.
        """
        return [*self._names(prefix)]

    def _names(self, prefix: str) -> Iterator[str]:
        full, after = self._full(prefix), ""
        while True:
            reply = self._ask(Browse(0, 0, full, after))
            keys = value_of(reply)
            yield from (key[len(self._prefix) :] for key in keys)
            if len(keys) >= reply.count:
                return
            after = keys[-1]

    def _swap(
        self,
        key: str,
        old: tuple[int, Any] | None,
        new: tuple[int, Any] | None,
        ttl: float | None = None,
    ) -> bool:
        values = [each for each in (new, old) if each is not None]
        codec, expected = (-1 if each is None else each[0] for each in (new, old))
        request = Swap(0, 0, self._full(key), codec, expected, _seconds(ttl))
        batch = Batch.pack([payload for _, payload in values]) if values else None
        return self._ask(request, batch).found

    def _ask(self, request: Operation, batch: Batch | None = None) -> Reply:
        return self._values.ask(request, batch)

    def _full(self, key: str) -> str:
        check_key(key)  # before it is put together: a number would become a part of it
        return self._prefix + key


class LocalValues:
    """Has operations done in the master's own process, from any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock

    def ask(self, request: Operation, batch: Batch | None = None) -> Reply:
        """Carry an operation out; raises what the store does."""
        check_key(name_of(request))
        kept, value = carry_out(self._store, request, batch, self._clock())
        return Reply(_nobody, kept.found, kept.key, kept.codec, value, None, kept.count)


class MemoryCache(Store):
    """Values in the memory of the master: they are gone when it ends.

    Parameters
    ----------
    quota
        Bytes of keys and values that there is room for. Python takes some hundred more for each.
    """

    def __init__(self, quota: int = QUOTA) -> None:
        super().__init__({}, quota, threading.RLock())


def store_of(cache: object, default: Callable[[], Path]) -> Store:
    """Return the store that a user asks for; ``default()`` is the file where none is named.

    Raises
    ------
    ConfigError
        It says of no store where that is.
    """
    if cache is None:
        return MemoryCache()
    if isinstance(cache, Store):
        return cache
    if isinstance(cache, MutableMapping):
        return Store(cache, lock=threading.RLock())
    if isinstance(cache, Path):
        return _sqlite(cache)
    kind, _, path = cache.partition(":") if isinstance(cache, str) else ("", "", "")
    if kind != "sqlite":
        raise ConfigError(f"{cache!r} is no place for values", key="cache", hint=_HINT)
    return _sqlite(Path(path).expanduser() if path else default())


def _sqlite(path: Path) -> Store:
    from palm.runtime.sqlitecache import SqliteCache  # SQLite: for those who want it

    return SqliteCache(path)


def _encoded(value: Any) -> tuple[int, Any] | None:
    return None if value is MISSING else encoded(value)


def _seconds(ttl: float | None) -> float:
    if ttl is None:
        return 0.0
    if not 0 < ttl < math.inf:
        raise ConfigError(f"ttl={ttl!r}", hint="a positive number of seconds, or None: for good")
    return float(ttl)


def _nobody(reply: Reply) -> None:
    """Take the reply of an operation whose caller has it already."""
