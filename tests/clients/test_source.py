"""What can be the items of a job."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from palm.clients.source import Source
from palm.errors import ConfigError


@pytest.mark.parametrize(
    ("items", "size", "values"),
    [
        ([1, 2], 2, [1, 2]),
        ((1, 2), 2, [1, 2]),
        (range(3), 3, [0, 1, 2]),
        ({"a": 1}, 1, ["a"]),
        ({"a": 1}.values(), 1, [1]),
        (np.array([1, 2]), 2, [1, 2]),
        (np.eye(2), 2, None),
        (pd.Index([3, 4]), 2, [3, 4]),
        (iter([1]), None, [1]),
        (io.StringIO("a\nb\n"), None, ["a\n", "b\n"]),
        (map(str, [1]), None, ["1"]),
        (bytearray(b"ab"), 2, [97, 98]),
        (Counter("aa"), 1, ["a"]),
    ],
)
def test_any_iterable_will_do(items: Any, size: int | None, values: list[Any] | None) -> None:
    source = Source(items)
    assert source.size == size
    assert source.index is None
    taken = list(source)
    assert values is None or taken == values


def test_a_frame_has_a_size_and_an_index() -> None:
    data = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    for items in (data, data["a"]):
        source = Source(items)
        assert source.size == 2
        assert source.index.tolist() == ["x", "y"]


@pytest.mark.parametrize("items", [3, None, len, object()])
def test_what_cannot_be_iterated_is_refused(items: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be iterated"):
        Source(items)


@pytest.mark.parametrize("items", ["text", b"bytes"])
def test_a_single_text_is_refused(items: Any) -> None:
    with pytest.raises(ConfigError, match=r"client\.eval"):
        Source(items)


class Sequence:
    """Can be iterated by its numbers only, as old classes can."""

    def __getitem__(self, at: int) -> int:
        if at > 2:
            raise IndexError
        return at


def test_what_has_only_numbered_items_will_do() -> None:
    assert list(Source(Sequence())) == [0, 1, 2]  # type: ignore[arg-type]


class Unsure:
    def __iter__(self) -> Any:
        return iter([1, 2])

    def __len__(self) -> int:
        raise TypeError("not known")


def test_a_length_that_is_not_known_is_no_error() -> None:
    source = Source(Unsure())
    assert source.size is None
    assert list(source) == [1, 2]
