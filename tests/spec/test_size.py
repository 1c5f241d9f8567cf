"""Sizes, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import ConfigError
from palm.spec.size import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("10G", 10 << 30), ("500m", 500 << 20), ("1.5KiB", 1536), (" 7 ", 7), ("2TB", 2 << 40),
     ("none", None), ("NONE", None)],
)  # fmt: skip
def test_a_size_is_bytes_in_powers_of_1024(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "nan", "inf", "1e999", "10X", "ten"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="500M"):
        parse_size(text)


@given(st.none() | st.integers(1, 1 << 50))
def test_what_is_shown_is_read_as_the_same(size: int | None) -> None:
    assert parse_size(format_size(size)) == size
