"""Messages travel in frames; what is no message is refused, and never with another error."""

from __future__ import annotations

from types import UnionType
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.errors import WireError
from palm.wire import framing
from palm.wire.batch import MAX_MESSAGES, Batch
from palm.wire.message import (
    MAX_CLASS,
    MAX_CLASSES,
    MAX_HEADER,
    MAX_ID,
    MAX_TEXT,
    Ack,
    Browse,
    Bye,
    Clear,
    Fetch,
    Hello,
    Keep,
    Kept,
    Message,
    Outcome,
    Result,
    Submit,
    Swap,
    Task,
    Terms,
    decode,
    encode,
)
from tests.support.messages import KINDS, RANGED, VALUED, any_message, durations

TAGS = [kind.__struct_config__.tag for kind in KINDS]


def wire(message: Message, batch: Batch | None = None) -> list[bytes]:
    return [bytes(frame) for frame in framing.pack(message, batch)]


def only_wire_errors(frames: list[bytes]) -> bool:
    """Whether frames are a message; any other error than WireError fails the test."""
    try:
        framing.unpack(frames)
    except WireError as error:
        return not str(error)
    return True


@given(any_message, st.sampled_from([bytes, bytearray, memoryview, zmq.Frame]))
def test_message_arrives_as_it_was_sent(sent: tuple[Message, Batch | None], kind: Any) -> None:
    message, batch = sent
    arrived, packed = framing.unpack([kind(frame) for frame in wire(message, batch)])
    assert type(arrived) is type(message)
    assert encode(arrived) == encode(message)
    if batch is None:
        assert packed is None
    else:
        assert packed is not None and packed.payloads() == batch.payloads()


def test_every_kind_has_a_tag_of_its_own() -> None:
    assert len(set(TAGS)) == len(KINDS) == 28


def test_batches_follow_only_the_messages_that_have_one() -> None:
    batch = Batch.pack([b"x"])
    for kind in KINDS:
        if kind not in (*RANGED, *VALUED, Swap):
            frames = [*wire(_blank(kind)), batch.lengths, batch.body]
            with pytest.raises(WireError, match="frames after"):
                framing.unpack(frames)


def test_messages_that_need_a_batch_are_none_without_it() -> None:
    for kind in RANGED:
        with pytest.raises(WireError):
            framing.unpack(wire(_blank(kind)))
    for kind in VALUED:
        assert framing.unpack(wire(_blank(kind)))[1] is None


# What is no message


def test_no_frames_are_no_message() -> None:
    with pytest.raises(WireError):
        framing.unpack([])


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_random_frames_are_no_message(frames: list[bytes]) -> None:
    only_wire_errors(frames)


@given(
    st.sampled_from(TAGS),
    st.lists(
        st.none()
        | st.booleans()
        | st.integers(-(1 << 63), (1 << 64) - 1)
        | st.floats()
        | st.text(max_size=3)
        | st.binary(max_size=8)
        | st.lists(st.integers(0, 3) | st.text(max_size=1), max_size=3)
        | st.dictionaries(st.text(max_size=1), st.text(max_size=1), max_size=2),
        max_size=12,
    ),
    st.lists(st.binary(max_size=8), max_size=4),
)
@settings(max_examples=300)
def test_wrong_fields_are_no_message(tag: str, fields: list[Any], frames: list[bytes]) -> None:
    only_wire_errors([msgspec.msgpack.encode([tag, *fields]), *frames])


@given(any_message, st.data())
@settings(max_examples=300)
def test_damaged_message_is_another_or_none(
    sent: tuple[Message, Batch | None], data: st.DataObject
) -> None:
    frames = wire(*sent)
    at = data.draw(st.integers(0, len(frames) - 1))
    frame = bytearray(frames[at])
    for _ in range(data.draw(st.integers(0, 3))):
        if frame:
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    stop = data.draw(st.integers(0, len(frame)))
    frames[at] = bytes(frame[:stop]) if data.draw(st.booleans()) else bytes(frame)
    only_wire_errors(frames)


def test_huge_headers_are_refused_unread() -> None:
    header = encode(Bye(1, "x" * MAX_HEADER))
    with pytest.raises(WireError, match="header of"):
        decode(header)
    decode(encode(Bye(1, "x" * (MAX_HEADER - 100))))


WIDE = "\U0001f600" * MAX_TEXT
ID, N = bytes(MAX_ID), MAX_MESSAGES
NUMBER = 1 << 62
LARGEST = Terms(1.0, 1.0, 1.0, NUMBER, [WIDE[:MAX_CLASS]] * MAX_CLASSES, NUMBER, True)


@pytest.mark.parametrize(
    "message",
    [
        Submit(NUMBER, ID, NUMBER, N, WIDE, 255, True, LARGEST, bytes(N), True),
        Task(NUMBER, NUMBER, ID, ID, NUMBER, N, NUMBER, WIDE, 255, 1.0),
        Result(NUMBER, NUMBER, ID, ID, NUMBER, N, 9, 255, 1.0, durations(N), bytes(N)),
        Outcome(NUMBER, NUMBER, ID, NUMBER, N, 9, 255, "w" * 64, 1.0, durations(N), bytes(N)),
        Keep(NUMBER, NUMBER, WIDE, 255),
        Fetch(NUMBER, NUMBER, WIDE, True),
        Swap(NUMBER, NUMBER, WIDE, 255, 255, 1.0),
        Browse(NUMBER, NUMBER, WIDE, WIDE, True),
        Clear(NUMBER, NUMBER, WIDE),
        Kept(NUMBER, NUMBER, WIDE, True, 255, b"\1", NUMBER),
    ],
    ids=lambda message: type(message).__name__,
)
def test_largest_message_of_a_kind_can_be_read(message: Message) -> None:
    header = encode(message)
    assert len(header) < MAX_HEADER * 3 // 4
    assert decode(header) == message


