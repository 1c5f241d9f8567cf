"""Keys of items, and the partitions that they are spread over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from palm.clients.keys import Keys, partition_of
from palm.errors import ConfigError


def test_equal_keys_share_a_partition() -> None:
    assert partition_of(1) == partition_of(1.0) == partition_of(True)
    assert partition_of(("a", 1)) == partition_of(("a", 1))


@pytest.mark.parametrize("step", [1, 256, 1000, 1 << 32])
def test_keys_are_spread(step: int) -> None:
    found = {partition_of(number * step) for number in range(1000)}
    assert len(found) > 128 and found <= set(range(256))


@pytest.mark.parametrize(
    ("key", "items"),
    [
        ("k", [{"k": 5}, {"k": 6}]),
        ("k", [SimpleNamespace(k=5), SimpleNamespace(k=6)]),
        (lambda item: item + 5, [0, 1]),
        ([5, 6], ["x", "y"]),
        (range(5, 7), ["x", "y"]),
    ],
)
def test_key_is_found(key: Any, items: list[Any]) -> None:
    assert Keys(key, 2).partitions(0, items) == bytes([partition_of(5), partition_of(6)])


@pytest.mark.parametrize(("key", "size"), [(5, None), ([1, 2], 3), ((), 1)])
def test_what_gives_no_key_for_each_item_is_refused(key: Any, size: int | None) -> None:
    with pytest.raises(ConfigError):
        Keys(key, size)
