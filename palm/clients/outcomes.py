"""Outcomes at the caller's side: decoded when they are wanted, not before."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from palm.errors import OutcomeError, TaskError
from palm.wire.batch import Batch
from palm.wire.codec import decode_batch, decode_value
from palm.wire.message import Outcome
from palm.wire.outcome import Kind, decode_failure

__all__ = ["Chunk", "Failed"]

Failed = TaskError | OutcomeError


@dataclass(slots=True)
class Chunk:
    """Outcomes of messages ``first .. first+n-1`` of one job."""

    function: str
    outcome: Outcome
    batch: Batch
    inputs: list[tuple[int, int, Batch]] = field(default_factory=list)
    #: Results that could not be read here, by their position; known after `values`.
    _unreadable: dict[int, TaskError] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Position of the first message in its job, from 0."""
        return self.outcome.first

    @property
    def n(self) -> int:
        """Messages."""
        return self.outcome.n

    @property
    def kinds(self) -> bytes:
        """One of `Kind` for each message; empty when all are results."""
        if not self._unreadable:
            return self.outcome.kinds
        kinds = bytearray(self.outcome.kinds or bytes(self.n))
        for at in self._unreadable:
            kinds[at] = Kind.TASK_ERROR
        return bytes(kinds)

    @property
    def failed(self) -> int:
        """Messages without a result."""
        kinds = self.kinds
        return len(kinds) - kinds.count(Kind.RESULT)

    @property
    def size(self) -> int:
        """Bytes held, about."""
        return self.batch.size + len(self.outcome.durations) + 256

    @property
    def durations(self) -> array[float]:
        """Seconds that each call took."""
        seconds = array("f")
        seconds.frombytes(self.outcome.durations)
        return seconds

    def values(self) -> list[Any]:
        """Return results, and `Failed` errors in the places of messages without one.

        A result that cannot be read in this process - its class is not to be found, say - is an
        error, too.
        """
        if not self.outcome.kinds:
            try:
                return decode_batch(self.outcome.codec, self.batch)
            except Exception:  # noqa: BLE001 - whatever a pickle raises: find out whose
                payloads = self.batch.payloads()
                return [self._value(at, payload) for at, payload in enumerate(payloads)]
        payloads = self.batch.payloads()
        kinds = self.outcome.kinds
        return [
            self._value(at, payload) if kind == Kind.RESULT else self._error(at, kind, payload)
            for at, (kind, payload) in enumerate(zip(kinds, payloads, strict=True))
        ]

    def segments(self) -> list[list[Any] | Failed]:
        """Return runs of results and, between them, single errors."""
        values = self.values()
        kinds = self.kinds
        if not kinds:
            return [values]
        segments: list[list[Any] | Failed] = []
        run: list[Any] = []
        for kind, value in zip(kinds, values, strict=True):
            if kind == Kind.RESULT:
                run.append(value)
            else:
                segments.extend([run, value] if run else [value])
                run = []
        return [*segments, run] if run else segments

    def errors(self) -> list[Failed]:
        """Return the errors among the outcomes, in order."""
        kinds = self.kinds
        payloads = self.batch.payloads() if kinds else []
        return [
            self._unreadable[at] if at in self._unreadable else self._error(at, kind, payloads[at])
            for at, kind in enumerate(kinds)
            if kind != Kind.RESULT
        ]

    def input(self, index: int) -> Any:
        """Return what was sent as message ``index`` of the job; None when it was not kept."""
        for first, codec, batch in self.inputs:
            if first <= index < first + batch.n:
                try:
                    at = index - first
                    return decode_value(codec, batch.cut(at, at + 1).payloads()[0])
                except Exception as error:  # noqa: BLE001 - it may have failed just for that
                    return f"<cannot be read: {type(error).__name__}: {error}>"
        return None

    def _value(self, at: int, payload: Any) -> Any:
        try:
            return decode_value(self.outcome.codec, payload)
        except Exception as error:  # noqa: BLE001 - whatever a pickle raises
            if at not in self._unreadable:
                self._unreadable[at] = TaskError(
                    type(error).__name__,
                    f"its result cannot be read here: {error}",
                    function=self.function,
                    worker=self.outcome.worker,
                    attempts=self.outcome.attempt,
                    index=self.first + at,
                )
                self._unreadable[at].__cause__ = error.with_traceback(None)
            return self._unreadable[at]

    def _error(self, at: int, kind: int, payload: Any) -> Failed:
        return decode_failure(payload).to_error(
            kind,
            function=self.function,
            worker=self.outcome.worker,
            attempts=self.outcome.attempt,
            index=self.first + at,
        )