@pytest.mark.parametrize(
    "message",
    [
        Hello(0, 1, "client", "c", ID + b"x", "foo", [], []),
        Hello(0, 1, "worker", "w", b"s", "foo", [WIDE + "x"], []),
        Submit(1, ID + b"x", 0, 0, "f", 0, True),
        Submit(1, b"j", 0, 0, WIDE + "x", 0, True),
        Keep(1, 1, WIDE + "x", 0),
        Fetch(1, 1, WIDE + "x", False),
        Swap(1, 1, WIDE + "x", 0, 0),
        Browse(1, 1, WIDE + "x"),
        Browse(1, 1, "", WIDE + "x"),
        Clear(1, 1, WIDE + "x"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_message_that_its_receiver_could_not_pass_on_is_refused(message: Message) -> None:
    with pytest.raises(WireError):
        decode(encode(message))


@pytest.mark.parametrize(
    "header",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x99\xa5hello\x00\x01\xa1r\xa1n\xc4\x01s\xa1s\xdd\xff\xff\xff\xff",
        b"\x97\xa7welcome\x01\x01\xc4\x01e\xa1n\xdf\xff\xff\xff\xff",
        b"\x93\xa5reset\x01" + b"\x91" * 100_000,
        b"\x92\xa5\xff\xfe\xff\xff\xff\x01",
        b"",
    ],
    ids=["array", "list", "map", "deep", "text", "empty"],
)
def test_header_that_claims_more_than_it_has_is_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        decode(header)


def test_negative_ranges_are_refused() -> None:
    batch = Batch.pack([b"x"])
    for first, n in [(-1, 1), (0, -1), (-5, -5)]:
        with pytest.raises(WireError):
            framing.unpack(wire(Submit(1, b"j", first, n, "f", 0, False), batch))


@pytest.mark.parametrize("number", [-1, 256, 1 << 40])
def test_codec_that_is_no_byte_is_refused(number: int) -> None:
    batch = Batch.pack([b"x"])
    for message in (
        Submit(1, b"j", 0, 1, "f", number, False),
        Keep(1, 1, "key", number),
        Kept(1, 1, "key", True, number),
    ):
        with pytest.raises(WireError, match="codec"):
            framing.unpack(wire(message, batch))


@pytest.mark.parametrize(("codec", "expected"), [(-2, 0), (0, -2), (256, 0), (0, 256)])
def test_swap_of_what_has_no_codec_is_refused(codec: int, expected: int) -> None:
    with pytest.raises(WireError, match="codecs"):
        framing.unpack(wire(Swap(1, 1, "key", codec, expected), Batch.pack([b"x", b"y"])))


@pytest.mark.parametrize(("codec", "expected"), [(-1, -1), (0, -1), (-1, 0), (0, 0)])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_swap_has_as_many_values_as_codecs(codec: int, expected: int, n: int) -> None:
    swap = Swap(1, 1, "key", codec, expected)
    frames = wire(swap, Batch.pack([b"x", b"y"][:n]) if n else None)
    if n == (codec, expected).count(0):
        assert framing.unpack(frames)[0] == swap
    else:
        with pytest.raises(WireError):
            framing.unpack(frames)


@pytest.mark.parametrize(
    ("took", "kinds"), [(b"", b""), (durations(2), b"\1"), (durations(3), b""), (b"x" * 7, b"\1\0")]
)
def test_outcomes_whose_parts_differ_in_number_are_refused(took: bytes, kinds: bytes) -> None:
    batch = Batch.pack([b"x", b"y"])
    for message in (
        Result(1, 1, b"s", b"j", 0, 2, 1, 0, 0.0, took, kinds),
        Outcome(1, 1, b"j", 0, 2, 1, 0, "w", 0.0, took, kinds),
    ):
        with pytest.raises(WireError):
            framing.unpack(wire(message, batch))


@pytest.mark.parametrize("n", [1, 3])
def test_partitions_are_those_of_the_messages(n: int) -> None:
    submit = Submit(1, b"j", 0, 2, "f", 0, False, None, bytes(n))
    with pytest.raises(WireError, match=f"{n} partitions of 2"):
        framing.unpack(wire(submit, Batch.pack([b"a", b"b"])))


def test_earlier_versions_may_lack_fields() -> None:
    header = msgspec.msgpack.encode(["submit", 1, b"j", 0, 0, "f", 0, True])
    assert decode(header) == Submit(1, b"j", 0, 0, "f", 0, True)


def test_later_versions_may_add_fields() -> None:
    header = msgspec.msgpack.encode(["ack", 1, 2, "something new"])
    assert decode(header) == Ack(1, 2)


def test_greeting_is_the_only_message_before_there_is_a_link() -> None:
    assert decode(encode(Hello(0, 1, "client", "c", b"s", "foo", [], []))).link == 0


def _blank(kind: type[Message]) -> Message:
    empty: dict[Any, Any] = {int: 0, str: "", bytes: b"", bool: False, float: 0.0}
    fields = msgspec.structs.fields(kind)
    return kind(**{f.name: empty[f.type] if f.type in empty else _none(f.type) for f in fields})


def _none(kind: Any) -> Any:
    return None if isinstance(kind, UnionType) else kind.__origin__()
