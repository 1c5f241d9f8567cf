"""The shared values of a master: opaque bytes, with the number of their codec in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from palm.errors import CacheFull, ConfigError, PalmError, PayloadTooLarge, WireError
from palm.protocol.store import Store
from palm.wire.batch import MAX_PAYLOAD, Batch
from palm.wire.codec import Codec, encode_value
from palm.wire.message import MAX_TEXT, Browse, Clear, Fetch, Keep, Kept, Swap
from palm.wire.outcome import Failure, class_names, decode_failure, encode_failure, failure_of

__all__ = [
    "REPLIES",
    "Operation",
    "answer",
    "carry_out",
    "check_key",
    "error_of",
    "failure_in",
    "name_of",
    "pack_value",
    "unpack_value",
]

#: Answers kept for each session, so that a repeated operation is not carried out twice; nobody
#: has more operations under way.
REPLIES: Final = 64

#: How a failure says that the cache was full.
_FULL: Final = class_names(CacheFull)[0]

#: What a session may ask of the cache.
Operation = Keep | Fetch | Swap | Browse | Clear


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
    store: Store,
    replies: dict[int, tuple[Kept, Batch | None]],
    request: Operation,
    batch: Batch | None,
    now: float,
) -> tuple[Kept, Batch | None]:
    """Carry out a request of a session whose earlier answers are ``replies``.

    Whatever the user's mapping raises is the answer to this request; see `failure_in`.
    """
    if _only_reads(request, batch):
        return _attempt(store, request, batch, now)  # reading again harms nobody
    known = replies.get(request.op)
    if known is None:
        known = replies[request.op] = _attempt(store, request, batch, now)
        while len(replies) > REPLIES:
            del replies[next(iter(replies))]
    return known


def carry_out(
    store: Store, request: Operation, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    """Carry out a request, whole; raises what the store does."""
    with store.lock:
        return _DEEDS[type(request)](store, request, batch, now)


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
        if _FULL in failure.bases:
            return CacheFull(failure.text, limit=failure.limit)
        return failure.to_error(kept.kinds[0], function="", worker="", attempts=0, index=0)
    except WireError as error:
        return error


def _attempt(
    store: Store, request: Operation, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    try:
        return carry_out(store, request, batch, now)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the mapping is the user's
        kind, failure = failure_of(error)
        if isinstance(error, CacheFull):
            failure.limit, failure.traceback = error.limit, ""
        kept = Kept(0, request.op, name_of(request), False, Codec.MSGPACK, bytes([kind]))
        return kept, Batch.pack([encode_failure(failure)])


def name_of(request: Operation) -> str:
    """Return the key, or the prefix, that a request is about."""
    return request.prefix if isinstance(request, Browse | Clear) else request.key


def _only_reads(request: Operation, batch: Batch | None) -> bool:
    if isinstance(request, Fetch):
        return not request.delete
    return isinstance(request, Browse) or (isinstance(request, Keep) and batch is None)


def _keep(
    store: Store, request: Keep, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    key = request.key
    found = store.has(key, now)
    if batch is not None:
        store.put(key, pack_value(request.codec, batch), request.ttl, now)
    return Kept(0, request.op, key, found, 0), None


def _fetch(
    store: Store, request: Fetch, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    key = request.key
    if request.delete:
        return Kept(0, request.op, key, store.pop(key, now), 0), None
    stored = store.get(key, now)
    if stored is None:
        return Kept(0, request.op, key, False, 0), None
    codec, value = unpack_value(stored)
    return Kept(0, request.op, key, True, codec), value


def _swap(
    store: Store, request: Swap, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    key = request.key
    values = [] if batch is None else batch.payloads()
    expected = bytes([request.expected]) + bytes(values.pop()) if request.expected >= 0 else None
    stored = store.get(key, now)
    # An empty value of the user's mapping counts as b"", see `unpack_value`.
    found = (None if stored is None else bytes(stored) or b"\0") == expected
    if found and request.codec >= 0:
        store.put(key, bytes([request.codec]) + bytes(values.pop()), request.ttl, now)
    elif found:
        store.pop(key, now)
    return Kept(0, request.op, key, found, 0), None


def _browse(
    store: Store, request: Browse, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    if request.only:
        return Kept(0, request.op, "", True, 0, count=store.count(request.prefix, now)), None
    keys, count = store.page(request.prefix, request.after, now)
    codec, payload = encode_value(keys)
    return Kept(0, request.op, "", True, codec, count=count), Batch.pack([payload])


def _clear(
    store: Store, request: Clear, batch: Batch | None, now: float
) -> tuple[Kept, Batch | None]:
    return Kept(0, request.op, "", True, 0, count=store.clear(request.prefix, now)), None


_DEEDS: dict[type, Callable[..., tuple[Kept, Batch | None]]] = {
    Keep: _keep,
    Fetch: _fetch,
    Swap: _swap,
    Browse: _browse,
    Clear: _clear,
}
