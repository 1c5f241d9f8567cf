"""The cache as clients, workers and the master's own process have it."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palm.clients import Client
from palm.clients.cache import MISSING, Cache
from palm.errors import CacheFull, ConfigError, PalmError, TaskError
from palm.protocol import store as store_module
from palm.runtime.cache import MemoryCache
from palm.runtime.folders import Folders
from palm.runtime.sqlitecache import SqliteCache
from palm.servers import Master, Worker
from tests.support.cluster import ThreadCluster, until


@pytest.fixture
def client(cluster: ThreadCluster) -> Client:
    cluster.master()
    return cluster.client()


def test_it_is_a_mapping(client: Client) -> None:
    cache = client.cache
    assert isinstance(cache, MutableMapping) and isinstance(cache, Cache)
    cache["none"], cache["empty"], cache["set"] = None, b"", {1, 2}
    assert cache["none"] is None and cache["empty"] == b"" and cache["set"] == {1, 2}
    with pytest.raises(KeyError, match="missing"):
        cache["missing"]
    with pytest.raises(KeyError, match="missing"):
        del cache["missing"]
    assert "none" in cache and "missing" not in cache and 5 not in cache
    assert cache.get("missing") is None and cache.get("missing", 3) == 3
    assert cache.get("none", 3) is None
    assert len(cache) == 3 and list(cache) == ["empty", "none", "set"]
    assert dict(cache) == {"none": None, "empty": b"", "set": {1, 2}}
    cache.update({"more": 1}, other=2)
    assert cache.pop("more") == 1 and cache.pop("more", 7) == 7
    with pytest.raises(KeyError):
        cache.pop("more")
    assert cache.setdefault("other", 5) == 2 and cache.setdefault("new", 5) == 5
    del cache["new"]
    assert cache.popitem() == ("empty", b"")
    assert cache.clear() == 3 and len(cache) == 0
    with pytest.raises(KeyError):
        cache.popitem()


def test_it_has_what_set_and_get_have(client: Client) -> None:
    client.set((1, 2), "key")
    assert client.cache["key"] == (1, 2)
    client.cache["other"] = 3
    assert client.get("other") == 3
    assert client.delete("other") is True


def test_keys_are_listed_and_cleared_by_prefix(client: Client) -> None:
    for key in ("b/2", "a/1", "b/1", "b"):
        client.cache[key] = 0
    assert client.cache.list() == ["a/1", "b", "b/1", "b/2"]
    assert client.cache.list("b/") == ["b/1", "b/2"]
    assert client.cache.clear("b/") == 2
    assert client.cache.list() == ["a/1", "b"]


def test_deleting_by_the_names_of_pylm_says_what_was_there(client: Client) -> None:
    client.cache.update({"a/1": 1, "a/2": 2, "b": 3})
    assert client.cache.delete("b") is True and client.cache.delete("b") is False
    assert client.cache.clean("a/") == 2 and client.cache.clean("a/") == 0


def test_compare_and_set(client: Client) -> None:
    cache = client.cache
    assert cache.cas("k", MISSING, 1) is True
    assert cache.cas("k", MISSING, 2) is False
    assert cache.cas("k", 2, 3) is False
    assert cache.cas("k", 1.0, 3) is False
    assert cache.cas("k", 1, [1, {"a": None}]) is True
    assert cache.cas("k", [1, {"a": None}], np.arange(100_000)) is True
    assert cache.cas("k", np.arange(100_000), "end") is True
    assert cache.cas("k", "other", MISSING) is False and "k" in cache
    assert cache.cas("k", "end", MISSING) is True and "k" not in cache


def test_value_ends_by_itself(client: Client) -> None:
    client.cache.set("short", 1, ttl=0.05)
    client.cache.set("long", 1, ttl=1000)
    assert client.cache.cas("lock", MISSING, "me", ttl=0.05)
    until(lambda: client.cache.list() == ["long"])
    assert client.cache.cas("lock", MISSING, "you")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_time_that_is_none_is_refused(client: Client, ttl: float) -> None:
    with pytest.raises(ConfigError, match="ttl"):
        client.cache.set("k", 1, ttl=ttl)


@pytest.mark.parametrize("key", [5, None, b"k", "\udc80"])
def test_key_that_is_none_is_refused(client: Client, key: Any) -> None:
    with pytest.raises(ConfigError, match="key"):
        client.cache[key] = 1


def test_many_keys_are_listed_and_cleared(
    cluster: ThreadCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PAGE", 100_000)
    master = cluster.master().component
    assert isinstance(master, Master)
    keys = [f"{number:05}-" + "x" * 20 for number in range(30_000)]
    master.cache.update(dict.fromkeys(keys, 0))
    client = cluster.client()
    assert client.cache.list() == keys
    assert client.cache.list("29") == keys[29_000:]
    assert len(client.cache) == 30_000
    assert client.cache.clear() == 30_000
    assert client.cache.list() == []


def test_sessions_are_apart_in_all_they_do(cluster: ThreadCluster) -> None:
    cluster.master()

    class Seeing(Worker):
        def see(self, key: str) -> Any:
            return self.cache.list(key)

    cluster.worker(Seeing("w", master="foo"))
    one, two, none = (cluster.client(session=session) for session in ("one", "two", None))
    one.cache["k"], two.cache["k"] = 1, 2
    assert one.cache.list() == ["k"] and list(two.cache) == ["k"] and len(one.cache) == 1
    assert none.cache.list() == ["one/k", "two/k"]
    assert one.cache.cas("k", 1, 3) and not two.cache.cas("k", 1, 3)
    one.cache.set("t", 1, ttl=500)
    assert none.eval("foo.see", "one/") == ["one/k", "one/t"]
    assert one.cache.clear() == 2
    assert two.cache["k"] == 2 and "k" not in one.cache
    assert two.cache.pop("k") == 2 and len(none.cache) == 0


def test_workers_have_it_too(cluster: ThreadCluster) -> None:
    class Counting(Worker):
        def count(self, key: str) -> None:
            while True:
                n = self.cache.setdefault(key, 0)
                if self.cache.cas(key, n, n + 1):
                    return

    cluster.master()
    for name in ("v", "w"):
        cluster.worker(Counting(name, master="foo"))
    client = cluster.client()
    client.job("foo.count", ["n"] * 200).wait(60)
    assert client.cache["n"] == 200


def test_a_worker_that_does_not_run_has_none(palm_home: Path) -> None:
    worker = Worker("w", master="foo", functions={"f": print})
    with pytest.raises(PalmError, match="does not run"):
        worker.cache["k"] = 1


def test_a_full_cache_is_an_error_of_who_sets(cluster: ThreadCluster) -> None:
    cluster.master(cache=MemoryCache(quota=1000))

    class Keeping(Worker):
        def keep(self, size: int) -> None:
            self.cache["w"] = bytes(size)

    cluster.worker(Keeping("w", master="foo"))
    client = cluster.client()
    client.cache["k"] = bytes(900)
    for call in (
        lambda: client.cache.set("more", bytes(100)),
        lambda: client.set(bytes(100), "more"),
        lambda: client.cache.cas("more", MISSING, bytes(100)),
    ):
        with pytest.raises(CacheFull, match="1,000 bytes") as caught:
            call()
        assert caught.value.limit == 1000
    with pytest.raises(TaskError, match="CacheFull"):
        client.eval("foo.keep", 100)
    assert client.cache.list() == ["k"]
    del client.cache["k"]
    client.eval("foo.keep", 900)


def test_the_masters_own_view_does_the_same(cluster: ThreadCluster) -> None:
    master = cluster.master().component
    assert isinstance(master, Master)
    client = cluster.client()
    assert master.cache.cas("k", MISSING, 1)
    assert client.cache.cas("k", 1, 2)
    assert master.cache.list() == ["k"] and master.cache["k"] == 2
    master.cache.set("t", 1, ttl=0.01)
    until(lambda: "t" not in client.cache)
    assert master.cache.clear() == 1
    with pytest.raises(KeyError):
        master.cache["k"]


def test_sqlite_is_in_the_state_folder_and_outlives_the_master(cluster: ThreadCluster) -> None:
    served = cluster.master(cache="sqlite")
    client = cluster.client()
    client.cache["k"] = {1, 2}
    client.cache.set("t", 1, ttl=1000)
    folder = Folders.find().state / "default" / "cache"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    served.stop()
    with pytest.raises(PalmError, match="not open"):
        served.component.cache["k"]  # type: ignore[attr-defined]
    cluster.master(cache="sqlite")
    assert client.cache["k"] == {1, 2} and client.cache.list() == ["k", "t"]


def test_two_masters_do_not_share_a_file(cluster: ThreadCluster, tmp_path: Path) -> None:
    store = SqliteCache(tmp_path / "cache.db")
    cluster.master("foo", cache=store)
    for cache in (store, tmp_path / "cache.db"):
        with pytest.raises(ConfigError, match="another master"):
            cluster.master("bar", cache=cache)
    client = cluster.client()
    client.cache["k"] = 1
    assert client.cache["k"] == 1


def test_a_closed_client_has_none(client: Client) -> None:
    client.close()
    with pytest.raises(PalmError, match="closed"):
        client.cache["k"] = 1
