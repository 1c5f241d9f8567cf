"""Any number of results as the one payload of an outcome: `palm.wire.outcome.Kind.MANY`.

They stand in the order in which they were made, and that is what they are known by: the results
of one message are numbered, and those that are made of one of these have its number in front.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from palm.errors import WireError
from palm.wire.batch import Buffer
from palm.wire.message import MAX_TOPIC

__all__ = ["NOTHING", "Item", "Results", "pack_results", "unpack_results"]


class Item(msgspec.Struct, array_like=True):
    """One result. Those with a ``topic`` go to who subscribes to that, the others where all go."""

    codec: int
    payload: bytes
    topic: str = ""


class Results(msgspec.Struct, array_like=True):
    """The results of one message.

    ``left_out`` counts those that were not for who asked, see `palm.wire.message.Route.only`.
    """

    items: list[Item]
    left_out: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Results)


def pack_results(items: Iterable[Item], left_out: int = 0) -> bytes:
    """Return the payload that holds results."""
    return _encoder.encode(Results(list(items), left_out))


#: No result at all.
NOTHING: Final = pack_results([])


def unpack_results(payload: Buffer) -> Results:
    """Return the results in a payload; raises `WireError`."""
    try:
        results: Results = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"not results: {error}") from error
    for item in results.items:
        if not 0 <= item.codec <= 255 or len(item.topic) > MAX_TOPIC:
            raise WireError(f"a result of codec {item.codec} for a topic of {len(item.topic)}")
    return results
