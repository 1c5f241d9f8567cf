"""Where shared values are kept: ends, quotas and pages, with a clock of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from palm.errors import CacheFull, ConfigError
from palm.protocol import store as module
from palm.protocol.store import Store
from palm.runtime.cache import MemoryCache
from palm.runtime.sqlitecache import SqliteCache
from palm.wire.message import MAX_TEXT

QUOTA = 100_000


@pytest.fixture(params=["mapping", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    stores = {
        "mapping": lambda: Store({}),
        "memory": lambda: MemoryCache(QUOTA),
        "sqlite": lambda: SqliteCache(tmp_path / "cache.db", QUOTA, wall=lambda: 1e9),
    }
    store = stores[request.param]()
    store.open(0.0)
    yield store
    store.close()


def keys(store: Store, prefix: str = "", now: float = 0.0) -> list[str]:
    """All keys, from as many pages as there are."""
    found: list[str] = []
    while True:
        page, left = store.page(prefix, found[-1] if found else "", now)
        found += page
        if len(page) >= left:
            return found


def test_value_is_there_until_its_end(store: Store) -> None:
    store.put("k", b"v", 10.0, 5.0)
    store.put("other", b"v", 0.0, 5.0)
    assert store.next_expiry == 15.0
    assert store.get("k", 14.9) == b"v" and store.has("k", 14.9) and store.count("", 14.9) == 2
    assert store.get("k", 15.0) is None
    assert not store.has("k", 15.0)
    assert store.count("", 15.0) == 1 and keys(store, now=15.0) == ["other"]
    assert store.pop("k", 15.0) is False


def test_what_is_set_again_has_the_end_it_was_given_last(store: Store) -> None:
    store.put("k", b"v", 10.0, 0.0)
    store.put("k", b"v", 20.0, 1.0)
    store.expire(10.0)
    assert store.get("k", 20.9) == b"v"
    store.put("k", b"v", 0.0, 20.9)
    store.expire(1e6)
    assert store.get("k", 1e6) == b"v"
    assert store.next_expiry is None


def test_end_goes_with_its_key(store: Store) -> None:
    store.put("k", b"v", 10.0, 0.0)
    assert store.pop("k", 1.0)
    assert store.next_expiry is None
    store.put("k", b"v", 10.0, 1.0)
    assert store.clear("", 2.0) == 1
    assert store.next_expiry is None


def test_what_is_over_gives_its_memory_back(store: Store) -> None:
    for number in range(100):
        store.put(f"k{number}", bytes(100), 1.0 + number, 0.0)
    store.expire(50.0)
    assert store.next_expiry == 51.0
    assert len(list(store._keys(""))) == 50
    if store.quota is not None:
        assert store.size == sum(len(f"k{number}") + 100 for number in range(50, 100))
    store.expire(1e3)
    assert list(store._keys("")) == [] and store.size == 0


def test_ends_that_change_all_the_time_are_no_leak() -> None:
    store = Store({})
    for now in range(10_000):
        store.put(str(now % 3), b"v", 1e6, float(now))
    assert len(store._due) < 200
    assert store.next_expiry is not None


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_quota_counts_keys_and_values(kind: str, tmp_path: Path) -> None:
    store = MemoryCache(100) if kind == "memory" else SqliteCache(tmp_path / "c.db", 100)
    store.open(0.0)
    try:
        store.put("ten chars.", bytes(90), 0.0, 0.0)
        assert store.size == 100
        with pytest.raises(CacheFull, match=r"quota of 100 bytes .*ttl.*quota=") as caught:
            store.put("k", b"", 0.0, 0.0)
        assert caught.value.limit == 100
        assert store.get("ten chars.", 0.0) == bytes(90)
        with pytest.raises(CacheFull):
            store.put("ten chars.", bytes(91), 0.0, 0.0)
        store.put("ten chars.", bytes(9), 5.0, 0.0)
        store.put("é", bytes(79), 0.0, 0.0)
        assert store.size == 100
        with pytest.raises(CacheFull):
            store.put("x", b"", 0.0, 4.9)
        store.put("x", b"", 0.0, 5.0)  # what is over makes room
        assert store.size == 82
        assert store.clear("", 5.0) == 2 and store.size == 0
    finally:
        store.close()


@pytest.mark.parametrize("quota", [0, -1])
def test_quota_is_positive(quota: int) -> None:
    with pytest.raises(ConfigError, match="quota"):
        MemoryCache(quota)


def test_keys_come_in_order_and_by_prefix(store: Store) -> None:
    names = ["", "a", "a/1", "a/2", "a/\0", "a\U0010ffff", "b", "ä", "\U0001f600", "A"]
    for name in names:
        store.put(name, b"v", 0.0, 0.0)
    assert keys(store) == sorted(names)
    assert keys(store, "a/") == ["a/\0", "a/1", "a/2"]
    assert keys(store, "a") == sorted(name for name in names if name.startswith("a"))
    assert [store.count(prefix, 0.0) for prefix in ("", "a/", "a", "zz")] == [10, 3, 5, 0]
    assert store.clear("a", 0.0) == 5
    assert keys(store) == sorted(name for name in names if not name.startswith("a"))


def test_many_keys_come_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 50)
    names = ["", *(f"{number:04}" for number in range(1000))]
    for name in names:
        store.put(name, b"v", 0.0, 0.0)
    page, left = store.page("", "", 0.0)
    assert left == 1001 and len(page) < 20
    assert keys(store) == names


def test_page_has_more_than_one_key_however_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 1)
    for name in ("", "a" * 100, "b" * 100):
        store.put(name, b"v", 0.0, 0.0)
    assert keys(store) == ["", "a" * 100, "b" * 100]


def test_keys_of_the_users_mapping_that_no_message_can_carry_are_left_out() -> None:
    held: dict[Any, bytes] = {"k" * (MAX_TEXT + 1): b"", "\udc80": b"", 5: b"", "": b"", "ok": b""}
    store = Store(held)
    assert keys(store) == ["", "ok"]
    assert store.count("", 0.0) == 2


class Stubborn(dict[str, bytes]):
    """Does not delete while it is told not to."""

    refuses = True

    def pop(self, key: str, *default: Any) -> Any:
        if self.refuses:
            raise OSError("no")
        return super().pop(key, *default)


def test_what_cannot_be_deleted_is_over_all_the_same_and_tried_again() -> None:
    held = Stubborn()
    store = Store(held)
    store.put("k", b"v", 1.0, 0.0)
    with pytest.raises(OSError, match="no"):
        store.expire(1.0)
    assert store.get("k", 1.0) is None and store.count("", 1.0) == 0
    assert store.next_expiry == 1.0 + module.RETRY_AFTER
    held.refuses = False
    store.expire(1.0 + module.RETRY_AFTER)
    assert held == {}
    assert store.next_expiry is None


def test_size_is_what_is_there_whatever_was_done(store: Store) -> None:
    if store.quota is None:
        return
    numbers = count()
    for key in "abcabcaab":
        store.put(key, bytes(next(numbers)), 3.0 if key == "b" else 0.0, float(next(numbers)))
    store.pop("a", 20.0)
    store.pop("a", 20.0)
    store.expire(100.0)
    assert store.size == sum(
        len(key.encode()) + len(store.get(key, 100.0) or b"") for key in keys(store, now=100.0)
    )
