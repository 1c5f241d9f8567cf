"""The shared values of a master: opaque bytes, with the number of their codec in front."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

from palm.errors import ConfigError, PalmError, PayloadTooLarge, WireError
from palm.wire.batch import MAX_PAYLOAD, Batch
from palm.wire.codec import Codec
from palm.wire.message import MAX_TEXT, Fetch, Keep, Kept
from palm.wire.outcome import Failure, decode_failure, encode_failure, failure_of

__all__ = [
    "REPLIES",
    "answer",
    "check_key",
    "error_of",
    "failure_in",
    "pack_value",
    "unpack_value",
]

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
    if not isinstance(stored, bytes | bytearray | memoryview):  # a mapping may hold anything
        raise TypeError(f"the cache holds {type(stored).__name__}, not bytes")
    view = memoryview(stored).cast("B")
    value = view[1:]
    if len(value) > MAX_PAYLOAD:
        text = f"{len(value):,} bytes, more than {MAX_PAYLOAD:,}"
        raise PayloadTooLarge(text, limit=MAX_PAYLOAD)
    return view[0] if view else 0, Batch.pack([value])


def answer(
    values: MutableMapping[str, bytes],
    replies: dict[int, tuple[Kept, Batch | None]],
    request: Keep | Fetch,
    batch: Batch | None,
) -> tuple[Kept, Batch | None]:
    """Carry out a request of a session whose earlier answers are ``replies``.

    Whatever the user's mapping raises is the answer to this request; see `failure_in`.
    """
    if isinstance(request, Fetch) and not request.delete:
        return _attempt(values, request, batch)  # reading again harms nobody
    known = replies.get(request.op)
    if known is None:
        known = replies[request.op] = _attempt(values, request, batch)
        while len(replies) > REPLIES:
            del replies[next(iter(replies))]
    return known


def failure_in(kept: Kept, batch: Batch | None) -> Failure | None:
    """Return what went wrong, where an answer says so; raises `WireError`."""
    if not kept.kinds:
        return None
    if batch is None:
        raise WireError("a failure without its text")
    return decode_failure(batch.payloads()[0])


def error_of(kept: Kept, batch: Batch | None) -> PalmError | None:
    """Return the error for the caller of an operation that failed."""
    try:
        failure = failure_in(kept, batch)
        if failure is None:
            return None
        return failure.to_error(kept.kinds[0], function="", worker="", attempts=0, index=0)
    except WireError as error:
        return error


def _attempt(
    values: MutableMapping[str, bytes], request: Keep | Fetch, batch: Batch | None
) -> tuple[Kept, Batch | None]:
    try:
        return _carry_out(values, request, batch)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the mapping is the user's
        kind, failure = failure_of(error)
        kept = Kept(0, request.op, request.key, False, Codec.MSGPACK, bytes([kind]))
        return kept, Batch.pack([encode_failure(failure)])


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
