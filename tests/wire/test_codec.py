"""Values arrive as they were sent, type included."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm.errors import PayloadTooLarge, WireError
from palm.wire import codec
from palm.wire.batch import Batch
from palm.wire.codec import (
    TARGET_PREFIX,
    Codec,
    decode_value,
    decode_values,
    encode_value,
    encode_values,
)
from tests.wire import strategies
from tests.wire.exact import assert_same
from tests.wire.kinds import Colour, Fixed, Level, Name, Point, Raw, Reading, Row, Table, Text

ROOT = Path(__file__).parents[2]


def through_the_wire(values: list[Any]) -> list[Any]:
    """Encode, pack, unpack and decode, as between two processes."""
    chosen, payloads = encode_values(values)
    batch = Batch.pack(payloads)
    frames = [bytes(frame) for frame in batch.frames()]
    return decode_values(chosen, Batch.unpack(len(values), frames).payloads())


@given(st.lists(strategies.values, max_size=3))
@settings(max_examples=150, deadline=None)
def test_values_arrive_as_they_were_sent(values: list[Any]) -> None:
    arrived = through_the_wire(values)
    assert len(arrived) == len(values)
    for one, other in zip(arrived, values, strict=True):
        assert_same(one, other)


@given(strategies.plain)
@settings(max_examples=100, deadline=None)
def test_plain_values_arrive_as_they_were_sent(value: Any) -> None:
    assert_same(decode_value(*encode_value(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        ((), ((1,), [2, (3,)]), {"a": (4,)}),
        [{1, 2}, frozenset({(1, "x")}), {frozenset()}],
        datetime(2024, 1, 2, 3, 4, 5, 6),
        datetime(2024, 1, 2, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30), "here")),
        datetime(2024, 10, 27, 2, 30, fold=1),
        [True, 1, 1.0, False, 0, -0.0, 0.0],
        [float("nan"), float("inf"), -float("inf")],
        [1 << 64, -(1 << 63) - 1, 1 << 5000],
        "lone \udc80 surrogate",
        {"\ud800": 1},
        {1: "int", (1, 2): "tuple", None: "none", "": "text"},
        {"b": 1, "a": 2, "c": 3},
        [b"", bytearray(b"x"), Raw(b"y")],
        [Colour.GREEN, Level.HIGH, Name.FOO],
        {Level.HIGH: Name.FOO},
        [Text("x"), "x"],
        [Point(1), Point((2,), Point(3))],
        Reading([Fixed(1), {Fixed(2): Reading(None)}], ["tag"]),
        Table(a=1),
        Fixed,
        np.float64(0.1),
        np.int8(-1),
        np.bool_(True),
        np.str_("x"),
        np.datetime64("2024-01-01T00:00", "m"),
    ],
    ids=repr,
)
def test_value_arrives_as_it_was_sent(value: Any) -> None:
    assert_same(decode_value(*encode_value(value)), value)


def test_object_that_is_in_a_value_twice_arrives_once() -> None:
    shared = Reading(1)
    one, other = decode_value(*encode_value((shared, shared)))
    assert one is other


def test_value_that_holds_itself_arrives() -> None:
    knot: list[Any] = [1]
    knot.append(knot)
    arrived = decode_value(*encode_value(knot))
    assert arrived[0] == 1 and arrived[1] is arrived


def aliased(levels: int, width: int) -> list[Any]:
    """Return a list that holds the one below it ``width`` times, and so on."""
    value: list[Any] = [1]
    for _ in range(levels):
        value = [value] * width
    return value


@pytest.mark.parametrize(("levels", "width"), [(60, 2), (7, 500), (2, 3)])
@pytest.mark.parametrize("kind", [list, dict])
def test_value_that_holds_another_many_times_arrives_at_once(
    kind: type, levels: int, width: int
) -> None:
    value: Any = aliased(levels, width)
    if kind is dict:
        value = {"a": value, "b": value, "c": {"d": value}}
    started = time.monotonic()
    codec, payload = encode_value(value)
    arrived = decode_value(codec, payload)
    assert time.monotonic() - started < 5.0
    assert len(payload) < 50_000
    if kind is dict:
        assert arrived["a"] is arrived["b"] is arrived["c"]["d"]
        arrived = arrived["a"]
    for _ in range(levels):
        assert len(arrived) == width
        assert all(item is arrived[0] for item in arrived)
        arrived = arrived[0]
    assert arrived == [1]


@pytest.mark.parametrize("before", [0, 3])
def test_dicts_and_lists_that_hold_each_other_arrive(before: int) -> None:
    one: dict[str, Any] = {}
    other: list[Any] = [*range(before), one]
    one["other"] = other
    arrived = decode_value(*encode_value(other))
    assert arrived[:before] == list(range(before))
    assert arrived[before]["other"] is arrived


def test_equal_lists_that_are_not_the_same_stay_plain() -> None:
    value = [[1, 2], [1, 2], {"a": [1, 2]}, [], []]
    codec, payload = encode_value(value)
    assert codec == Codec.MSGPACK
    assert decode_value(codec, payload) == value


def test_deep_nesting_arrives() -> None:
    value: list[Any] = []
    for _ in range(200):
        value = [value]
    assert decode_value(*encode_value(value)) == value


def test_attributes_of_a_list_subclass_arrive() -> None:
    row = Row([1, 2])
    row.note = "mine"
    arrived = decode_value(*encode_value(row))
    assert type(arrived) is Row and arrived == [1, 2] and arrived.note == "mine"


def test_memoryview_arrives_as_bytes() -> None:
    assert_same(decode_value(*encode_value(memoryview(b"abcdef")[::2])), b"ace")


# Which codec


def test_bytes_pass_untouched() -> None:
    value = b"x" * 100
    chosen, payload = encode_value(value)
    assert chosen is Codec.RAW and payload is value


@given(strategies.plain)
def test_plain_values_need_no_pickle(value: Any) -> None:
    assert encode_values([value, None])[0] is Codec.MSGPACK


@pytest.mark.parametrize(
    "value", [(), {1: 2}, bytearray(), Text("x"), Level.LOW, np.float64(1), 1 << 64, "\ud800"]
)
def test_one_value_that_messagepack_would_change_lets_all_be_pickled(value: Any) -> None:
    chosen, payloads = encode_values([1, value, b"x"])
    assert chosen is Codec.PICKLE
    for arrived, sent in zip(decode_values(chosen, payloads), [1, value, b"x"], strict=True):
        assert_same(arrived, sent)


def test_no_values_are_no_payloads() -> None:
    assert through_the_wire([]) == []


# Arrays and frames


@pytest.mark.parametrize("shape", [(0,), (), (3,), (2, 3), (600,), (1000, 1000)])
@pytest.mark.parametrize("dtype", ["f8", "<u2", ">i4", "?", "M8[ns]", "S3", "U2", "c16"])
def test_arrays_arrive_whatever_their_size(shape: tuple[int, ...], dtype: str) -> None:
    assert_same(decode_value(*encode_value(np.zeros(shape, dtype))), np.zeros(shape, dtype))


@pytest.mark.parametrize("size", [10, 100_000])
def test_array_can_be_written_to_where_the_sent_one_could(size: int) -> None:
    free, fixed = np.arange(size), np.arange(size)
    fixed.flags.writeable = False
    arrived_free, arrived_fixed = decode_value(*encode_value((free, fixed)))
    assert_same(arrived_free, free)
    assert_same(arrived_fixed, fixed)
    arrived_free[0] = 7
    assert arrived_fixed[0] == 0


def test_arrays_keep_their_order_in_memory() -> None:
    columns = np.asfortranarray(np.arange(60_000).reshape(200, 300))
    arrived = decode_value(*encode_value(columns))
    assert arrived.flags.f_contiguous and np.array_equal(arrived, columns)


def test_arrays_with_gaps_arrive() -> None:
    array = np.arange(100_000).reshape(100, 1000)[::-2, ::3]
    assert_same(decode_value(*encode_value(array)), array)


def test_structured_and_object_arrays_arrive() -> None:
    record = np.array([(1, 2.5, "x")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
    objects = np.array([(1,), {"a"}, None], dtype=object)
    assert_same(decode_value(*encode_value([record, objects])), [record, objects])


def test_what_a_function_writes_to_its_payload_stays_its_own() -> None:
    sent = np.zeros(100_000)
    chosen, payload = encode_value(sent)
    decode_value(chosen, payload)[:] = 1
    assert not sent.any() and not decode_value(chosen, payload).any()


def frames() -> list[pd.DataFrame]:
    plain = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]}, index=[7, 3])
    typed = pd.DataFrame(
        {
            "category": pd.Categorical(["u", "v"], ["v", "u"], ordered=True),
            "whole": pd.array([1, None], dtype="Int64"),
            "flag": pd.array([True, None], dtype="boolean"),
            "when": pd.to_datetime(["2024-01-01", "2024-02-01"]).tz_localize("Europe/Paris"),
            "took": pd.to_timedelta([1, 2], unit="s"),
            "any": [(1, 2), {"a": 1}],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["letter", None]),
    )
    large = pd.DataFrame(np.arange(300_000.0).reshape(1000, 300))
    large.attrs["source"] = "here"
    return [plain, typed, large, pd.DataFrame(), plain.T]


@pytest.mark.parametrize("number", range(len(frames())))
def test_frames_arrive_as_they_were_sent(number: int) -> None:
    sent = frames()[number]
    arrived = decode_value(*encode_value(sent))
    assert_same(arrived, sent)
    assert arrived.attrs == sent.attrs


def test_series_and_pandas_scalars_arrive() -> None:
    values = [
        pd.Series([1, 2], name="s", index=["a", "b"]),
        pd.Timestamp("2024-01-01", tz="UTC"),
        pd.Timedelta(3, "s"),
        pd.Period("2024-01", "M"),
        pd.NaT,
        pd.NA,
    ]
    for arrived, sent in zip(through_the_wire(values), values, strict=True):
        if sent is pd.NaT or sent is pd.NA:
            assert arrived is sent
        else:
            assert_same(arrived, sent)


# What has no name that the other side could import

SENDER = """
import dataclasses, enum, functools, json, sys
from palm.wire.codec import encode_values

