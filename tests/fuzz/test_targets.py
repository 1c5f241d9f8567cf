"""Bytes that somebody else wrote are read, or refused, and never with another error.

`python -m tests.fuzz` looks for such bytes for longer, led by what they reach.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, framed, frames_of, near

pytestmark = pytest.mark.no_leak_check("descriptors")  # a folder of files serves all of them

calm = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip

targets = pytest.mark.parametrize("name", TARGETS)


@targets
def test_examples_and_what_is_near_them_are_borne(name: str) -> None:
    target = TARGETS[name]
    for data in [*target.examples(), *near(target.examples())]:
        target.read(data)


@targets
@given(data=st.binary(max_size=300))
@calm
def test_any_bytes_are_borne(name: str, data: bytes) -> None:
    TARGETS[name].read(data)


@targets
@given(choice=st.data())
@calm
def test_damaged_examples_are_borne(name: str, choice: st.DataObject) -> None:
    target = TARGETS[name]
    data = bytearray(choice.draw(st.sampled_from(target.examples())))
    for _ in range(choice.draw(st.integers(1, 4))):
        at = choice.draw(st.integers(0, len(data)))
        stop = at + choice.draw(st.integers(0, 3))
        data[at:stop] = choice.draw(st.binary(max_size=4))
    target.read(bytes(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
FIELDS = [
    "schema", "name", "role", "instance", "pid", "start_time", "epoch", "endpoints", "public_key",
    "functions", "identity", "url", "token_file", "curve_publickey", "curve_secretkey",
    "server_publickey", "created", "master", "version",
]  # fmt: skip


@pytest.mark.parametrize("name", ["key", "record", "registry", "lock"])
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
@calm
def test_files_with_fields_of_any_kind_are_borne(name: str, fields: dict[str, object]) -> None:
    import json

    target = TARGETS[name]
    whole = json.loads(target.examples()[0])
    target.read(json.dumps({**whole, **fields}).encode())


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_are_told_apart_again(frames: list[bytes]) -> None:
    assert frames_of(framed(frames)) == frames
