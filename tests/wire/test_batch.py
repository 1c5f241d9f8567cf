"""Batches are packed, cut and unpacked without a byte lost, or refused."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
import zmq
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palm.errors import WireError
from palm.transport.monitored import MAX_FRAME
from palm.wire import batch as batches
from palm.wire.batch import INLINE_LIMIT, MAX_BODY, MAX_MESSAGES, Batch


def frame(data: bytes) -> zmq.Frame:
    """A frame as it comes from libzmq; without a copy pyzmq would start a thread."""
    return zmq.Frame(data, copy=True)


BUFFERS = [bytes, bytearray, memoryview, frame]

sizes = st.one_of(
    st.sampled_from([0, 1, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1]),
    st.integers(0, 100),
    st.sampled_from([(1 << 20) - 1, 1 << 20, (1 << 20) + 1]),
)


def payloads_of(lengths: list[int]) -> list[bytes]:
    """Payloads that differ from each other and from place to place."""
    return [
        bytes((17 * number + at) % 251 for at in range(min(251, length))) * (length // 251)
        + bytes((number + at) % 256 for at in range(length - 251 * (length // 251)))
        if length
        else b""
        for number, length in enumerate(lengths)
    ]


payload_lists = st.lists(sizes, max_size=8).map(payloads_of)


def as_bytes(payloads: list[Any]) -> list[bytes]:
    return list(map(bytes, payloads))


def received(batch: Batch, kind: Any = bytes) -> list[Any]:
    """The frames of a batch, as a transport would hand them out."""
    return [kind(bytes(frame)) for frame in batch.frames()]


@given(payload_lists, st.sampled_from(BUFFERS))
@settings(deadline=None, max_examples=60)
def test_payloads_come_out_as_they_went_in(payloads: list[bytes], kind: Any) -> None:
    batch = Batch.pack(payloads)
    assert as_bytes(batch.payloads()) == payloads
    unpacked = Batch.unpack(len(payloads), received(batch, kind))
    assert as_bytes(unpacked.payloads()) == payloads
    assert list(unpacked.sizes) == list(map(len, payloads))
    assert unpacked.n == len(payloads)
    assert unpacked.size == batch.size == sum(map(len, payloads))


@given(payload_lists, st.sampled_from([bytearray, memoryview]))
@settings(deadline=None, max_examples=20)
def test_anything_with_a_buffer_can_be_packed(payloads: list[bytes], kind: Any) -> None:
    assert as_bytes(Batch.pack([kind(p) for p in payloads]).payloads()) == payloads


@given(payload_lists, st.data())
@settings(deadline=None, max_examples=60)
def test_slicing_of_large_payloads_does_not_matter(payloads: list[bytes], data: Any) -> None:
    batch = Batch.pack(payloads)
    joined = b"".join(map(bytes, batch.large))
    places = data.draw(st.lists(st.integers(0, len(joined)), max_size=6).map(sorted))
    pieces = [joined[a:b] for a, b in pairwise([0, *places, len(joined)])]
    unpacked = Batch.unpack(len(payloads), [batch.lengths, batch.body, *pieces])
    assert as_bytes(unpacked.payloads()) == payloads
    start, stop = data.draw(st.tuples(*[st.integers(0, len(payloads))] * 2).map(sorted))
    assert as_bytes(unpacked.cut(start, stop).payloads()) == payloads[start:stop]


@given(payload_lists, st.data())
@settings(deadline=None, max_examples=60)
def test_cutting_is_slicing(payloads: list[bytes], data: Any) -> None:
    batch = Batch.pack(payloads)
    low, high = 0, len(payloads)
    for _ in range(3):  # also of what was cut before
        start, stop = data.draw(st.tuples(*[st.integers(0, high - low)] * 2).map(sorted))
        batch, low, high = batch.cut(start, stop), low + start, low + stop
        assert batch.n == high - low
        assert as_bytes(batch.payloads()) == payloads[low:high]
        again = Batch.unpack(batch.n, received(batch))
        assert as_bytes(again.payloads()) == payloads[low:high]


@given(payload_lists, st.lists(st.integers(0, 8)))
@settings(deadline=None, max_examples=30)
def test_pieces_together_are_the_whole(payloads: list[bytes], places: list[int]) -> None:
    batch = Batch.pack(payloads)
    places = sorted(min(place, len(payloads)) for place in places)
    pieces = [batch.cut(a, b) for a, b in pairwise([0, *places, len(payloads)])]
    assert [bytes(p) for piece in pieces for p in piece.payloads()] == payloads
    assert sum(piece.size for piece in pieces) == batch.size


def test_large_payloads_are_not_copied() -> None:
    payload = bytes(INLINE_LIMIT)
    batch = Batch.pack([b"x", payload, payload])
    assert batch.large[0] is payload
    assert batch.payloads()[1] is payload
    assert batch.cut(1, 2).large[0] is payload


def test_cut_of_everything_is_the_batch_itself() -> None:
    batch = Batch.pack([b"a", b"b"])
    assert batch.cut(0, 2) is batch


def test_batch_holds_a_thousand_and_no_more() -> None:
    full = Batch.pack([b"x"] * MAX_MESSAGES)
    assert Batch.unpack(MAX_MESSAGES, received(full)).payloads() == [b"x"] * MAX_MESSAGES
    over = Batch.pack([b"x"] * (MAX_MESSAGES + 1))
    with pytest.raises(WireError):
        Batch.unpack(over.n, received(over))


def test_payload_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_PAYLOAD", INLINE_LIMIT)
    Batch.unpack(1, received(Batch.pack([bytes(INLINE_LIMIT)])))
    with pytest.raises(WireError, match="payload"):
        Batch.unpack(1, received(Batch.pack([bytes(INLINE_LIMIT + 1)])))


# What is not a batch

wrong_numbers = st.integers(-3, 12) | st.sampled_from([-(1 << 40), 1 << 40, MAX_MESSAGES + 1])


@given(payload_lists, wrong_numbers)
@settings(deadline=None, max_examples=40)
def test_wrong_number_of_payloads_is_a_wire_error(payloads: list[bytes], n: int) -> None:
    assume(n != len(payloads))
    with pytest.raises(WireError):
        Batch.unpack(n, received(Batch.pack(payloads)))


@given(payload_lists, st.data())
@settings(deadline=None, max_examples=60)
def test_frames_that_do_not_add_up_are_a_wire_error(payloads: list[bytes], data: Any) -> None:
    frames = received(Batch.pack(payloads))
    at = data.draw(st.integers(0, len(frames) - 1))
    how = data.draw(st.sampled_from(["longer", "shorter", "missing", "more"]))
    if how == "longer":
        frames[at] += b"x"
    elif how == "shorter":
        assume(frames[at])
        frames[at] = frames[at][:-1]
    elif how == "missing":
        assume(frames[at] or len(frames) == 2)
        del frames[at]
    else:
        frames.append(b"x")
    with pytest.raises(WireError):
        Batch.unpack(len(payloads), frames)


@given(st.integers(-2, 6), st.lists(st.binary(max_size=24), max_size=5))
def test_random_frames_are_a_batch_or_a_wire_error(n: int, frames: list[bytes]) -> None:
    try:
        batch = Batch.unpack(n, frames)
    except WireError:
        return
    assert sum(map(len, batch.payloads())) == sum(map(len, frames[1:]))


def test_lengths_are_little_endian_32_bit_numbers() -> None:
    batch = Batch.pack([b"abc", bytes(INLINE_LIMIT)])
    assert batch.lengths == b"\x03\0\0\0\x00\x40\0\0"
    assert list(accumulate(batch.sizes)) == [3, 3 + INLINE_LIMIT]


@pytest.mark.parametrize("swap", [True, False])
def test_both_byte_orders_of_the_machine_write_the_same(
    swap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_SWAP", swap)
    payloads = [b"abc", bytes(INLINE_LIMIT), b""]
    batch = Batch.pack(payloads)
    assert Batch.unpack(3, received(batch)).payloads() == payloads


@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT - 1, INLINE_LIMIT])
@pytest.mark.parametrize("last", [0, 1, INLINE_LIMIT - 1, INLINE_LIMIT])
def test_payloads_of_one_size_are_as_those_of_many(size: int, last: int) -> None:
    payloads = [bytes([at]) * size for at in range(5)] + [bytes(last)]
    batch = Batch.unpack(6, received(Batch.pack(payloads)))
    assert list(map(bytes, batch.payloads())) == payloads
    assert list(map(bytes, batch.cut(1, 4).payloads())) == payloads[1:4]


def test_full_body_passes_the_transport() -> None:
    assert INLINE_LIMIT <= MAX_BODY <= MAX_FRAME


def test_batch_fits_as_far_as_its_body_may_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BODY", 100)
    assert Batch.pack([]).fitting() == 0
    assert Batch.pack([bytes(50)] * 2).fitting() == 2
    assert Batch.pack([bytes(50), bytes(INLINE_LIMIT), bytes(50), bytes(1)]).fitting() == 3
