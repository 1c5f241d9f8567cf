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
    order = rows.order
    frame.index = _index(index, order)
    frame = frame if rows.in_order else frame.iloc[np.argsort(order, kind="stable")]
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
    frame.index = _index(index, np.array([error.index for _, error in errors], dtype=np.int64))
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
    """Collects the rows of a frame: results one by one, what belongs to them a chunk at a time."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        #: Error of a row, by its position.
        self.errors: dict[int, str] = {}
        self.in_order = True
        self._counts: list[int] = []
        self._workers: list[str] = []
        self._attempts: list[int] = []
        self._order: list[np.ndarray] = []
        self._started: list[np.ndarray] = []
        self._durations: list[np.ndarray] = []

    @property
    def order(self) -> np.ndarray:
        """Number of each row's message in its job."""
        return _joined(self._order, np.int64)

    def add(self, chunk: Chunk) -> None:
        values = chunk.values()
        messages = np.arange(chunk.n) if chunk.is_plain else self._add_errors(chunk, values)
        self.values.extend(values)
        durations = np.array(chunk.durations, dtype=np.float64)
        self._order.append(chunk.first + messages)
        self._durations.append(durations[messages])
        # Each begins where the one before it has ended.
        started = np.cumsum([chunk.outcome.started, *durations[:-1]])[: chunk.n]
        self._started.append(started[messages])
        self._put(len(values), chunk.outcome.worker, chunk.outcome.attempt)

    def _add_errors(self, chunk: Chunk, values: list[Any]) -> np.ndarray:
        """Put what is left of failed messages in their places; return the message of each value."""
        rows, above = chunk.rows(), len(self.values)
        for at, row in enumerate(rows):
            if row.failed:
                self.errors[above + at] = row.value.summary
                values[at] = _NO_RESULT
        return np.array([row.at for row in rows], dtype=np.intp)

    def add_missing(self, missing: int, state: str) -> None:
        """Add rows for messages that were submitted and have no outcome."""
        known = self.order
        gaps = np.setdiff1d(np.arange(len(known) + missing), known)[:missing]
        text = "Cancelled: the job was cancelled" if state == "cancelled" else "no outcome"
        self.in_order = False
        self.errors |= dict.fromkeys(range(len(self.values), len(self.values) + missing), text)
        self.values.extend([_NO_RESULT] * missing)
        self._order.append(gaps)
        self._started.append(np.full(missing, np.nan))
        self._durations.append(np.full(missing, np.nan))
        self._put(missing, "", 0)

    def columns(self) -> dict[str, pd.Series[Any]]:
        rows = np.repeat(np.arange(len(self._counts)), self._counts)
        attempts = pd.Series(np.array(self._attempts, dtype=np.int64)[rows])
        started = pd.Series(_joined(self._started, np.float64)).where(attempts > 0)
        durations = pd.Series(_joined(self._durations, np.float64)).where(attempts > 0)
        failed = np.zeros(len(self.values), dtype=np.intp)
        failed[list(self.errors)] = np.arange(1, 1 + len(self.errors))
        errors = pd.array([pd.NA, *self.errors.values()], dtype="string")
        return {
            "worker": _texts(self._workers).take(rows).reset_index(drop=True),
            "started": pd.to_datetime(started, unit="s", utc=True),
            "duration": durations,
            "attempts": attempts,
            "error": pd.Series(errors.take(failed)),
        }

    def _put(self, n: int, worker: str, attempt: int) -> None:
        self._counts.append(n)
        self._workers.append(worker)
        self._attempts.append(attempt)


def _joined(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)


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


def _index(index: Any, order: np.ndarray) -> pd.Index[Any]:
    if index is None:
        return pd.RangeIndex(len(order)) if _is_range(order) else pd.Index(order, dtype="int64")
    taken: pd.Index[Any] = index.take(order)
    return index if len(order) == len(index) and _is_range(order) else taken


def _is_range(order: np.ndarray) -> bool:
    return bool((order == np.arange(len(order))).all())


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
