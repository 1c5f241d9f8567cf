"""The shared values of a master: opaque bytes, with the number of their codec in front."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

from palm.errors import ConfigError
from palm.wire.batch import Batch
from palm.wire.message import MAX_TEXT, Fetch, Keep, Kept

__all__ = ["REPLIES", "answer", "check_key", "pack_value", "unpack_value"]

#: Answers kept for each session, so that a repeated operation is not carried out twice; nobody
#: has more operations under way.
REPLIES: Final = 64


def check_key(key: object) -> None:
    """Raise `ConfigError` for a key that no message can carry."""
    if not isinstance(key, str):
        raise ConfigError(f"{key!r} cannot be a key", hint="a key is a str")
    if len(key) > MAX_TEXT:
        hint = f"a key has up to {MAX_TEXT:,} characters"
        raise ConfigError(f"a key of {len(key):,} characters", hint=hint)
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{key!r} cannot be a key", hint="a key is valid Unicode") from error


def pack_value(codec: int, batch: Batch) -> bytes:
    """Return what is stored for the one value in ``batch``."""
    return bytes([codec]) + bytes(batch.payloads()[0])


def unpack_value(stored: bytes) -> tuple[int, Batch]:
    """Return codec and batch of a stored value; nothing at all counts as b""."""
    return stored[0] if stored else 0, Batch.pack([memoryview(stored)[1:]])


def answer(
    values: MutableMapping[str, bytes],
    replies: dict[int, tuple[Kept, Batch | None]],
    request: Keep | Fetch,
    batch: Batch | None,
) -> tuple[Kept, Batch | None]:
    """Carry out a request of a session whose earlier answers are ``replies``."""
    if isinstance(request, Fetch) and not request.delete:
        return _carry_out(values, request, batch)  # reading again harms nobody
    known = replies.get(request.op)
    if known is None:
        known = replies[request.op] = _carry_out(values, request, batch)
        while len(replies) > REPLIES:
            del replies[next(iter(replies))]
    return known


def _carry_out(
    values: MutableMapping[str, bytes], request: Keep | Fetch, batch: Batch | None
) -> tuple[Kept, Batch | None]:
    key = request.key
    if isinstance(request, Keep):
        found = key in values
        if batch is not None:
            values[key] = pack_value(request.codec, batch)
        return Kept(0, request.op, key, found, 0), None
    stored = values.pop(key, None) if request.delete else values.get(key)
    if stored is None or request.delete:
        return Kept(0, request.op, key, stored is not None, 0), None
    codec, value = unpack_value(stored)
    return Kept(0, request.op, key, True, codec), value
