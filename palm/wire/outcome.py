"""The kinds of outcome a message can have, and how a failure travels."""

from __future__ import annotations

import traceback
from enum import IntEnum
from types import TracebackType
from typing import Any, Final

import msgspec

from palm import errors
from palm.errors import WireError

__all__ = [
    "MAX_TEXT",
    "Failure",
    "Kind",
    "class_names",
    "decode_failure",
    "describe",
    "encode_failure",
    "failure_of",
    "failures_in",
]

#: Characters of an error's text, and of its traceback, that are sent; the middle is left out.
MAX_TEXT: Final = 16 * 1024

#: Names of classes that are sent of an error.
MAX_BASES: Final = 32


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
    #: Any number of results, also none; see `palm.wire.results`.
    MANY = 12


_NO_FAILURE: Final = bytes([Kind.RESULT, Kind.MANY])


def failures_in(kinds: bytes) -> int:
    """Return how many of the outcomes are failures."""
    return len(kinds.translate(None, _NO_FAILURE)) if kinds else 0


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
    """The payload of every outcome that is not a result.

    ``bases`` are the qualified names of the error's class and of those it is derived from.
    """

    type: str
    text: str
    traceback: str = ""
    limit: int = 0
    bases: list[str] = []

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
        bases = list(map(_escape, failure.bases))
        escaped = Failure(_escape(failure.type), text, traceback, failure.limit, bases)
        return _encoder.encode(escaped)


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


def failure_of(error: BaseException, what: str = "") -> tuple[Kind, Failure]:
    """Return what travels of an error that the user's code raised; ``what`` begins its text."""
    lines = traceback.format_exception(type(error), error, _trim(error.__traceback__))
    text, trace = _shorten(what + describe(error)), _shorten("".join(lines))
    failure = Failure(type(error).__name__, text, trace, bases=class_names(type(error)))
    if isinstance(error, errors.PayloadTooLarge):
        failure.limit = error.limit
        return Kind.PAYLOAD_TOO_LARGE, failure
    return Kind.TASK_ERROR, failure


def class_names(cls: type) -> list[str]:
    """Return the qualified names of a class and its bases, but for `object`; the first 32."""
    bases = type.mro(cls)[:-1][:MAX_BASES]
    return [f"{base.__module__}.{base.__qualname__}" for base in bases]


def _trim(trace: TracebackType | None) -> TracebackType | None:
    """Leave our own frames out: the user's code begins after them."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("palm."):
        trace = trace.tb_next
    return trace


def _shorten(text: str) -> str:
    left_out = len(text) - MAX_TEXT
    if left_out <= 0:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n... {left_out:,} characters left out ...\n{text[-half:]}"


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
