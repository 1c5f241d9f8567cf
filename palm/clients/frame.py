"""DataFrames in and out of jobs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from palm.clients.outcomes import Chunk, Failed
from palm.errors import ConfigError, TaskError
from palm.wire.message import Journaled

if TYPE_CHECKING:
    from palm.clients.job import Job

__all__ = ["durable_jobs", "failures", "items", "results"]

#: Rows turned into dicts at a time.
ROWS: Final = 1024

#: Our columns, behind those of the results.
COLUMNS: Final = ("worker", "started", "duration", "attempts", "error")

#: Integers up to this are exact as floats, which is what pandas makes of them beside a gap.
_EXACT: Final = 1 << 53

#: Types of results that pandas may put in a column of a type of its own.
_SCALARS: Final = (
    *(bool, int, float, complex, str, bytes, type(None)),
    *(dt.date, dt.datetime, dt.timedelta),
    *(pd.Timestamp, pd.Timedelta, type(pd.NaT), type(pd.NA)),
)
_NUMPY_SCALARS: Final = (np.number, np.bool_, np.str_, np.bytes_, np.datetime64, np.timedelta64)


def items(data: pd.DataFrame | pd.Series[Any]) -> Iterator[Any]:
    """Iterate over rows as dicts of plain values, or over plain values.

    The keys are the columns' names as text. Numbers, text and bools become Python's own, times
    `datetime` (in microseconds) and `timedelta`. What is missing is None, but NaN in a column of
    floats, where it is a number like others. Anything else stays as it is.

    Raises
    ------
    ConfigError
        Two columns have the same name: a dict could hold one of them only.
    """
    data = data.copy(deep=False)  # what the caller changes from now on is not what was given
    if isinstance(data, pd.Series):
        return (value for part in _parts(data) for value in _plain_values(part))
    keys = _keys(data)
    return (row for part in _parts(data) for row in _plain_rows(part, keys))


def results(job: Job, chunks: Sequence[Chunk], missing: int, index: Any) -> pd.DataFrame:
    """Build the frame of a job's outcomes, which are in the order of the input."""
    rows = _Rows()
    for chunk in chunks:
        rows.add(chunk)
    if missing:
        rows.add_missing(missing, job.state)
    frame = _spread(rows.values)
    for name, column in rows.columns().items():
        frame[_free(name, frame.columns)] = column
    frame.index = _index(index, rows.order)
    frame = frame if rows.in_order else frame.iloc[rows.sorted_positions()]
    frame.attrs["palm"] = {"job": job.id, "function": job.function}
    return frame


def failures(chunks: Sequence[Chunk], index: Any) -> pd.DataFrame:
    """Build the frame of failed messages."""
    errors = [(chunk, error) for chunk in chunks for error in chunk.errors()]
    frame = pd.DataFrame(
        {
            "input": _objects([chunk.input(error.index) for chunk, error in errors]),
            "type": _texts(_type_of(error) for _, error in errors),
            "error": _texts(error.text for _, error in errors),
            "traceback": _texts(getattr(error, "traceback", "") for _, error in errors),
            "worker": _texts(error.worker for _, error in errors),
            "attempts": pd.Series([error.attempts for _, error in errors], dtype="int64"),
        }
    )
    frame.index = _index(index, [error.index for _, error in errors])
    return frame


def durable_jobs(jobs: Sequence[Journaled]) -> pd.DataFrame:
    """Build the frame of the jobs in a master's journal."""
    now = pd.Timestamp.now("UTC")
    return pd.DataFrame(
        {
            "job": _texts(job.job.hex() for job in jobs),
            "function": _texts(job.function for job in jobs),
            "state": _texts(map(_state, jobs)),
            "accepted": pd.Series([job.accepted for job in jobs], dtype="int64"),
            "done": pd.Series([job.done for job in jobs], dtype="int64"),
            "failed": pd.Series([job.failed for job in jobs], dtype="int64"),
            "began": pd.Series(
                [now - pd.Timedelta(seconds=job.age) for job in jobs], dtype="datetime64[us, UTC]"
            ),
            "client": _texts(job.client for job in jobs),
            "attached": pd.Series([job.attached for job in jobs], dtype="bool"),
        }
    )


def _state(job: Journaled) -> str:
    if not job.closed:
        return "open"
    return "done" if job.done >= job.accepted else "running"


def _type_of(error: Failed) -> str:
    return error.type if isinstance(error, TaskError) else type(error).__name__


