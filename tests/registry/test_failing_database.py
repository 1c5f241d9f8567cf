"""A database that is locked, slow or damaged: 503 and when to come again, never 500: F31."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from palm_registry.store import Database, StoreError
from tests.support.registry import Answer, Browser, RegistryThread, piece


@pytest.fixture
def registry(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryThread]:
    """One that does not wait long for who has locked the database."""
    monkeypatch.setattr("palm_registry.store.sqlite.BUSY", 0.2)
    running = RegistryThread(palm_home).start()
    yield running
    running.stop()


def file_of(registry: RegistryThread) -> Path:
    return registry.settings.state / "registry.db"


def ask(registry: RegistryThread, method: str, path: str, body: Any = None) -> Answer:
    headers = {"Authorization": f"Bearer {registry.token}"}
    return Browser(registry.url, headers).ask(method, path, body)


def test_who_writes_while_another_program_has_it_locked_is_told_when_to_come_again(
    registry: RegistryThread, client: RegistryClient
) -> None:
    with closing(sqlite3.connect(file_of(registry), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for method, path, body in (
            ("POST", "/api/clusters", {"name": "d"}),
            ("POST", "/api/clusters/c/lease", {"holder": "me", "ttl": 9}),
            ("PUT", "/api/clusters/c/config", {"text": ""}),
            ("DELETE", "/api/clusters/c", None),
        ):
            answer = ask(registry, method, path, body)
            assert (answer.status, answer.code) == (503, "busy"), path
            assert answer.headers["Retry-After"] == "1"
        # Reading goes on, and so does the registry.
        assert ask(registry, "GET", "/api/clusters/c").status == 200
        assert ask(registry, "GET", "/health").status == 200
        other.execute("ROLLBACK")
    client.create_cluster("d")
    assert [cluster.key for cluster in client.cluster_list()] == ["c", "d"]


def test_a_client_tries_again_until_the_lock_is_gone(
    registry: RegistryThread, client: RegistryClient
) -> None:
    with closing(
        sqlite3.connect(file_of(registry), isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(1.0, other.execute, ["ROLLBACK"])
        release.start()
        with registry.client(retry=30.0) as patient:
            assert patient.create_cluster("d").key == "d"
        release.join()


def test_a_write_that_takes_long_holds_up_no_reader(
    registry: RegistryThread, client: RegistryClient
) -> None:
    assert registry.registry is not None
    assert registry.registry.service is not None
    database = registry.registry.service.core.database
    begun, go_on = threading.Event(), threading.Event()

    def slow(_connection: Any) -> None:
        begun.set()
        assert go_on.wait(20)

    running = asyncio.run_coroutine_threadsafe(database.write(slow), registry._loop)
    assert begun.wait(20)
    began = time.monotonic()
    for _ in range(10):
        assert client.view_cluster("c").key == "c"
        assert client.health().status == "ok"
    assert time.monotonic() - began < 10.0
    assert not running.done()
    go_on.set()
    running.result(20)


def test_damage_that_shows_while_it_runs_is_503_and_the_next_start_is_refused(
    registry: RegistryThread, client: RegistryClient
) -> None:
    for number in range(20):
        client.send_output("c", [piece(number * 20_000, os.urandom(20_000))])
    client.close()
    path = file_of(registry)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:  # all but the first page, which says what it is
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    answers = [
        ask(registry, "GET", "/api/clusters/c/output?cursor=start"),
        ask(registry, "GET", "/api/clusters/c/status"),
        ask(registry, "GET", "/api/clusters"),
        ask(registry, "POST", "/api/clusters", {"name": "d"}),
        ask(registry, "POST", "/api/clusters/c/lease", {"holder": "me", "ttl": 9}),
        ask(registry, "POST", "/api/registry/backup"),
    ]
    # What it has in memory it may still know; but nothing is an accident.
    assert {answer.status for answer in answers} <= {200, 201, 404, 503}
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert all(answer.headers["Retry-After"] == "1" for answer in refused)
    assert ask(registry, "GET", "/health").status == 200
    registry.stop()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="backup"):
        registry.start()
    assert path.read_bytes() == before


def test_what_the_driver_says_beside_sqlalchemy_is_the_databases_trouble_too(
    tmp_path: Path,
) -> None:
    """A new connection may fail before SQLAlchemy looks at what is raised."""
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()

    def fail(*_args: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    event.listen(database._reader, "connect", fail)
    database._reader.dispose()
    with pytest.raises(StoreError, match="unable to open"):
        asyncio.run(database.read(lambda c: c.exec_driver_sql("SELECT 1").scalar()))
    event.listen(database._writer, "connect", fail)
    database._writer.dispose()
    with pytest.raises(StoreError, match="unable to open"):
        asyncio.run(database.write(lambda c: c.exec_driver_sql("SELECT 1").scalar()))
    database.close()


def test_a_refusal_of_the_database_says_what_it_is_to_who_reads_it(
    registry: RegistryThread, client: RegistryClient
) -> None:
    with closing(sqlite3.connect(file_of(registry), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with registry.client(retry=0.0) as hasty, pytest.raises(Refused, match="locked") as found:
            hasty.create_cluster("d")
        other.execute("ROLLBACK")
    assert (found.value.status, found.value.code) == (503, "busy")
