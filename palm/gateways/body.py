"""The body of a request or an answer that carries batches: messages as they are on the wire.

::

    PLM1  message ...            message:  count  length ...  frame ...

``count`` and each ``length`` (bytes) are little-endian unsigned 32-bit numbers; the frames of a
message are those of `palm.wire.framing`. A request has one TASK; its answer has RESULTs, which
together have one outcome for each of the task's messages, in their order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Final

from palm.errors import WireError
from palm.wire import framing
from palm.wire.batch import MAX_MESSAGES, Batch, Buffer
from palm.wire.codec import Codec
from palm.wire.message import Message, Result, Task
from palm.wire.outcome import Kind, decode_failure

__all__ = ["CONTENT", "pack", "unpack_results", "unpack_task"]

#: The type of such a body.
CONTENT: Final = "application/x-palm-batch"

_MAGIC: Final = b"PLM1"

#: Frames of a message: its header, the lengths, the body, and each payload that is large.
_MAX_FRAMES: Final = 3 + MAX_MESSAGES

#: What a function's end can be, as its worker tells it.
_KINDS: Final = frozenset(
    {Kind.RESULT, Kind.TASK_ERROR, Kind.DEADLINE_EXCEEDED, Kind.PAYLOAD_TOO_LARGE}
)


def pack(messages: Iterable[tuple[Message, Batch]]) -> bytes:
    """Return the body that holds messages."""
    parts: list[Buffer] = [_MAGIC]
    for message, batch in messages:
        frames = framing.pack(message, batch)
        parts.append(struct.pack(f"<{1 + len(frames)}I", len(frames), *map(len, frames)))
        parts += frames
    return b"".join(parts)


def unpack_task(body: Buffer) -> tuple[Task, Batch]:
    """Return the task in a body; raises `WireError` where there is not exactly one."""
    found = _unpack(body)
    if len(found) == 1:
        message, batch = found[0]
        if isinstance(message, Task) and batch is not None and batch.n:
            return message, batch
    raise WireError("a request holds one task with messages")


def unpack_results(body: Buffer, task: Task) -> list[tuple[Result, Batch]]:
    """Return what became of a task's messages, each of them.

    Raises
    ------
    WireError
        There are more or fewer outcomes than messages, or some that a caller could not read.
    """
    found: list[tuple[Result, Batch]] = []
    expected = task.first
    for message, batch in _unpack(body):
        if not isinstance(message, Result) or batch is None or message.first != expected:
            raise WireError(f"no results of message {expected} where they should be")
        _check_outcomes(message, batch)
        expected += message.n
        found.append((message, batch))
    if expected != task.first + task.n:
        raise WireError(f"{expected - task.first} outcomes of {task.n} messages")
    return found


def _check_outcomes(result: Result, batch: Batch) -> None:
    if result.codec not in Codec._value2member_map_:
        raise WireError(f"unknown codec {result.codec}")
    if not set(result.kinds) <= _KINDS:
        raise WireError("outcomes that no function has")
    if any(result.kinds):
        for kind, payload in zip(result.kinds, batch.payloads(), strict=True):
            if kind != Kind.RESULT:
                decode_failure(payload)


def _unpack(body: Buffer) -> list[tuple[Message, Batch | None]]:
    view = memoryview(body)
    if bytes(view[: len(_MAGIC)]) != _MAGIC:
        raise WireError("it does not begin as a body with batches does")
    found, at = [], len(_MAGIC)
    while at < len(view):
        frames, at = _frames(view, at)
        found.append(framing.unpack(frames))
    return found


def _frames(view: memoryview, at: int) -> tuple[list[Buffer], int]:
    """Return the frames of the message at a place, and the place after it."""
    try:
        (count,) = struct.unpack_from("<I", view, at)
        if not 0 < count <= _MAX_FRAMES:
            raise WireError(f"a message of {count} frames")
        sizes = struct.unpack_from(f"<{count}I", view, at + 4)
    except struct.error as error:
        raise WireError("a body that ends within its lengths") from error
    bounds = list(accumulate(sizes, initial=at + 4 * (1 + count)))
    if bounds[-1] > len(view):
        raise WireError("a body that ends within its frames")
    return [view[start:stop] for start, stop in pairwise(bounds)], bounds[-1]
