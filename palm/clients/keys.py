"""Keys of items: the messages of one key are dispatched one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from palm.errors import ConfigError

__all__ = ["Keys", "partition_of"]

#: Partitions that keys are spread over: one byte each in a header.
PARTITIONS: Final = 256

#: Spreads numbers that follow one another, or are all multiples of one (2**64 / golden ratio).
_SPREAD: Final = 0x9E3779B97F4A7C15


def partition_of(key: Any) -> int:
    """Return the partition of a key, 0 to 255: the same for equal keys.

    That of numbers and plain text is the same in every process, so that a durable job that is
    resumed keeps its order.
    """
    if isinstance(key, str):
        key = crc32(str.encode(key, "utf-8", "surrogatepass"))
    return (hash(key) * _SPREAD >> 56) % PARTITIONS


class Keys:
    """Finds the key of each item.

    ``key`` is the name of a column or attribute, a callable that is given the item, or a
    sequence with the key of each item; ``size`` counts the items, if that is known.
    """

    def __init__(self, key: Any, size: int | None) -> None:
        self._of = _finder(key, size)

    def partition(self, index: int, item: Any) -> int:
        """Return the partition of an item by its position; raises what its key raises."""
        return partition_of(self._of(index, item))

    def partitions(self, first: int, items: Sequence[Any]) -> bytes:
        """Return those of items that follow one another."""
        return bytes([self.partition(index, item) for index, item in enumerate(items, first)])


def _finder(key: Any, size: int | None) -> Callable[[int, Any], Any]:
    if isinstance(key, str):
        return lambda index, item: _field(item, key)
    if callable(key):
        return lambda index, item: key(item)
    try:
        keys = list(key)
    except TypeError as error:
        hint = "the name of a column or attribute, a callable, or a key for each item"
        raise ConfigError(f"key={key!r}", hint=hint) from error
    if size is not None and len(keys) < size:
        raise ConfigError(f"{len(keys):,} keys for {size:,} items", hint="one for each item")
    return lambda index, item: keys[index]


def _field(item: Any, name: str) -> Any:
    return item[name] if isinstance(item, Mapping) else getattr(item, name)
