"""Outcomes at the caller's side."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from palm.clients.outcomes import Chunk
from palm.errors import FunctionNotFound, PayloadTooLarge, TaskError
from palm.wire.batch import Batch
from palm.wire.codec import encode_values
from palm.wire.message import Outcome
from palm.wire.outcome import Failure, Kind, encode_failure


class Missing:
    """Can be written but not read, like an object of a class that only the worker has."""

    def __reduce__(self) -> Any:
        return _import, ()


def _import() -> Any:
    raise ModuleNotFoundError("No module named 'theirs'")


def chunk_of(values: list[Any], failures: dict[int, tuple[Kind, Failure]] | None = None) -> Chunk:
    codec, payloads = encode_values(values)
    kinds = bytearray(len(values) if failures else 0)
    for at, (kind, failure) in (failures or {}).items():
        payloads[at] = encode_failure(failure)
        kinds[at] = kind
    seconds = array("f", [0.5] * len(values)).tobytes()
    outcome = Outcome(1, 1, b"j" * 8, 10, len(values), 2, codec, "w", 1e9, seconds, bytes(kinds))
    return Chunk("foo.f", outcome, Batch.pack(payloads))


FAILURES = {
    1: (Kind.TASK_ERROR, Failure("ValueError", "no", "the traceback")),
    2: (Kind.FUNCTION_NOT_FOUND, Failure("FunctionNotFound", "f")),
    4: (Kind.PAYLOAD_TOO_LARGE, Failure("PayloadTooLarge", "large", "", 7)),
}


def test_results_are_one_run() -> None:
    chunk = chunk_of(["a", "b"])
    assert chunk.values() == ["a", "b"]
    assert chunk.segments() == [["a", "b"]]
    assert (chunk.first, chunk.n, chunk.failed, chunk.errors()) == (10, 2, 0, [])
    assert list(chunk.durations) == [0.5, 0.5]


def test_errors_stand_between_runs_of_results() -> None:
    chunk = chunk_of(["a", None, None, "d", None, "f"], FAILURES)
    runs = chunk.segments()
    assert [run if isinstance(run, list) else type(run) for run in runs] == [
        ["a"],
        TaskError,
        FunctionNotFound,
        ["d"],
        PayloadTooLarge,
        ["f"],
    ]
    assert chunk.failed == 3


def test_an_error_knows_where_it_comes_from() -> None:
    chunk = chunk_of(["a", None, None, "d", None, "f"], FAILURES)
    error, missing, large = chunk.errors()
    assert isinstance(error, TaskError)
    assert (error.type, error.text, error.traceback) == ("ValueError", "no", "the traceback")
    assert (error.function, error.worker, error.attempts, error.index) == ("foo.f", "w", 2, 11)
    assert isinstance(missing, FunctionNotFound)
    assert isinstance(large, PayloadTooLarge)
    assert (large.limit, large.index) == (7, 14)


@pytest.mark.parametrize("failures", [None, {0: FAILURES[1]}], ids=["alone", "beside an error"])
def test_a_result_that_cannot_be_read_is_an_error_in_its_place(failures: Any) -> None:
    chunk = chunk_of([{0}, Missing(), {2}], failures)
    values = chunk.values()
    assert values[2] == {2}
    error = values[1]
    assert isinstance(error, TaskError)
    assert error.type == "ModuleNotFoundError"
    assert error.text == "its result cannot be read here: No module named 'theirs'"
    assert (error.worker, error.attempts, error.index) == ("w", 2, 11)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert chunk.failed == (2 if failures else 1)
    assert chunk.errors()[-1].index == 11
    assert [isinstance(run, list) for run in chunk.segments()][-2:] == [False, True]


def test_an_error_that_is_a_result_is_no_failure() -> None:
    value = TaskError("ValueError", "a value")
    chunk = chunk_of([value, Missing()])
    chunk.values()
    assert chunk.failed == 1
    assert [error.type for error in chunk.errors()] == ["ModuleNotFoundError"]
    assert chunk.segments()[0][0].text == "a value"


def test_inputs_are_found_by_the_number_of_their_message() -> None:
    chunk = chunk_of(["a", None, None, "d", None, "f"], FAILURES)
    for first, items in ((10, [1, 2, 3]), (13, [{4}, {5}, {6}])):
        codec, payloads = encode_values(items)
        chunk.inputs.append((first, codec, Batch.pack(payloads)))
    assert [chunk.input(index) for index in (10, 12, 13, 15)] == [1, 3, {4}, {6}]
    assert chunk.input(16) is None


def test_an_input_that_cannot_be_read_again_says_so() -> None:
    chunk = chunk_of([None], {0: FAILURES[1]})
    codec, payloads = encode_values([Missing()])
    chunk.inputs.append((10, codec, Batch.pack(payloads)))
    assert chunk.input(10) == "<cannot be read: ModuleNotFoundError: No module named 'theirs'>"