def _texts(values: Iterable[str]) -> pd.Series[Any]:
    return pd.Series(list(values), dtype="str")


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
        for at, kind in enumerate(chunk.kinds):
            if kind:
                errors[at] = values[at].summary
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
            "worker": _texts(self.workers),
            "started": started,
            "duration": pd.Series(self.durations, dtype="float64"),
            "attempts": pd.Series(self.attempts, dtype="int64"),
            "error": pd.Series(self.errors, dtype="string"),
        }


class _NoResult:
    """Stands for the result that a failed message does not have."""


_NO_RESULT: Final = _NoResult()


def _free(name: str, taken: pd.Index[Any]) -> str:
    while name in taken:
        name = f"palm_{name}"
    return name


def _spread(values: list[Any]) -> pd.DataFrame:
    """Spread results over columns: dicts by key, namedtuples by field, tuples by position."""
    shapes = {type(value) for value in values} - {_NoResult, type(None)}
    if shapes and all(issubclass(shape, dict) for shape in shapes):
        rows = [value if isinstance(value, dict) else {} for value in values]
        return _exact(pd.DataFrame(rows), lambda key: [row.get(key) for row in rows])
    if shapes == {tuple} or (len(shapes) == 1 and _is_namedtuple(*shapes)):
        return _spread_tuples(values, next(iter(shapes)))
    plain = [None if value is _NO_RESULT else value for value in values]
    return pd.DataFrame({"result": _column(plain)})


def _is_namedtuple(shape: type) -> bool:
    return issubclass(shape, tuple) and hasattr(shape, "_fields")


def _spread_tuples(values: list[Any], shape: type) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [v if isinstance(v, tuple) else () for v in values]
    width = max(map(len, rows))
    filled = [(*row, *[None] * (width - len(row))) for row in rows]
    frame = _exact(
        pd.DataFrame(filled, columns=range(width)), lambda at: [row[at] for row in filled]
    )
    if shape is not tuple:
        frame.columns = pd.Index(getattr(shape, "_fields"))  # noqa: B009 - `type` has none
    return frame


def _exact(frame: pd.DataFrame, given: Callable[[Any], list[Any]]) -> pd.DataFrame:
    """Give columns where a float stands for an integer that it cannot hold their values back."""
    for at, (key, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        if dtype == np.float64 and (frame.iloc[:, at].abs() >= _EXACT).any():
            values = given(key)
            if any(map(_loses, values)):
                frame.isetitem(at, _objects(values).array)
    return frame


def _loses(value: Any) -> bool:
    """Whether an integer would not survive being a float."""
    return type(value) is int and abs(value) > _EXACT and int(float(value)) != value


def _column(values: list[Any]) -> pd.Series[Any]:
    """Return a column of arbitrary values: arrays, lists and the like stay whole."""
    kinds = set(map(type, values))
    if not values or not all(k in _SCALARS or issubclass(k, _NUMPY_SCALARS) for k in kinds):
        return _objects(values)
    frame = pd.DataFrame({"result": pd.Series(values)})
    return _exact(frame, lambda key: values)["result"]


def _objects(values: Sequence[Any]) -> pd.Series[Any]:
    """Return a column of objects; pandas must not look into them."""
    column = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        column[at] = value
    return pd.Series(column, dtype=object)


def _index(index: Any, order: list[int]) -> pd.Index[Any]:
    if index is None:
        return pd.RangeIndex(len(order)) if _is_range(order) else pd.Index(order, dtype="int64")
    taken: pd.Index[Any] = index.take(order)
    return index if len(order) == len(index) and _is_range(order) else taken


def _is_range(order: list[int]) -> bool:
    return not order or (order[0] == 0 and order[-1] == len(order) - 1 and order == sorted(order))


def _parts(data: Any) -> Iterator[Any]:
    return (data.iloc[start : start + ROWS] for start in range(0, len(data), ROWS))


def _keys(data: pd.DataFrame) -> list[str]:
    keys = [str(column) for column in data.columns]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"two columns are called {twice!r}", hint="rename one: a row becomes a dict by them"
        )
    return keys


def _plain_rows(part: pd.DataFrame, keys: list[str]) -> Iterable[dict[str, Any]]:
    columns = [_plain_values(part.iloc[:, at]) for at in range(len(keys))]
    if not columns:
        return ({} for _ in range(len(part)))
    return (dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True))


def _plain_values(part: pd.Series[Any]) -> list[Any]:
    values: list[Any] = part.tolist()
    if isinstance(part.dtype, np.dtype) and part.dtype.kind in "biufc":
        return values
    return list(map(_plain, values))


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):  # also numpy's
        return float(value) if value == value else None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime(warn=False) if 1 <= value.year <= 9999 else value
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    return value.item() if isinstance(value, np.generic) else value
