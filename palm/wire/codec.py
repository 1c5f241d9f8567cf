"""Values <-> payloads, exactly: what arrives equals what was sent, type included.

One codec serves a whole batch and is named in its header. `bytes` pass untouched; MessagePack is
used where it keeps every type (None, bool, int of 64 bits, float, str, bytes, and lists and
string-keyed dicts of these); everything else travels as pickle, protocol 5, large buffers out of
band. Pickle is read only from peers that were authenticated as the same user's.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import chain
from typing import Any, Final

import msgspec

from palm.errors import PayloadTooLarge, WireError
from palm.wire.batch import MAX_PAYLOAD, Batch, Buffer

__all__ = [
    "Codec",
    "decode_batch",
    "decode_value",
    "decode_values",
    "dump_by_value",
    "encode_value",
    "encode_values",
]


class Codec(IntEnum):
    """The codec of a batch, as its header names it."""

    RAW = 0
    MSGPACK = 1
    PICKLE = 2


#: Out-of-band buffers smaller than this (bytes) are not worth a place of their own.
BUFFER_MIN: Final = 4 * 1024

_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes})
_CONTAINERS: Final = frozenset({list, dict})
_PLAIN: Final = _SCALARS | _CONTAINERS
_DICT_ONLY: Final = frozenset({dict})
_KEYS: Final = frozenset({str})
_BYTES_ONLY: Final = {bytes}

#: Lists and dicts within one another that are still looked into.
MAX_DEPTH: Final = 8

_NO_BUFFERS: Final = struct.pack("<I", 0)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


def encode_values(values: Sequence[Any]) -> tuple[Codec, list[Buffer]]:
    """Encode the values of a batch with the first codec that keeps all of them.

    Raises
    ------
    Exception
        Whatever pickling a value raises; find the culprit by encoding one by one.
    """
    if set(map(type, values)) <= _BYTES_ONLY:
        return Codec.RAW, list(values)
    if _are_plain(values):
        try:
            return Codec.MSGPACK, list(map(_encoder.encode, values))
        except (UnicodeEncodeError, OverflowError):
            pass  # a lone surrogate, or an int of more than 64 bits: pickle keeps it
    return Codec.PICKLE, list(map(_pickle, values))


def decode_values(codec: int, payloads: Sequence[Buffer]) -> list[Any]:
    """Decode the payloads of a batch; raises `WireError` where they are not of ``codec``."""
    decode = _DECODERS.get(codec)
    if decode is None:
        raise WireError(f"unknown codec {codec}")
    return decode(payloads)


def encode_value(value: Any) -> tuple[Codec, Buffer]:
    """Encode one value."""
    codec, payloads = encode_values([value])
    return codec, payloads[0]


def decode_batch(codec: int, batch: Batch) -> list[Any]:
    """Decode a whole batch; raises as `decode_values` does."""
    payloads = batch.payloads()
    if codec == Codec.RAW and not batch.large:
        return payloads  # bytes, each of them
    return decode_values(codec, payloads)


def decode_value(codec: int, payload: Buffer) -> Any:
    """Decode one value."""
    return decode_values(codec, [payload])[0]


def _are_plain(values: Sequence[Any]) -> bool:
    """Tell whether MessagePack keeps each of them; of flat dicts, as most rows are, at once."""
    if set(map(type, values)) <= _DICT_ONLY:
        found = map(type, chain.from_iterable(map(dict.values, values)))
        if _SCALARS.issuperset(found):
            return _KEYS.issuperset(map(type, chain.from_iterable(values)))
    return all(map(is_plain, values))


def is_plain(value: Any) -> bool:
    """Tell whether MessagePack keeps ``value`` with all its types, if it has room for its ints.

    A list or dict that occurs twice in it is not plain: MessagePack would write it out each time
    (few lists of a few items can stand for billions), where pickle refers to the first.
    """
    kind = type(value)
    return kind in _SCALARS or ((kind is list or kind is dict) and _holds_plain(value, set()))


def _holds_plain(value: Any, seen: set[int], depth: int = MAX_DEPTH) -> bool:
    """Tell it of a list or dict, which adds itself and those within to ``seen``."""
    if depth == 0 or id(value) in seen:
        return False
    seen.add(id(value))
    if type(value) is dict:
        if not set(map(type, value)) <= _KEYS:
            return False
        value = value.values()
    kinds = set(map(type, value))
    if kinds <= _SCALARS:
        return True
    if not kinds <= _PLAIN:
        return False
    deeper = (item for item in value if type(item) in _CONTAINERS)
    return all(_holds_plain(item, seen, depth - 1) for item in deeper)


def _decode_raw(payloads: Sequence[Buffer]) -> list[bytes]:
    if set(map(type, payloads)) <= _BYTES_ONLY:
        return list(payloads)
    return [payload if type(payload) is bytes else bytes(payload) for payload in payloads]


def _decode_msgpack(payloads: Sequence[Buffer]) -> list[Any]:
    try:
        return list(map(_decoder.decode, payloads))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not MessagePack: {error}") from error


#: Modules made from a file or a cell (`palm.runtime.targets`) have names that begin so.
TARGET_PREFIX: Final = "palm_target_"

#: Pickles that name these modules would not load elsewhere: their classes travel by value.
_BY_VALUE: Final = (b"__main__", TARGET_PREFIX.encode())


# A pickled payload: number of buffers; if any, their sizes after that of the pickle; the pickle;
# the buffers. All numbers are little-endian and of 32 bits.


def _pickle(value: Any) -> Buffer:
    buffers: list[memoryview] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if view.nbytes < BUFFER_MIN:
            return True
        buffers.append(view)
        return False

    pickled = _dump(value, keep_in_band, buffers)
    sizes = [len(pickled), *(view.nbytes for view in buffers)]
    if sum(sizes) > MAX_PAYLOAD:
        raise PayloadTooLarge(f"{sum(sizes):,} bytes, more than {MAX_PAYLOAD:,}", limit=MAX_PAYLOAD)
    if not buffers:
        return _NO_BUFFERS + pickled
    head = struct.pack(f"<{1 + len(sizes)}I", len(buffers), *sizes)
    return b"".join([head, pickled, *buffers])


def _dump(
    value: Any, keep_in_band: Callable[[pickle.PickleBuffer], bool], buffers: list[memoryview]
) -> bytes:
    try:
        pickled = pickle.dumps(value, protocol=5, buffer_callback=keep_in_band)
        if not any(module in pickled for module in _BY_VALUE):
            return pickled
    except (pickle.PicklingError, AttributeError, TypeError):
        pass  # a function or a class that has no importable name: cloudpickle may know a way
    buffers.clear()
    return dump_by_value(value, keep_in_band)


def dump_by_value(
    value: Any, keep_in_band: Callable[[pickle.PickleBuffer], bool] | None = None
) -> bytes:
    """Return a pickle in which functions and classes that cannot be imported elsewhere are whole.

    That is those of scripts, cells and files; all others travel as their names.
    """
    import cloudpickle  # only where it is needed: it costs as much as all of palm to import

    for name, module in list(sys.modules.items()):
        if name.startswith(TARGET_PREFIX):
            cloudpickle.register_pickle_by_value(module)
    dumped: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=keep_in_band)
    return dumped


def _unpickle(payload: Buffer) -> Any:
    view = memoryview(payload)
    try:
        (count,) = struct.unpack_from("<I", view)
        if count == 0:
            return pickle.loads(view[4:])
        size, *sizes = struct.unpack_from(f"<{1 + count}I", view, 4)
        at = 4 * (2 + count)
        if at + size + sum(sizes) != len(view):
            raise WireError("the lengths in a pickled payload do not add up")
        pickled, at = view[at : at + size], at + size
        buffers = []
        for length in sizes:
            # A copy of its own for each: an array made from a shared, read-only frame could not
            # be written to, and the value must behave as the one that was sent.
            buffers.append(bytearray(view[at : at + length]))
            at += length
        return pickle.loads(pickled, buffers=buffers)
    except (struct.error, pickle.UnpicklingError, EOFError) as error:
        raise WireError(f"not a pickled payload: {error}") from error


def _decode_pickles(payloads: Sequence[Buffer]) -> list[Any]:
    return list(map(_unpickle, payloads))


_DECODERS: dict[int, Callable[[Sequence[Buffer]], list[Any]]] = {
    Codec.RAW: _decode_raw,
    Codec.MSGPACK: _decode_msgpack,
    Codec.PICKLE: _decode_pickles,
}
