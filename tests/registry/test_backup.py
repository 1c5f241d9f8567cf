"""Copies of the database: one state of it, while it is written; put in place, all is there."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from palm.errors import ConfigError, RegistryError
from palm.registry_api.client import RegistryClient
from palm_registry.store import StoreError
from palm_registry.store.backup import back_up, copy
from tests.support.registry import RegistryProcess, RegistryThread, Runner, piece, spec


def save(client: RegistryClient, path: Path) -> None:
    with path.open("wb") as file:
        assert client.backup(file) == file.tell()


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def sound(path: Path) -> bool:
    return rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_copy_is_one_state_of_what_is_written_meanwhile_and_holds_nobody_up(
    registry: RegistryThread, client: RegistryClient, tmp_path: Path
) -> None:
    """Each piece adds to two streams at once: a copy of one state has as much of both."""
    stop, failures = threading.Event(), list[RegistryError]()
    written = [0]

    def write() -> None:
        while not stop.is_set():
            offset = written[0]
            pieces = [piece(offset, b"x" * 4000, f"i.{n}") for n in range(2)]
            try:
                acks = client.send_output("c", pieces)
                written[0] = acks[0].durable_offset
            except RegistryError as error:
                failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            before = written[0]
            save(client, tmp_path / f"{number}.db")
            while written[0] < before + 40_000 and not failures:  # it goes on
                stop.wait(0.005)
    finally:
        stop.set()
        writer.join(20)
    assert failures == []
    sizes = []
    for number in range(4):
        path = tmp_path / f"{number}.db"
        assert sound(path)
        query = (
            "SELECT instance, sum(length(data)) FROM output NATURAL JOIN output_data"
            " GROUP BY instance"
        )
        found = dict(rows(path, query))
        assert len({*found.values()}) <= 1, found
        sizes.append(next(iter(found.values()), 0))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0
    assert not list((registry.settings.state).glob(".backup*"))


@pytest.mark.slow
def test_a_copy_that_is_put_in_place_has_everything_again(
    palm_home: Path, process: RegistryProcess, tmp_path: Path
) -> None:
    database, saved = palm_home / "state" / "registry.db", tmp_path / "saved.db"
    process.start()
    with process.client(retry=20.0) as client:
        client.create_cluster("c", 120.0)
        client.set_cluster("c", '[components.file]\ncommand = ["sleep", "9"]\nreplicas = 2\n')
        client.declare("c", spec("mine", env={"A": "ä"}))
        runner = Runner(client, "c").join()
        runner.run_all()
        client.send_output("c", [piece(0, b"before\n"), piece(0, b"\xff\n", stream="stderr")])
        wanted = (
            client.cluster_config("c"),
            [(c.name, c.desired) for c in client.components("c")],
            [r.raw for r in client.output("c").records],
            [(e.seq, e.kind, e.text) for e in client.events("c")[0]],
            [n.name for n in client.nodes("c")],
        )
        save(client, saved)
        late = client.output("c").cursor
        client.send_output("c", [piece(7, b"after\n")])
        client.delete_cluster("c")
        assert client.cluster_list() == []
        process.stop()
        # As the page about the registry says: nothing of the old one is left beside it.
        for path in palm_home.glob("state/registry.db*"):
            path.unlink()
        os.link(saved, database)
        process.start()
        found = (
            client.cluster_config("c"),
            [(c.name, c.desired) for c in client.components("c")],
            [r.raw for r in client.output("c").records],
            [(e.seq, e.kind, e.text) for e in client.events("c")[0]][: len(wanted[3])],
            [n.name for n in client.nodes("c")],
        )
        assert found == wanted
        assert runner.beat().components  # the runner is still known
        # What it wrote since comes again from the runner, once, and a cursor of before leads
        # to nothing that is left out.
        assert client.send_output("c", [piece(7, b"after\n")])[0].durable_offset == 13
        page = client.output("c", cursor=late)
        assert b"after\n" in [record.raw for record in page.records]


def test_the_copy_is_private_and_is_not_mistaken_for_the_original(
    registry: RegistryThread, client: RegistryClient, tmp_path: Path
) -> None:
    url = f"sqlite:///{registry.settings.state / 'registry.db'}"
    back_up(url, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob("*copy.db*")] == ["copy.db"]
    assert rows(tmp_path / "copy.db", "SELECT identity FROM meta") != rows(
        registry.settings.state / "registry.db", "SELECT identity FROM meta"
    )


def test_a_file_that_is_there_is_replaced_only_if_that_is_wanted(
    registry: RegistryThread, tmp_path: Path
) -> None:
    url = f"sqlite:///{registry.settings.state / 'registry.db'}"
    path = tmp_path / "copy.db"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="--force"):
        back_up(url, path)
    assert path.read_bytes() == b"precious"
    back_up(url, path, force=True)
    assert sound(path)
    with pytest.raises(ConfigError, match="cannot be written"):
        back_up(url, tmp_path / "no" / "such" / "folder.db")


def test_damage_that_is_copied_is_found_and_leaves_no_copy(
    registry: RegistryThread, client: RegistryClient, tmp_path: Path
) -> None:
    client.send_output("c", [piece(0, os.urandom(200_000))])
    client.close()
    registry.stop()
    database = registry.settings.state / "registry.db"
    data = bytearray(database.read_bytes())
    data[4096 * 2 : 4096 * 12] = os.urandom(4096 * 10)
    database.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged|cannot be copied"):
        back_up(f"sqlite:///{database}", tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy.db*"))


def test_who_ends_it_meanwhile_gets_no_half_of_it(
    registry: RegistryThread, client: RegistryClient, tmp_path: Path
) -> None:
    client.send_output("c", [piece(0, os.urandom(200_000))])
    url = f"sqlite:///{registry.settings.state / 'registry.db'}"
    with pytest.raises(StoreError, match="given up"):
        copy(url, tmp_path / "copy.db", lambda: False)


def test_a_full_disk_is_told_and_the_registry_goes_on(
    registry: RegistryThread, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("palm_registry.store.backup._copy", full)
    with (
        Path(os.devnull).open("wb") as file,
        pytest.raises(RegistryError, match="disk is full") as refused,
    ):
        client.backup(file)
    assert refused.value.status == 503  # type: ignore[attr-defined]
    assert client.view_cluster("c").key == "c"
    assert not list(registry.settings.state.glob(".backup*"))


def test_a_disk_that_is_full_where_the_copy_is_written_is_not_the_registrys_fault(
    client: RegistryClient,
) -> None:
    client.send_output("c", [piece(0, os.urandom(200_000))])
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", 0) as file:
        client.backup(file)
    assert client.view_cluster("c").key == "c"


def test_a_database_with_tools_of_its_own_is_left_to_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pg_dump") as refused:
        back_up("postgresql+psycopg://u:secret@h/d", tmp_path / "copy.db")
    assert "secret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_of_a_copy_by_a_kill_goes_at_the_next_start(
    registry: RegistryThread,
) -> None:
    registry.stop()
    stale = registry.settings.state / ".backup.abc"
    stale.write_bytes(b"half")
    registry.start()
    assert not stale.exists()
