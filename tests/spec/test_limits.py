"""Limits as people write them, and as a system takes them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.component import ComponentSpec
from palm.spec.limits import Limits, excess, limits_flaw, parse_limit, rlimits


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("memory", "2G", 2 << 30),
        ("memory", 3 << 20, 3 << 20),
        ("memory", "none", None),
        ("cpu_time", "1h30m", 5400),
        ("cpu_time", "0.2s", 1),
        ("cpu_time", "forever", None),
        ("core_size", 0, 0),
        ("core_size", "0", 0),
        ("open_files", 64, 64),
        ("processes", "none", None),
    ],
)
def test_limits_as_people_write_them(name: str, written: Any, value: int | None) -> None:
    assert parse_limit(name, written) == value


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("memory", "much", "is not a size"),
        ("memory", "1K", "the least is 1M"),
        ("memory", 2.5, "is not a limit of memory"),
        ("memory", 2**60, "no such limit"),
        ("cpu_time", "soon", "is not a duration"),
        ("open_files", 3, "the least is 16"),
        ("processes", True, "is not a limit of processes"),
        ("file_size", -1, "nothing can run"),
    ],
)
def test_what_is_no_limit_is_told(name: str, written: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_limit(name, written)
    assert caught.value.hint


def test_system_keeps_what_it_can_keep() -> None:
    assert rlimits(Limits(memory=1 << 30, processes=3)) == []
    assert rlimits(Limits(cpu_time=60, open_files=64, core_size=0)) == [
        ("RLIMIT_CPU", 60, 65),
        ("RLIMIT_NOFILE", 64, 64),
        ("RLIMIT_CORE", 0, 0),
    ]


@given(st.integers(1 << 20, 1 << 44), st.integers(1 << 20, 1 << 44))
def test_only_what_is_beyond_its_limit_is_told(limit: int, used: int) -> None:
    assert bool(excess(Limits(memory=limit), used, 1)) == (used > limit)
    assert excess(Limits(), used, 1) == ""


def test_excess_in_words() -> None:
    beyond = excess(Limits(memory=2 << 30), (2 << 30) + 1, 1)
    assert beyond == "used 2.1G of memory, its limit is 2G"
    assert excess(Limits(processes=3), 0, 4) == "had 4 processes, its limit is 3"


def test_limits_travel_and_unknown_ones_are_left_out() -> None:
    spec = ComponentSpec(name="a", command=["x"], limits=Limits(memory=1 << 30))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ComponentSpec) == spec
    newer = b'{"name": "a", "command": ["x"], "limits": {"memory": 1048576, "swap": 3}}'
    assert msgspec.json.decode(newer, type=ComponentSpec).limits == Limits(memory=1 << 20)
    assert limits_flaw("memory", 1 << 20) == ""
