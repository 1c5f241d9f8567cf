"""Outcomes at the caller's side: decoded when they are wanted, not before."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from palm.errors import OutcomeError, TaskError, WireError
from palm.wire.batch import Batch, Buffer
from palm.wire.codec import decode_batch, decode_value
from palm.wire.message import Outcome
from palm.wire.outcome import Kind, decode_failure, failures_in
from palm.wire.results import Results, unpack_results

__all__ = ["Chunk", "Failed", "Row"]

Failed = TaskError | OutcomeError


class Row(NamedTuple):
    """One result, or the error of a message without one.

    ``at`` is the position of its message in the chunk; there are as many as it has results.
    """

    at: int
    value: Any
    failed: bool


@dataclass(slots=True)
class Chunk:
    """Outcomes of messages ``first .. first+n-1`` of one job."""

    function: str
    outcome: Outcome
    batch: Batch
    inputs: list[tuple[int, int, Batch]] = field(default_factory=list)
    #: Results that could not be read here, by the position of their message and their own;
    #: known after `values`.
    _unreadable: dict[tuple[int, int], TaskError] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Position of the first message in its job, from 0."""
        return self.outcome.first

    @property
    def n(self) -> int:
        """Messages."""
        return self.outcome.n

    @property
    def is_plain(self) -> bool:
        """Whether each message has one result, and each of them can be read; after `values`."""
        return not self.outcome.kinds and not self._unreadable

    @property
    def failed(self) -> int:
        """Messages without a result that should have one."""
        return failures_in(self.outcome.kinds) + len({at for at, _ in self._unreadable})

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

    @property
    def left_out(self) -> int:
        """Results that came from other stages than the one that was asked for."""
        return sum(results.left_out for _, results in self._many())

    @property
    def count(self) -> int:
        """Results; failed messages have none."""
        many = self._many()
        found = sum(len(results.items) for _, results in many)
        return self.n - failures_in(self.outcome.kinds) - len(many) + found

    def values(self) -> list[Any]:
        """Return results, and `Failed` errors in the places of messages without one.

        A result that cannot be read in this process - its class is not to be found, say - is an
        error, too.
        """
        if not self.outcome.kinds:
            try:
                return decode_batch(self.outcome.codec, self.batch)
            except Exception:  # noqa: BLE001 - whatever a pickle raises: find out whose
                return [row.value for row in self.rows()]
        return [row.value for row in self.rows()]

    def rows(self) -> list[Row]:
        """Return the same one by one, with the messages that they are of."""
        payloads = self.batch.payloads()
        kinds = self.outcome.kinds or bytes(self.n)
        rows: list[Row] = []
        for at, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
            if kind == Kind.RESULT:
                rows.append(self._row(at, 0, self.outcome.codec, payload))
            elif kind == Kind.MANY:
                rows += self._rows_of_many(at, payload)
            else:
                rows.append(Row(at, self._error(at, kind, payload), True))
        return rows

    def segments(self) -> list[list[Any] | Failed]:
        """Return runs of results and, between them, single errors."""
        values = self.values()
        if self.is_plain:
            return [values]
        segments: list[list[Any] | Failed] = []
        run: list[Any] = []
        for row in self.rows():
            if not row.failed:
                run.append(row.value)
            else:
                segments.extend([run, row.value] if run else [row.value])
                run = []
        return [*segments, run] if run else segments

    def errors(self) -> list[Failed]:
        """Return the errors among the outcomes, in order."""
        if not self.outcome.kinds and not self._unreadable:
            return []
        payloads = self.batch.payloads()
        kinds = self.outcome.kinds or bytes(self.n)
        found: dict[tuple[int, int], Failed] = dict(self._unreadable)
        for at, kind in enumerate(kinds):
            if kind not in (Kind.RESULT, Kind.MANY):
                found[at, 0] = self._error(at, kind, payloads[at])
        return [found[key] for key in sorted(found)]

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

    def _rows_of_many(self, at: int, payload: Buffer) -> list[Row]:
        try:
            items = unpack_results(payload).items
        except WireError as error:
            return [Row(at, self._cannot_read(at, 0, error), True)]
        return [
            self._row(at, number, item.codec, item.payload) for number, item in enumerate(items)
        ]

    def _many(self) -> list[tuple[int, Results]]:
        """Return the messages that have any number of results, with these."""
        if Kind.MANY not in self.outcome.kinds:
            return []
        payloads = self.batch.payloads()
        found = []
        for at, kind in enumerate(self.outcome.kinds):
            if kind == Kind.MANY:
                try:
                    found.append((at, unpack_results(payloads[at])))
                except WireError:  # `rows` makes an error of it
                    found.append((at, Results([])))
        return found

    def _row(self, at: int, number: int, codec: int, payload: Buffer) -> Row:
        try:
            return Row(at, decode_value(codec, payload), False)
        except Exception as error:  # noqa: BLE001 - whatever a pickle raises
            return Row(at, self._cannot_read(at, number, error), True)

    def _cannot_read(self, at: int, number: int, error: Exception) -> TaskError:
        key = (at, number)
        if key not in self._unreadable:
            self._unreadable[key] = TaskError(
                type(error).__name__,
                f"its result cannot be read here: {error}",
                function=self.function,
                worker=self.outcome.worker,
                attempts=self.outcome.attempt,
                index=self.first + at,
            )
            self._unreadable[key].__cause__ = error.with_traceback(None)
        return self._unreadable[key]

    def _error(self, at: int, kind: int, payload: Any) -> Failed:
        return decode_failure(payload).to_error(
            kind,
            function=self.function,
            worker=self.outcome.worker,
            attempts=self.outcome.attempt,
            index=self.first + at,
        )
