"""The body with batches: whatever comes is read to its end, or refused."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palm.errors import WireError
from palm.gateways.body import pack, unpack_results, unpack_task
from palm.wire.batch import INLINE_LIMIT, MAX_MESSAGES, Batch
from palm.wire.codec import Codec
from palm.wire.message import Bye, Result, Task
from palm.wire.outcome import Failure, Kind, encode_failure

payloads = st.lists(st.binary(max_size=40) | st.just(bytes(INLINE_LIMIT)), min_size=1, max_size=20)


def task_of(n: int, first: int = 0) -> Task:
    return Task(0, 1, b"", b"job", first, n, 1, "double", Codec.RAW)


def result_of(first: int, batch: Batch, kinds: bytes = b"", codec: int = Codec.RAW) -> Result:
    durations = array("f", [0.5] * batch.n).tobytes()
    return Result(0, 1, b"", b"job", first, batch.n, 1, codec, 0.0, durations, kinds)


@given(payloads)
def test_a_task_comes_as_it_went(found: list[bytes]) -> None:
    task = task_of(len(found), 7)
    again, batch = unpack_task(pack([(task, Batch.pack(found))]))
    assert again == task
    assert [bytes(payload) for payload in batch.payloads()] == found


@given(payloads, st.integers(0, 20))
def test_results_come_as_they_went_in_parts_or_not(found: list[bytes], cut: int) -> None:
    parts = [Batch.pack(part) for part in (found[:cut], found[cut:])]
    sent = [(result_of(3, parts[0]), parts[0]), (result_of(3 + parts[0].n, parts[1]), parts[1])]
    again = unpack_results(pack(sent), task_of(len(found), 3))
    assert [bytes(p) for _, batch in again for p in batch.payloads()] == found


@given(st.binary(max_size=200))
@example(b"PLM1")
@example(b"PLM1" + b"\xff" * 8)
@example(b"PLM1" + struct.pack("<II", 1, 0xFFFFFFFF))
@example(b"PLM1" + struct.pack("<I", MAX_MESSAGES + 4))
def test_anything_else_is_refused(data: bytes) -> None:
    for body in (data, b"PLM1" + data):
        with pytest.raises(WireError):
            unpack_task(body)
        with pytest.raises(WireError):
            unpack_results(body, task_of(1))


@given(payloads, st.data())
def test_what_is_almost_right_is_read_or_refused(found: list[bytes], data: st.DataObject) -> None:
    batch = Batch.pack(found)
    body = bytearray(pack([(task_of(batch.n), batch)]))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    try:
        task, read = unpack_task(bytes(body))
    except WireError:
        return
    assert read.n == task.n == len(read.payloads())


@given(payloads, st.data())
def test_almost_right_results_are_read_or_refused(found: list[bytes], data: st.DataObject) -> None:
    kinds = bytes(data.draw(st.sampled_from([0, 1])) for _ in found)
    sent = [
        encode_failure(Failure("E", "text")) if kind else payload
        for kind, payload in zip(kinds, found, strict=True)
    ]
    batch = Batch.pack(sent)
    body = bytearray(pack([(result_of(0, batch, kinds), batch)]))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        results = unpack_results(bytes(body), task_of(len(found)))
    except WireError:
        return
    assert sum(result.n for result, _ in results) == len(found)
    assert {kind for result, _ in results for kind in result.kinds} <= {0, 1, 6, 8}


ONE = Batch.pack([b"x"])


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [(result_of(1, ONE), ONE)],
        [(result_of(0, ONE), ONE), (result_of(1, ONE), ONE)],
        [(result_of(0, ONE, codec=9), ONE)],
        [(result_of(0, ONE, bytes([Kind.WORKER_LOST])), ONE)],
        [(result_of(0, ONE, bytes([99])), ONE)],
        [(result_of(0, ONE, bytes([Kind.TASK_ERROR])), ONE)],
        [(task_of(1), ONE)],
    ],
)
def test_outcomes_that_are_not_those_of_the_task_are_refused(sent: list[tuple]) -> None:  # type: ignore[type-arg]
    with pytest.raises(WireError):
        unpack_results(pack(sent), task_of(1))


def test_a_request_holds_one_task() -> None:
    for sent in ([], [(task_of(1), ONE)] * 2, [(result_of(0, ONE), ONE)], [(Bye(0, "x"), None)]):
        with pytest.raises(WireError):
            unpack_task(pack(sent))  # type: ignore[arg-type]
    empty = Batch.pack([])
    with pytest.raises(WireError):
        unpack_task(pack([(task_of(0), empty)]))
