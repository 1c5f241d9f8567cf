"""The database: one writer, commits of many at once, the schema, what it does with failures."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from palm.errors import ConfigError
from palm_registry.migrations import LATEST, migrate
from palm_registry.models import metadata
from palm_registry.store import Database, StoreError
from palm_registry.store import clusters as rows
from palm_registry.store.clusters import ClusterRow


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/registry.db")
    opened.open()
    yield opened
    opened.close()


def row(key: str) -> ClusterRow:
    return ClusterRow(key=key, name=key, created=0.0, updated=0.0)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_a_write_that_fails_takes_nothing_with_it(database: Database) -> None:
    def good(connection: Any) -> str:
        rows.add_cluster(connection, row("good"))
        return "done"

    def bad(connection: Any) -> None:
        rows.add_cluster(connection, row("bad"))
        raise ValueError("changed my mind")

    async def both() -> list[Any]:
        jobs = [database.write(bad), database.write(good), database.write(bad)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    results = run(both())
    assert results[1] == "done"
    assert [type(result) for result in results] == [ValueError, str, ValueError]
    found = run(database.read(rows.all_clusters))
    assert [cluster.key for cluster in found] == ["good"]


def test_writes_happen_one_after_another_in_one_thread(database: Database) -> None:
    threads: set[int] = set()

    def count(connection: Any) -> int:
        threads.add(threading.get_ident())
        if rows.get_cluster(connection, "n") is None:
            rows.add_cluster(connection, row("n"))
        return rows.bump(connection, "n")

    async def many() -> list[int]:
        return await asyncio.gather(*(database.write(count) for _ in range(200)))

    assert run(many()) == list(range(1, 201))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_is_read_does_not_change_while_it_is_read(database: Database) -> None:
    reading, written = threading.Event(), threading.Event()

    def read(connection: Any) -> tuple[int, int]:
        first = len(rows.all_clusters(connection))
        reading.set()
        assert written.wait(5)
        return first, len(rows.all_clusters(connection))

    async def both() -> tuple[int, int]:
        reader = asyncio.ensure_future(database.read(read))
        await asyncio.to_thread(reading.wait)
        await database.write(lambda c: rows.add_cluster(c, row("a")))
        written.set()
        return await reader

    assert run(both()) == (0, 0)


def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(StoreError, match="readonly"):
        run(database.read(lambda c: rows.add_cluster(c, row("a"))))


def test_a_job_that_nobody_waits_for_any_more_is_left_out(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_connection: Any) -> None:
        begun.set()
        assert go_on.wait(5)

    async def three() -> None:
        first = asyncio.ensure_future(database.write(slow))
        await asyncio.to_thread(begun.wait)
        second = asyncio.ensure_future(
            database.write(lambda c: rows.add_cluster(c, row("unwanted")))
        )
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        go_on.set()
        await first

    run(three())
    assert run(database.read(rows.all_clusters)) == []


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(
    database: Database, tmp_path: Path
) -> None:
    def limit(pages: int) -> Any:
        return lambda c: c.execute(text(f"PRAGMA max_page_count = {pages}")).scalar()

    def fill(connection: Any) -> None:
        connection.execute(
            text("INSERT INTO meta VALUES (:v, :d)"), {"v": 1000, "d": "x" * 2_000_000}
        )

    size = run(database.write(limit(1)))
    with pytest.raises(StoreError, match="full"):
        run(database.write(fill))
    with pytest.raises(StoreError):
        run(database.write(fill))
    assert run(database.read(rows.all_clusters)) == []
    run(database.write(limit(size + 10_000)))
    run(database.write(fill))


def test_closing_finishes_what_was_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    database = Database(url)
    database.open()

    async def write_and_close() -> None:
        job = asyncio.ensure_future(database.write(lambda c: rows.add_cluster(c, row("last"))))
        await asyncio.sleep(0)
        await asyncio.to_thread(database.close)
        await job

    run(write_and_close())
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        assert connection.execute("SELECT key FROM clusters").fetchall() == [("last",)]
    connection.close()


def test_the_same_database_has_the_same_identity_and_another_has_another(tmp_path: Path) -> None:
    found = []
    for name in ("a", "a", "b"):
        database = Database(f"sqlite:///{tmp_path}/{name}.db")
        database.open()
        found.append(database.identity)
        database.close()
    assert found[0] == found[1] != found[2]


def test_the_search_for_damage_in_a_large_database_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "registry.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE filler (x BLOB UNIQUE)")
        connection.executemany(
            "INSERT INTO filler VALUES (?)", [(b"%d" % n,) for n in range(20_000)]
        )
    connection.close()
    monkeypatch.setattr("palm_registry.store.database._CHECK", 0.0)
    caplog.set_level("INFO")
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()
    assert "the database is large" in caplog.text


# ---- the schema


def test_the_steps_lead_to_the_tables_that_the_program_knows(tmp_path: Path) -> None:
    shapes = []
    for name in ("steps", "models"):
        engine = create_engine(f"sqlite:///{tmp_path}/{name}.db")
        with engine.begin() as connection:
            if name == "steps":
                migrate(connection)
            else:
                metadata.create_all(connection)
            found = inspect(connection)
            shapes.append(
                {
                    table: (
                        [
                            (c["name"], str(c["type"]), c["nullable"])
                            for c in found.get_columns(table)
                        ],
                        found.get_pk_constraint(table),
                        sorted(str(key) for key in found.get_foreign_keys(table)),
                        sorted(str(index) for index in found.get_indexes(table)),
                        sorted(str(each) for each in found.get_unique_constraints(table)),
                    )
                    for table in found.get_table_names()
                }
            )
        engine.dispose()
    assert shapes[0] == shapes[1]


def test_a_schema_is_changed_once(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection)
            assert connection.scalar(text("SELECT version FROM meta")) == LATEST
            assert connection.scalar(text("SELECT count(*) FROM meta")) == 1
    engine.dispose()


def test_an_older_schema_is_brought_up_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.begin() as connection:
        migrate(connection)
    more = ("CREATE TABLE more (x INTEGER)",), ("INSERT INTO more VALUES (1)",)
    monkeypatch.setattr("palm_registry.migrations._STEPS", ((),) * LATEST + more)
    monkeypatch.setattr("palm_registry.migrations.LATEST", LATEST + 2)
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM more")) == 1
    monkeypatch.setattr("palm_registry.migrations.LATEST", LATEST + 1)
    with engine.begin() as connection, pytest.raises(ConfigError, match=f"schema {LATEST + 2}"):
        migrate(connection)
    engine.dispose()


def test_nothing_in_the_database_is_a_pickle() -> None:
    """Defect 34."""
    kinds = {str(column.type) for table in metadata.tables.values() for column in table.columns}
    assert kinds <= {"JSON", "BOOLEAN", "FLOAT", "INTEGER", "VARCHAR", "TEXT", "BLOB"}
    blobs = [
        (table.name, column.name)
        for table in metadata.tables.values()
        for column in table.columns
        if str(column.type) == "BLOB"
    ]
    assert blobs == [("output", "data")]
