"""Where a master keeps shared values: a mapping, the ends of those that have one, and a quota.

Time is the machine's: each operation is told what it is ``now``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Final

from palm.errors import CacheFull, ConfigError
from palm.wire.message import MAX_TEXT

__all__ = ["PAGE", "QUOTA", "Store", "fitting"]

#: Bytes of keys and values that a cache takes, unless it is given another quota.
QUOTA: Final = 256 * 1024 * 1024

#: Bytes of keys that go into one answer: a few of these serve the largest of caches.
PAGE: Final = 4 * 1024 * 1024

#: Seconds after which it is tried again to delete what could not be deleted.
RETRY_AFTER: Final = 60.0


class Store:
    """Stored values by key; what ``held`` raises is passed on.

    Who uses it from several threads holds ``lock`` around each operation. A subclass keeps the
    values elsewhere: it overrides what is below "Where the values are", and `page` and `count` if
    it has a better way.

    Parameters
    ----------
    held
        The mapping, which may be the user's; it holds anything that is like bytes.
    quota
        Bytes of keys and values that there is room for (None: as many as there are); the mapping
        is empty then, and nobody else's.
    lock
        A lock that the thread which holds it may take again.
    """

    def __init__(
        self,
        held: MutableMapping[str, bytes] | None = None,
        quota: int | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        if quota is not None and quota < 1:
            raise ConfigError(f"quota={quota}", hint="a positive number of bytes")
        self.lock = nullcontext() if lock is None else lock
        self.quota = quota
        #: Bytes of keys and values, where there is a quota.
        self.size = 0
        self._held: MutableMapping[str, bytes] = {} if held is None else held
        self._ends: dict[str, float] = {}
        #: (when to look, key); what was set or deleted since has entries that mean nothing.
        self._due: list[tuple[float, str]] = []

    # Its life

    def open(self, now: float) -> None:
        """Make ready."""

    def close(self) -> None:
        """Let go of what is open."""

    # What can be done

    def has(self, key: str, now: float) -> bool:
        """Tell whether a key is there."""
        return not self._is_over(key, now) and self._contains(key)

    def get(self, key: str, now: float) -> bytes | None:
        """Return a stored value."""
        return None if self._is_over(key, now) else self._read(key)

    def put(self, key: str, stored: bytes, ttl: float, now: float) -> None:
        """Store a value for ``ttl`` seconds (0: for good).

        Raises
        ------
        CacheFull
            The quota has no room for it; what was there stays.
        """
        grown = self._make_room(key, stored, now) if self.quota is not None else 0
        self._write(key, stored, ttl)
        self.size += grown
        self._end(key, now + ttl if 0 < ttl < inf else None)

    def pop(self, key: str, now: float) -> bool:
        """Delete a key; return whether it was there."""
        was_over = self._is_over(key, now)
        was_there = self._delete(key)
        return was_there and not was_over

    def page(self, prefix: str, after: str, now: float) -> tuple[list[str], int]:
        """Return keys that begin with ``prefix``, from the first ``after`` one, and their number.

        They are in order, and no more than one message should carry.
        """
        keys = sorted(key for key in self._living(prefix, now) if not after or key > after)
        return fitting(keys), len(keys)

    def count(self, prefix: str, now: float) -> int:
        """Return how many keys begin with ``prefix``."""
        return sum(1 for _ in self._living(prefix, now))

    def clear(self, prefix: str, now: float) -> int:
        """Delete the keys that begin with ``prefix``; return how many there were."""
        keys = list(self._keys(prefix))
        count = sum(not self._is_over(key, now) for key in keys)
        self._delete_all(keys)
        return count

    # Ends

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do; None: never."""
        while self._due and self._ends.get(self._due[0][1]) is None:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def expire(self, now: float) -> None:
        """Delete what is over; raises what that raises, and tries again later."""
        over: dict[str, None] = {}  # some are due more than once
        while self._due and self._due[0][0] <= now:
            _, key = heappop(self._due)
            if self._is_over(key, now):
                over[key] = None
        try:
            if over:
                self._delete_all(over)
        except Exception:
            for key in over:
                heappush(self._due, (now + RETRY_AFTER, key))
            raise

    def _is_over(self, key: str, now: float) -> bool:
        end = self._ends.get(key) if self._ends else None
        return end is not None and end <= now

    def _end(self, key: str, when: float | None) -> None:
        """Note when a key ends; None: never."""
        if when is None:
            self._ends.pop(key, None)
            return
        self._ends[key] = when
        heappush(self._due, (when, key))
        if len(self._due) > 2 * len(self._ends) + 64:
            self._due = [(end, key) for key, end in self._ends.items()]
            heapify(self._due)

    # Room

    def _make_room(self, key: str, stored: bytes, now: float) -> int:
        """Return by how much a value makes the cache larger; raises `CacheFull`."""
        quota = self.quota or 0
        cost = _cost(key, len(stored))
        grown = cost - self._cost_of(key)
        if self.size + grown > quota:
            self.expire(now)  # which may have been this key
            grown = cost - self._cost_of(key)
        if grown > 0 and self.size + grown > quota:
            text = (
                f"the cache of the master has no room for {len(stored):,} bytes more: {self.size:,}"
                f" of its quota of {quota:,} bytes are in use; delete or clear keys, give them a"
                f" ttl, or start the master with cache={type(self).__name__}(..., quota=BYTES)"
            )
            raise CacheFull(text, limit=quota)
        return grown

    def _cost_of(self, key: str) -> int:
        size = self._size_of(key)
        return 0 if size is None else _cost(key, size)

    def _delete(self, key: str) -> bool:
        freed = self._cost_of(key) if self.quota is not None else 0
        was_there = self._remove(key)
        self.size -= freed
        self._ends.pop(key, None)
        return was_there

    def _delete_all(self, keys: Collection[str]) -> None:
        for key in keys:
            self._delete(key)

    def _living(self, prefix: str, now: float) -> Iterator[str]:
        return (key for key in self._keys(prefix) if not self._is_over(key, now))

    # Where the values are

    def _contains(self, key: str) -> bool:
        return key in self._held

    def _read(self, key: str) -> bytes | None:
        return self._held.get(key)

    def _size_of(self, key: str) -> int | None:
        """Return the size of a stored value; asked only where there is a quota."""
        stored = self._held.get(key)
        return None if stored is None else len(stored)

    def _write(self, key: str, stored: bytes, ttl: float) -> None:
        self._held[key] = stored

    def _remove(self, key: str) -> bool:
        return self._held.pop(key, None) is not None

    def _keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin so, in any order, but for those that no message can carry."""
        return (key for key in list(self._held) if _can_travel(key) and key.startswith(prefix))


def fitting(keys: Iterable[str]) -> list[str]:
    """Return as many keys as one answer has room for; more than one, if there are more."""
    found: list[str] = []
    room = PAGE
    for key in keys:
        found.append(key)
        room -= len(key.encode())
        if room <= 0 and len(found) > 1:
            break
    return found


def _cost(key: str, size: int) -> int:
    return len(key.encode()) + size


def _can_travel(key: object) -> bool:
    if not isinstance(key, str) or len(key) > MAX_TEXT:
        return False
    try:
        return key.isascii() or bool(key.encode())
    except UnicodeEncodeError:
        return False
