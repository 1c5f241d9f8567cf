"""Joins as a user asks for them: which parts belong together, and of how many they are."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from palm.errors import ConfigError
from palm.protocol.joining import KeyOf
from palm.runtime.several import Several
from palm.wire.codec import decode_value, encode_value
from palm.wire.results import unpack_results

__all__ = ["WITHIN", "Join", "joining", "of_parts"]

#: Seconds for which parts wait for the others.
WITHIN: Final = 60.0

#: Characters of a key that an error shows.
_SHOWN: Final = 100


class Join(NamedTuple):
    """Parts of equal keys are one message.

    ``key`` is the name of an item or attribute of a payload, or a function of it; ``parts`` is how
    many parts there are of each key, or a function of a payload that tells. After ``within``
    seconds without the others, those that came fail (None: they wait for ever). Parts of one job
    are joined; with ``across`` also those of different ones.
    """

    key: str | Callable[[Any], Any]
    parts: int | Callable[[Any], int] = 2
    within: float | None = WITHIN
    across: bool = False

    def check(self) -> Join:
        """Return this, or raise `ConfigError` for what cannot be used."""
        if not (isinstance(self.key, str) or callable(self.key)):
            raise ConfigError(f"Join(key={self.key!r})", hint="a name, or a function of a payload")
        if not callable(self.parts) and self.parts < 1:
            raise ConfigError(f"Join(parts={self.parts!r})", hint="a whole number from 1")
        if self.within is not None and not 0 < self.within <= 1e9:
            raise ConfigError(f"Join(within={self.within!r})", hint="seconds, or None: for ever")
        return self


def joining(join: Join) -> Callable[[Any], Several]:
    """Return the hook that tells the key of a part."""

    def call(value: Any) -> Several:
        key = _key(join.key, value)
        parts = join.parts(value) if callable(join.parts) else join.parts
        codec, payload = encode_value(key)
        digest = blake2b(bytes([codec]) + bytes(payload), digest_size=16).digest()
        said = KeyOf(digest, repr(key)[:_SHOWN], max(1, int(parts)), join.across)
        return Several([("", msgspec.msgpack.encode(said)), ("", value)])

    return call


def of_parts(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of parts as they come, joined; ``function`` takes a list of payloads."""

    def call(value: bytes) -> Any:
        items = unpack_results(value).items
        return function([decode_value(item.codec, item.payload) for item in items])

    return call


def _key(key: str | Callable[[Any], Any], value: Any) -> Any:
    if callable(key):
        return key(value)
    return value[key] if isinstance(value, dict) else getattr(value, key)
