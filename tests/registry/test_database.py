"""The database: one writer, commits of many at once, the schema, what it does with failures."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import asdict
from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from palm.errors import ConfigError
from palm_registry.migrations import _STEPS, LATEST, migrate
from palm_registry.models import metadata
from palm_registry.store import Database, StoreError, Unstorable, configs
from palm_registry.store import clusters as rows
from palm_registry.store.clusters import ClusterRow

pytestmark = pytest.mark.both_databases


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    return database_url or f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The database without the registry's own ways with it."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    yield engine
    engine.dispose()


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
    with pytest.raises(StoreError, match=r"read-?only"):
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


def test_a_value_that_no_column_can_hold_takes_nothing_with_it(database: Database) -> None:
    def large(connection: Any) -> None:
        rows.add_cluster(connection, row("large"))
        rows.update_cluster(connection, "large", generation=2**63)

    async def both() -> list[Any]:
        good = database.write(lambda c: rows.add_cluster(c, row("good")))
        return await asyncio.gather(database.write(large), good, return_exceptions=True)

    assert [type(result) for result in run(both())] == [Unstorable, type(None)]
    assert [cluster.key for cluster in run(database.read(rows.all_clusters))] == ["good"]
    with pytest.raises(Unstorable):
        run(database.read(lambda c: configs.get_config(c, "good", 2**63)))


def test_keys_are_told_apart_and_sorted_by_their_code_points(database: Database) -> None:
    keys = ["a", "B", "b", "A", "a-b", "a_b", "ab", "a0", "ä", "_"]

    def write(connection: Any) -> None:
        for key in keys:
            rows.add_cluster(connection, row(key))

    run(database.write(write))
    assert [cluster.key for cluster in run(database.read(rows.all_clusters))] == sorted(keys)


def test_a_full_disk_is_told_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()

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
    database.close()


def test_closing_finishes_what_was_taken(url: str, engine: Engine) -> None:
    database = Database(url)
    database.open()

    async def write_and_close() -> None:
        job = asyncio.ensure_future(database.write(lambda c: rows.add_cluster(c, row("last"))))
        await asyncio.sleep(0)
        await asyncio.to_thread(database.close)
        await job

    run(write_and_close())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT key FROM clusters")).all() == [("last",)]


def test_the_same_database_has_the_same_identity_and_another_has_another(
    url: str, tmp_path: Path
) -> None:
    found = []
    for each in (url, url, f"sqlite:///{tmp_path}/another.db"):
        database = Database(each)
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
    monkeypatch.setattr("palm_registry.store.sqlite._CHECK", 0.0)
    caplog.set_level("INFO")
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()
    assert "the database is large" in caplog.text


# ---- the schema


def shape(engine: Engine) -> dict[str, Any]:
    """What there is, but for the names that a database gives to what has none."""
    found = inspect(engine)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            sorted(
                (key["constrained_columns"], key["referred_table"], key["options"])
                for key in found.get_foreign_keys(table)
            ),
            sorted((i["name"], i["column_names"], i["unique"]) for i in found.get_indexes(table)),
            sorted((u["name"], u["column_names"]) for u in found.get_unique_constraints(table)),
        )
        for table in found.get_table_names()
    }


def test_the_steps_lead_to_the_tables_that_the_program_knows(engine: Engine) -> None:
    with engine.begin() as connection:
        migrate(connection)
    steps = shape(engine)
    assert set(steps) == set(metadata.tables)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    models = shape(engine)
    assert steps == models


def test_a_schema_is_changed_once(engine: Engine) -> None:
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection)
            assert connection.scalar(text("SELECT version FROM meta")) == LATEST
            assert connection.scalar(text("SELECT count(*) FROM meta")) == 1


def add_steps(monkeypatch: pytest.MonkeyPatch, steps: dict[str, tuple[str, ...]]) -> None:
    for name, statements in steps.items():
        step = SimpleNamespace(STATEMENTS=statements)
        monkeypatch.setitem(sys.modules, f"palm_registry.migrations.{name}", step)
    monkeypatch.setattr("palm_registry.migrations._STEPS", (*_STEPS, *steps))
    monkeypatch.setattr("palm_registry.migrations.LATEST", LATEST + len(steps))


def test_an_older_schema_is_brought_up_step_by_step(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        migrate(connection)
    more = {
        "more1": ("CREATE TABLE more (x INTEGER)",),
        "more2": ("INSERT INTO more VALUES (1)",),
    }
    add_steps(monkeypatch, more)
    for _ in range(2):
        with engine.begin() as connection:
            migrate(connection)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM more")) == 1
    monkeypatch.setattr("palm_registry.migrations.LATEST", LATEST + 1)
    with engine.begin() as connection, pytest.raises(ConfigError, match=f"schema {LATEST + 2}"):
        migrate(connection)


#: What steps do: another column, another table, and a table in the place of one that has rows.
A_STEP = (
    "ALTER TABLE clusters ADD COLUMN note VARCHAR NOT NULL DEFAULT 'none: 100%'",
    "ALTER TABLE clusters ADD COLUMN kept BOOLEAN NOT NULL DEFAULT 0",
    """
    CREATE TABLE parts (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        cluster VARCHAR NOT NULL,
        size INTEGER NOT NULL DEFAULT 0,
        share FLOAT,
        body BLOB,
        FOREIGN KEY(cluster) REFERENCES clusters ("key") ON DELETE CASCADE,
        CONSTRAINT uq_parts UNIQUE (cluster, size)
    )
    """,
    "CREATE INDEX ix_parts_size ON parts (size) WHERE share IS NOT NULL",
    'INSERT INTO parts (id, cluster, size, body) SELECT 41, "key", 2, NULL FROM clusters',
    """
    CREATE TABLE parts_new (
        id INTEGER NOT NULL,
        cluster VARCHAR(64) NOT NULL,
        size INTEGER NOT NULL,
        whole BOOLEAN NOT NULL,
        CONSTRAINT uq_parts UNIQUE (cluster, size),
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO parts_new SELECT id, cluster, CAST(size AS INTEGER), TRUE FROM parts",
    "DROP TABLE parts",
    "ALTER TABLE parts_new RENAME TO parts",
)


def test_a_step_means_the_same_on_both(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.begin() as connection:
        migrate(connection)
        connection.execute(metadata.tables["clusters"].insert().values(**asdict(row("c"))))
    add_steps(monkeypatch, {"a_step": A_STEP})
    with engine.begin() as connection:
        migrate(connection)
    with engine.begin() as connection:
        found = connection.execute(text("SELECT note, kept FROM clusters")).one()
        assert (found[0], bool(found[1])) == ("none: 100%", False)
        more = "INSERT INTO parts (cluster, size, whole) VALUES ('c', :size, FALSE) RETURNING id"
        # Numbers go on after those that were copied; and are no smaller than a size can be.
        assert connection.scalar(text(more), {"size": 2**40}) == 42
        assert connection.scalar(text(more), {"size": 2**62}) == 43
        with pytest.raises(IntegrityError):
            connection.execute(text(more), {"size": 2**62})


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
    assert blobs == [("code", "data"), ("output_data", "data")]