class Shape(enum.Enum):
    ROUND = 1

@dataclasses.dataclass
class Ball:
    size: int
    shape: Shape = Shape.ROUND

    def grown(self):
        return Ball(self.size + offset)

offset = 10

def twice(x):
    return 2 * x + offset

values = [Ball(3), twice, lambda x: x + offset, functools.partial(twice, 4), {"k": (Ball, [1])}]
codec, payloads = encode_values(values)
print(json.dumps([codec, [payload.hex() for payload in payloads]]))
"""


def test_what_a_script_defines_arrives_in_another_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SENDER)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    chosen, payloads = json.loads(done.stdout)
    ball, twice, plus, partial, mixed = decode_values(chosen, list(map(bytes.fromhex, payloads)))
    assert (ball.size, ball.shape.name, ball.grown().size) == (3, "ROUND", 13)
    assert (twice(1), plus(1), partial()) == (12, 11, 18)
    assert mixed["k"][0](5).size == 5 and mixed["k"][1] == [1]
    assert type(ball) is mixed["k"][0] or type(ball).__name__ == "Ball"


def test_closures_and_local_classes_arrive() -> None:
    @np.vectorize
    def add(a: int) -> int:
        return a + offset

    class Local:
        value = 3

    offset = 4
    arrived_add, arrived_class = decode_value(*encode_value((add, Local)))
    assert list(arrived_add([1, 2])) == [5, 6] and arrived_class.value == 3


def test_classes_of_a_cell_or_a_script_travel_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{TARGET_PREFIX}here"
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    source = textwrap.dedent(
        """
        class Pair:
            def __init__(self, a): self.a = a
            def __eq__(self, other): return self.a == other.a
            __hash__ = None
        """
    )
    exec(compile(source, "cell", "exec"), module.__dict__)
    chosen, payload = encode_value([module.Pair(1), np.zeros(10_000)])
    monkeypatch.delitem(sys.modules, name)
    pair, array = decode_value(chosen, payload)
    assert pair.a == 1 and array.shape == (10_000,)


def test_value_that_cannot_be_pickled_says_so() -> None:
    with pytest.raises(TypeError, match="generator"):
        encode_value(x for x in ())


# Broken payloads and limits


def test_payload_that_grows_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_PAYLOAD", 10_000)
    with pytest.raises(PayloadTooLarge) as caught:
        encode_value(np.zeros(10_000))
    assert caught.value.limit == 10_000


@pytest.mark.parametrize("number", [-1, 3, 255, 1 << 40])
def test_unknown_codec_is_a_wire_error(number: int) -> None:
    with pytest.raises(WireError, match="codec"):
        decode_value(number, b"")


@given(st.binary(max_size=60))
def test_bytes_that_are_not_messagepack_are_a_wire_error(payload: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_value(Codec.MSGPACK, payload)


@given(
    st.sampled_from([1, (2, "x"), {"a": {3}}]) | st.just(np.arange(2000.0)),
    st.integers(1, 20_000),
)
@settings(deadline=None)
def test_pickled_payload_that_was_cut_off_is_a_wire_error(value: Any, cut: int) -> None:
    payload = bytes(encode_values([value, ()])[1][0])
    with pytest.raises(WireError):
        decode_value(Codec.PICKLE, payload[: -min(cut, len(payload))])


def test_pickled_payload_whose_lengths_do_not_add_up_is_a_wire_error() -> None:
    _, payload = encode_value(np.arange(2000.0))
    with pytest.raises(WireError):
        decode_value(Codec.PICKLE, payload + b"x")
