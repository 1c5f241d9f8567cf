"""Frames <-> messages with their batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from palm.errors import WireError
from palm.wire.batch import Batch, Buffer
from palm.wire.message import (
    Keep,
    Kept,
    Message,
    Outcome,
    Result,
    Submit,
    Swap,
    Task,
    decode,
    encode,
)

__all__ = ["pack", "unpack"]

_RANGED: Final = (Submit, Outcome, Task, Result)
_VALUED: Final = (Keep, Kept)
_CODED: Final = _RANGED + _VALUED


def pack(message: Message, batch: Batch | None) -> list[Buffer]:
    """Return the frames of a message."""
    header = encode(message)
    return [header] if batch is None else [header, batch.lengths, batch.body, *batch.large]


def unpack(frames: Sequence[Buffer]) -> tuple[Message, Batch | None]:
    """Return the message in received frames, and its batch if its kind has one.

    Raises
    ------
    WireError
        The frames are not a message.
    """
    if not frames:
        raise WireError("no frames")
    message = decode(frames[0])
    if isinstance(message, _CODED) and not 0 <= message.codec <= 255:
        raise WireError(f"codec {message.codec} is not the number of one")
    if isinstance(message, _RANGED):
        _check_range(message)
        if isinstance(message, Submit):
            _check_marks(message)
        return message, Batch.unpack(message.n, frames[1:])
    if isinstance(message, Swap) and (n := _values_of(message)):
        return message, Batch.unpack(n, frames[1:])
    if isinstance(message, _VALUED) and len(frames) > 1:
        return message, Batch.unpack(1, frames[1:])
    if len(frames) > 1:
        raise WireError(f"{len(frames) - 1} frames after {type(message).__name__.upper()}")
    return message, None


def _values_of(message: Swap) -> int:
    """Return how many values follow."""
    codecs = (message.codec, message.expected)
    if not all(-1 <= codec <= 255 for codec in codecs):
        raise WireError(f"codecs {codecs} are not the numbers of any")
    return sum(codec >= 0 for codec in codecs)


def _check_marks(message: Submit) -> None:
    for what in ("partitions", "kinds"):
        marks = len(getattr(message, what))
        if marks not in (0, message.n):
            raise WireError(f"{marks} {what} of {message.n} messages")


def _check_range(message: Submit | Outcome | Task | Result) -> None:
    if message.first < 0 or message.n < 0:
        raise WireError(f"messages {message.first} + {message.n}")
    if isinstance(message, Outcome | Result) and (
        len(message.durations) != 4 * message.n or len(message.kinds) not in (0, message.n)
    ):
        raise WireError(f"durations and kinds are not those of {message.n} messages")
