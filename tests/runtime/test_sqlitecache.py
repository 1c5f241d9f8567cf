"""The cache in a file: private, one master's, and there for the next one."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from palm.errors import AuthenticationError, ConfigError, PalmError, PayloadTooLarge
from palm.runtime.cache import Cache, LocalValues, MemoryCache, store_of
from palm.runtime.sqlitecache import SqliteCache


@contextmanager
def opened(
    path: Path, now: float = 0.0, wall: float = 1e9, quota: int = 1 << 20
) -> Iterator[SqliteCache]:
    store = SqliteCache(path, quota, wall=lambda: wall)
    store.open(now)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def test_values_and_ends_are_there_for_the_next_one(path: Path) -> None:
    with opened(path, now=5.0, wall=1000.0) as store:
        store.put("stays", b"v", 0.0, 5.0)
        store.put("ends", b"vv", 60.0, 5.0)
        store.put("over", b"vvv", 20.0, 5.0)
        size = store.size
    with opened(path, now=77.0, wall=1030.0) as store:  # another machine's clock, 30 s later
        assert store.get("stays", 77.0) == b"v"
        assert store.get("over", 77.0) is None
        assert store.get("ends", 106.9) == b"vv"
        assert store.next_expiry == 107.0
        assert store.get("ends", 107.0) is None
        assert store.size == size - len("over") - 3


def test_its_files_are_private(path: Path) -> None:
    with opened(path) as store:
        store.put("k", b"v", 0.0, 0.0)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_file_that_others_can_read_is_refused(path: Path) -> None:
    with opened(path):
        pass
    path.chmod(0o644)
    with pytest.raises(AuthenticationError, match="chmod 600"), opened(path):
        pass


def test_log_of_a_stranger_is_refused(path: Path) -> None:
    Path(f"{path}-wal").write_bytes(b"")
    Path(f"{path}-wal").chmod(0o666)
    with pytest.raises(AuthenticationError, match="chmod 600"), opened(path):
        pass


def test_two_masters_cannot_use_one_file(path: Path) -> None:
    with opened(path) as store:
        with pytest.raises(ConfigError, match="another master uses"), opened(path):
            pass
        with pytest.raises(ConfigError, match="another master uses"):
            store.open(0.0)
        store.put("k", b"v", 0.0, 0.0)
    with opened(path) as store:
        assert store.get("k", 0.0) == b"v"


def test_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="move it away"), opened(path):
        pass
    assert path.read_bytes() == b"no database at all" * 100


@pytest.mark.parametrize("script", ["CREATE TABLE t (x)", "PRAGMA user_version = 9"])
def test_database_of_another_kind_or_version_is_refused(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no cache of this version"), opened(path):
        pass


def test_folder_that_is_missing_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "cache.db"
    with pytest.raises(ConfigError, match="missing"), opened(path):
        pass


def test_link_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(ConfigError), opened(path):
        pass


def test_closed_cache_cannot_be_asked(path: Path) -> None:
    with opened(path) as store:
        pass
    with pytest.raises(PalmError, match="not open"):
        store.get("k", 0.0)
    store.close()


def test_it_can_be_opened_again(path: Path) -> None:
    store = SqliteCache(path)
    for _ in range(2):
        store.open(0.0)
        store.put("k", b"v", 0.0, 0.0)
        store.close()


def test_value_that_no_row_can_hold_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path, quota=1 << 30) as store:
        assert store._connection is not None
        store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 << 20)
        with pytest.raises(PayloadTooLarge, match="SQLite"):
            store.put("k", bytes(2 << 20), 0.0, 0.0)
        store.put("k", bytes(1 << 19), 0.0, 0.0)


def test_disk_that_refuses_changes_nothing(path: Path) -> None:
    with opened(path) as store:
        store.put("k", b"v", 1.0, 0.0)
        size = store.size
        assert store._connection is not None
        store._connection.execute("PRAGMA query_only = ON")
        for deed in (
            lambda: store.put("k", b"other", 0.0, 0.5),
            lambda: store.pop("k", 0.5),
            lambda: store.clear("", 0.5),
            lambda: store.expire(2.0),
        ):
            with pytest.raises(sqlite3.Error):
                deed()
        assert store.get("k", 0.5) == b"v" and store.size == size
        store._connection.execute("PRAGMA query_only = OFF")
        assert store.get("k", 2.0) is None
        store.expire(62.0)
        assert store.size == 0


# What Master(cache=...) may be


def test_words_and_paths_name_files(tmp_path: Path) -> None:
    default = tmp_path / "default.db"
    for cache, path in [
        ("sqlite", default),
        (f"sqlite:{tmp_path}/x.db", tmp_path / "x.db"),
        (tmp_path / "y.db", tmp_path / "y.db"),
    ]:
        store = store_of(cache, lambda: default)
        assert isinstance(store, SqliteCache) and store.path == path
    assert isinstance(store_of(None, lambda: default), MemoryCache)
    mine = MemoryCache(5)
    assert store_of(mine, lambda: default) is mine


@pytest.mark.parametrize("cache", ["redis://x", "", "sqlit", 5, b"x", ["a"]])
def test_what_is_no_place_is_refused(cache: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sqlite:PATH"):
        store_of(cache, lambda: tmp_path)


def test_home_is_that_of_the_user(tmp_path: Path) -> None:
    store = store_of("sqlite:~/x.db", lambda: tmp_path)
    assert isinstance(store, SqliteCache) and store.path == Path(os.path.expanduser("~/x.db"))


def test_threads_share_it(path: Path) -> None:
    with opened(path) as store:
        cache = Cache(LocalValues(store, clock=lambda: 0.0))
        cache["n"] = 0

        def count() -> None:
            for _ in range(50):
                while not cache.cas("n", value := cache["n"], value + 1):
                    pass

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache["n"] == 200
