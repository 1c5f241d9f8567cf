"""DataFrames in and out of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from palm.clients.outcomes import Chunk

if TYPE_CHECKING:
    from palm.clients.job import Job

__all__ = ["failures", "items", "results"]

#: Rows turned into dicts at a time.
ROWS: Final = 1024

#: Our columns, behind those of the results.
COLUMNS: Final = ("worker", "started", "duration", "attempts", "error")

_FAILURE_COLUMNS: Final = ("input", "type", "error", "traceback", "worker", "attempts")


def items(data: pd.DataFrame | pd.Series[Any]) -> Iterator[Any]:
    """Iterate over rows as dicts of plain values, or over plain values."""
    for start in range(0, len(data), ROWS):
        part = data.iloc[start : start + ROWS]
        if isinstance(part, pd.Series):
            yield from _plain_values(part)
        else:
            yield from _plain_rows(part)


def results(job: Job, chunks: Sequence[Chunk], missing: int, index: Any) -> pd.DataFrame:
    """Build the frame of a job's outcomes, which are in the order of the input."""
    rows = _Rows()
    for chunk in chunks:
        rows.add(chunk)
    if missing:
        rows.add_missing(missing, job.state)
    frame = _spread(rows.values)
    for name, column in rows.columns().items():
        free = f"palm_{name}" if name in frame.columns else name
        frame[free] = column
    frame.index = _index(index, rows.order)
    frame = frame if rows.in_order else frame.iloc[rows.sorted_positions()]
    frame.attrs["palm"] = {"job": job.id, "function": job.function}
    return frame


def failures(chunks: Sequence[Chunk], index: Any) -> pd.DataFrame:
    """Build the frame of failed messages."""
    rows: list[tuple[Any, ...]] = []
    order: list[int] = []
    for chunk in chunks:
        for error in chunk.errors():
            order.append(error.index)
            kind = getattr(error, "type", type(error).__name__)
            trace = getattr(error, "traceback", "")
            given = chunk.input(error.index)
            rows.append((given, kind, error.text, trace, error.worker, error.attempts))
    frame = pd.DataFrame(dict(zip(_FAILURE_COLUMNS, _columns(rows), strict=True)))
    frame.index = _index(index, order)
    return frame


def _columns(rows: list[tuple[Any, ...]]) -> list[pd.Series[Any]]:
    """Turn rows into columns; the first may hold anything, so pandas must not look into it."""
    width = len(_FAILURE_COLUMNS)
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    return [pd.Series(list(column), dtype=object) for column in columns]


class _Rows:
    """Collects the rows of a frame."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.order: list[int] = []
        self.errors: list[Any] = []
        self.workers: list[str] = []
        self.started: list[float] = []
        self.durations: list[float] = []
        self.attempts: list[int] = []
        self.in_order = True

    def add(self, chunk: Chunk) -> None:
        n = chunk.n
        values = chunk.values()
        errors: list[Any] = [pd.NA] * n
        if chunk.outcome.kinds:
            for at, value in enumerate(values):
                if chunk.outcome.kinds[at]:
                    errors[at] = value.summary
                    values[at] = _NO_RESULT
        self.values.extend(values)
        self.errors.extend(errors)
        self.order.extend(range(chunk.first, chunk.first + n))
        self.workers.extend([chunk.outcome.worker] * n)
        self.attempts.extend([chunk.outcome.attempt] * n)
        at_time = chunk.outcome.started
        for duration in chunk.durations:
            self.started.append(at_time)
            self.durations.append(duration)
            at_time += duration

    def add_missing(self, missing: int, state: str) -> None:
        """Add rows for messages that were submitted and have no outcome."""
        known, number = set(self.order), 0
        for _ in range(missing):
            while number in known:
                number += 1
            self.order.append(number)
            number += 1
        text = "Cancelled: the job was cancelled" if state == "cancelled" else "no outcome"
        self.in_order = False
        self.values.extend([_NO_RESULT] * missing)
        self.errors.extend([text] * missing)
        self.workers.extend([""] * missing)
        self.started.extend([float("nan")] * missing)
        self.durations.extend([float("nan")] * missing)
        self.attempts.extend([0] * missing)

    def sorted_positions(self) -> list[int]:
        return sorted(range(len(self.order)), key=self.order.__getitem__)

    def columns(self) -> dict[str, pd.Series[Any]]:
        started = pd.to_datetime(pd.Series(self.started, dtype="float64"), unit="s", utc=True)
        return {
            "worker": pd.Series(self.workers, dtype="str"),
            "started": started,
            "duration": pd.Series(self.durations, dtype="float64"),
            "attempts": pd.Series(self.attempts, dtype="int64"),
            "error": pd.Series(self.errors, dtype="string"),
        }


class _NoResult:
    """Stands for the result that a failed message does not have."""


_NO_RESULT: Final = _NoResult()


def _spread(values: list[Any]) -> pd.DataFrame:
    """Spread results over columns: dicts by key, namedtuples by field, tuples by position."""
    shapes = {type(value) for value in values} - {_NoResult, type(None)}
    if shapes and all(issubclass(shape, dict) for shape in shapes):
        return pd.DataFrame([value if isinstance(value, dict) else {} for value in values])
    if len(shapes) == 1 and hasattr(shape := next(iter(shapes)), "_fields"):
        rows = [value._asdict() if isinstance(value, shape) else {} for value in values]
        return pd.DataFrame(rows, columns=list(shape._fields))
    if shapes == {tuple}:
        width = max(len(value) for value in values if isinstance(value, tuple))
        filled = [
            (*value, *[None] * (width - len(value)))
            if isinstance(value, tuple)
            else (None,) * width
            for value in values
        ]
        return pd.DataFrame(filled, columns=range(width))
    plain = [None if value is _NO_RESULT else value for value in values]
    return pd.DataFrame({"result": _column(plain)})


def _column(values: list[Any]) -> pd.Series[Any]:
    """Return a column of arbitrary values: arrays and lists stay whole."""
    if all(isinstance(value, bool | int | float | str | None.__class__) for value in values):
        return pd.Series(values, dtype=None if values else object)
    column = pd.Series([None] * len(values), dtype=object)
    for at, value in enumerate(values):
        column.iat[at] = value
    return column


def _index(index: Any, order: list[int]) -> pd.Index[Any]:
    if index is None:
        return pd.RangeIndex(len(order)) if _is_range(order) else pd.Index(order, dtype="int64")
    taken: pd.Index[Any] = index.take(order)
    return index if len(order) == len(index) and _is_range(order) else taken


def _is_range(order: list[int]) -> bool:
    return not order or (order[0] == 0 and order[-1] == len(order) - 1 and order == sorted(order))


def _plain_rows(part: pd.DataFrame) -> list[dict[str, Any]]:
    columns = [str(column) for column in part.columns]
    values = [_plain_values(part.iloc[:, at]) for at in range(part.shape[1])]
    if not values:
        return [{} for _ in range(len(part))]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _plain_values(part: pd.Series[Any]) -> list[Any]:
    """Return the values as Python's own types; what is missing but in a float column as None."""
    if part.dtype.kind in "biufc" and isinstance(part.dtype.type, type):
        values: list[Any] = part.tolist()
        return values
    return [_plain(value) for value in part.tolist()]


def _plain(value: Any) -> Any:
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False)
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    return value


