"""Answers for messages that were not run."""

from __future__ import annotations

import time

from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["refusal"]


def refusal(invoke: Invoke, error: str, text: str, *, n: int | None = None) -> Completed:
    """Return the failure of the next ``n`` messages of an invoke (None: all of them).

    ``error`` is the name of a class.
    """
    n = invoke.stop - invoke.start if n is None else n
    payload = encode_failure(Failure(error, text))
    return Completed(
        invoke.task.lease,
        n,
        Codec.MSGPACK,
        Batch.pack([payload] * n),
        time.time(),
        bytes(4 * n),
        bytes([Kind.TASK_ERROR]) * n,
    )
