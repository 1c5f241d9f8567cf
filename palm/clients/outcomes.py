"""Outcomes at the caller's side: decoded when they are wanted, not before."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from palm.errors import OutcomeError, TaskError
from palm.wire.batch import Batch
from palm.wire.codec import decode_value, decode_values
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

    @property
    def first(self) -> int:
        """Position of the first message in its job, from 0."""
        return self.outcome.first

    @property
    def n(self) -> int:
        """Messages."""
        return self.outcome.n

    @property
    def failed(self) -> int:
        """Messages without a result."""
        return len(self.outcome.kinds) - self.outcome.kinds.count(Kind.RESULT)

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
        """Return results, and `Failed` errors in the places of messages without one."""
        kinds = self.outcome.kinds
        payloads = self.batch.payloads()
        if not kinds:
            return decode_values(self.outcome.codec, payloads)
        return [
            decode_value(self.outcome.codec, payload)
            if kind == Kind.RESULT
            else self._error(at, kind, payload)
            for at, (kind, payload) in enumerate(zip(kinds, payloads, strict=True))
        ]

    def segments(self) -> list[list[Any] | Failed]:
        """Return runs of results and, between them, single errors."""
        values = self.values()
        if not self.outcome.kinds:
            return [values]
        segments: list[list[Any] | Failed] = []
        run: list[Any] = []
        for kind, value in zip(self.outcome.kinds, values, strict=True):
            if kind == Kind.RESULT:
                run.append(value)
            else:
                segments.extend([run, value] if run else [value])
                run = []
        return [*segments, run] if run else segments

    def errors(self) -> list[Failed]:
        """Return the errors among the outcomes, in order."""
        payloads = self.batch.payloads() if self.outcome.kinds else []
        return [
            self._error(at, kind, payloads[at])
            for at, kind in enumerate(self.outcome.kinds)
            if kind != Kind.RESULT
        ]

    def input(self, index: int) -> Any:
        """Return what was sent as message ``index`` of the job; None when it was not kept."""
        for first, codec, batch in self.inputs:
            if first <= index < first + batch.n:
                return decode_value(codec, batch.payloads()[index - first])
        return None

    def _error(self, at: int, kind: int, payload: Any) -> Failed:
        return decode_failure(payload).to_error(
            kind,
            function=self.function,
            worker=self.outcome.worker,
            attempts=self.outcome.attempt,
            index=self.first + at,
        )
