"""The kinds of outcome a message can have, and how a failure travels."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from palm import errors
from palm.errors import WireError

__all__ = ["Failure", "Kind", "decode_failure", "describe", "encode_failure"]


class Kind(IntEnum):
    """One byte in `palm.wire.message.Result.kinds`."""

    RESULT = 0
    TASK_ERROR = 1
    FUNCTION_NOT_FOUND = 2
    WORKER_LOST = 3
    MASTER_LOST = 4
    POISON_TASK = 5
    DEADLINE_EXCEEDED = 6
    CANCELLED = 7
    PAYLOAD_TOO_LARGE = 8
    STAGE_LOST = 9
    UNROUTABLE = 10
    WOULD_DEADLOCK = 11


_ERRORS: dict[int, type[errors.JobError]] = {
    Kind.TASK_ERROR: errors.TaskError,
    Kind.FUNCTION_NOT_FOUND: errors.FunctionNotFound,
    Kind.WORKER_LOST: errors.WorkerLost,
    Kind.MASTER_LOST: errors.MasterLost,
    Kind.POISON_TASK: errors.PoisonTask,
    Kind.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    Kind.CANCELLED: errors.Cancelled,
    Kind.PAYLOAD_TOO_LARGE: errors.PayloadTooLarge,
    Kind.STAGE_LOST: errors.StageLost,
    Kind.UNROUTABLE: errors.Unroutable,
    Kind.WOULD_DEADLOCK: errors.WouldDeadlock,
}


class Failure(msgspec.Struct, array_like=True):
    """The payload of every outcome that is not a result."""

    type: str
    text: str
    traceback: str = ""
    limit: int = 0

    def to_error(
        self, kind: int, *, function: str, worker: str, attempts: int, index: int
    ) -> errors.TaskError | errors.OutcomeError:
        """Return the error that a caller sees; raises `WireError` for a kind that is none."""
        if kind not in _ERRORS:
            raise WireError(f"{kind} is no kind of failure")
        cls = _ERRORS[kind]
        where: dict[str, Any] = {
            "function": function,
            "worker": worker,
            "attempts": attempts,
            "index": index,
        }
        if issubclass(cls, errors.TaskError):
            return cls(self.type, self.text, self.traceback, **where)
        if issubclass(cls, errors.PayloadTooLarge):
            return cls(self.text, limit=self.limit, **where)
        if issubclass(cls, errors.OutcomeError):
            return cls(self.text, **where)
        raise WireError(f"no error for outcome kind {kind}")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Failure)


def encode_failure(failure: Failure) -> bytes:
    """Return the payload of a failure; text that is not valid Unicode is escaped."""
    try:
        return _encoder.encode(failure)
    except UnicodeEncodeError:
        text, traceback = _escape(failure.text), _escape(failure.traceback)
        return _encoder.encode(Failure(_escape(failure.type), text, traceback, failure.limit))


def decode_failure(payload: bytes | memoryview) -> Failure:
    """Return the failure of a payload; raises `WireError`."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"not a failure: {error}") from error


def describe(error: BaseException) -> str:
    """Return the text of an error of the user's, whose ``__str__`` may do anything."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001 - see above
        return f"<its text cannot be shown: {type(broken).__name__}>"


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
