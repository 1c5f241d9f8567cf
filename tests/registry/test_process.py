"""The registry as a process: its files, its lock, its end, and kill -9: F26, F31."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient, Unreachable
from palm.runtime.records import is_running
from tests.support.registry import RegistryProcess, Runner, piece, spec

pytestmark = pytest.mark.slow


def test_its_record_says_where_it_is_and_goes_with_it(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.start()
    record = process.record
    assert set(record) == {"schema", "url", "pid", "start_time", "token_file", "arguments", "run"}
    assert record["url"].startswith("http://127.0.0.1:")
    assert is_running(record["pid"], record["start_time"])
    with process.client() as client:
        assert client.health().status == "ok"
    private = [*(palm_home / "run").rglob("*"), *(palm_home / "state").rglob("*")]
    assert {path.name for path in private} >= {"registry.json", "registry.db", "owner"}
    for path in private:
        assert path.stat().st_mode & 0o077 == 0, path
    token = Path(record["token_file"]).read_text().strip()
    assert len(token) >= 43
    for part in ("cmdline", "environ"):
        assert token.encode() not in Path(f"/proc/{record['pid']}/{part}").read_bytes()
    assert process.stop() == 0
    assert not (palm_home / "run" / "registry.json").exists()


def test_a_second_registry_for_the_same_folders_refuses(process: RegistryProcess) -> None:
    process.start()
    second = process.spawn()
    _, stderr = second.communicate(timeout=20)
    assert second.returncode == 1
    assert f"process {process.record['pid']}" in stderr.decode()
    assert "Traceback" not in stderr.decode()
    with process.client() as client:
        assert client.health().status == "ok"


def test_what_was_acknowledged_is_there_after_any_kill(process: RegistryProcess) -> None:
    process.start()
    data = os.urandom(400_000)
    acknowledged: dict[str, int] = {}
    with process.client(retry=20.0) as client:
        client.create_cluster("c")
        client.declare("c", spec("a"))
        runner = Runner(client, "c").join()
        runner.run_all()
        status = client.cluster_status("c")
        assert status.ready

        def write(instance: str) -> None:
            offset = 0
            while offset < len(data):
                new = piece(offset, data[offset : offset + 4000], instance)
                offset = client.send_output("c", [new])[0].durable_offset
                acknowledged[instance] = offset

        writers = [threading.Thread(target=write, args=(f"i.{n}",)) for n in range(2)]
        for writer in writers:
            writer.start()
        for _ in range(3):
            time.sleep(0.15)
            before = dict(acknowledged)
            process.kill()
            process.start()
            for instance, offset in before.items():
                # A piece far behind the end is refused with how far all is stored.
                ack = client.send_output("c", [piece(2**40, b"x", instance)])[0]
                assert ack.durable_offset >= offset
        for writer in writers:
            writer.join()
        for instance in ("i.0", "i.1"):
            digest, cursor, more = hashlib.sha256(), "", True
            while more:
                page = client.output("c", cursor=cursor)
                for record in page.records:
                    if record.instance == instance:
                        digest.update(record.raw)
                cursor, more = page.cursor, page.more
            assert digest.digest() == hashlib.sha256(data).digest()
        after = client.cluster_status("c")
        assert [r.instance for r in after.components[0].replicas] == [
            r.instance for r in status.components[0].replicas
        ]
        assert runner.beat().components
        events = client.events("c")[0]
        assert [e.kind for e in events][:2] == ["cluster.created", "component.declared"]


def test_the_run_folder_may_vanish(palm_home: Path, process: RegistryProcess) -> None:
    """As at a reboot: what is to last is in the state folder."""
    text = '[components.a]\ncommand = ["sleep", "9"]\n'
    process.start()
    with process.client() as client:
        client.create_cluster("c", None)
        client.set_cluster("c", text)
        client.send_output("c", [piece(0, b"one\n")])
        cursor = client.output("c").cursor
        events = client.events("c")[0]
    process.kill()
    shutil.rmtree(palm_home / "run")
    process.start()
    with process.client() as client:
        assert client.cluster_config("c").text == text
        assert [c.name for c in client.cluster_status("c").components] == ["a"]
        assert client.output("c", lines=5).records[0].text == "one\n"
        client.send_output("c", [piece(4, b"two\n")])
        assert [r.text for r in client.output("c", cursor=cursor).records] == ["two\n"]
        assert client.events("c")[0][: len(events)] == events


def test_a_stale_record_of_a_killed_registry_is_replaced(process: RegistryProcess) -> None:
    process.start()
    first = process.record
    process.kill()
    assert process.record == first
    with process.client(retry=0.0) as client, pytest.raises(Unreachable):
        client.health()
    process.start()
    assert process.record["pid"] != first["pid"]
    assert process.record["url"] == first["url"]


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)


def refusal(process: RegistryProcess, *arguments: str) -> str:
    refused = process.spawn(*arguments)
    _, stderr = refused.communicate(timeout=20)
    assert refused.returncode == 1
    assert "Traceback" not in stderr.decode()
    assert not (process.home / "run" / "registry.json").exists()
    return stderr.decode()


def test_a_damaged_database_is_refused_and_left_alone(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.start()
    with process.client() as client:
        client.create_cluster("c")
        client.send_output("c", [piece(0, os.urandom(500_000))])
    assert process.stop() == 0
    database = palm_home / "state" / "registry.db"
    spoil(database)
    before = database.read_bytes()
    said = refusal(process)
    assert "registry.db" in said
    assert "backup" in said
    assert database.read_bytes() == before


def test_what_is_no_database_or_of_a_newer_palm_is_refused(
    palm_home: Path, process: RegistryProcess
) -> None:
    state = palm_home / "state"
    state.mkdir(mode=0o700)
    (state / "registry.db").write_bytes(b"not a database, but a letter " * 100)
    assert "cannot be used" in refusal(process)
    (state / "registry.db").unlink()
    with sqlite3.connect(state / "registry.db") as connection:
        connection.execute("CREATE TABLE meta (version INTEGER, identity TEXT)")
        connection.execute("INSERT INTO meta VALUES (99, 'x')")
    connection.close()
    assert "schema 99" in refusal(process)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "--tls"),
        (("--host", "192.0.2.1"), "SSH tunnel"),
        (("--keyfile", "/k"), "--certfile"),
        (("--tls", "--certfile", "/c"), "--tls and --certfile"),
        (("--certfile", "/no/such/file"), "PEM"),
        (("--retain-age", "0m0s", "--linger", "-1"), "--linger"),
        (("--host", ""), "listen"),
        (("--port", "70000"), "no port"),
        (("--db", "sqlite://"), "SQLite"),
        (("--db", "nonsense"), "not the URL"),
        (("--db", "postgresql://u:secret@h"), "names no database"),
        (("--db", "postgresql://u:secret@127.0.0.1:1/d"), "is the server up"),
        (("--run-dir", "relative"), "absolute"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(
    process: RegistryProcess, arguments: tuple[str, ...], said: str
) -> None:
    text = refusal(process, *arguments)
    assert said in text
    assert "secret" not in text


def test_folders_that_others_may_open_are_refused(
    palm_home: Path, process: RegistryProcess
) -> None:
    (palm_home / "run").mkdir(mode=0o755)
    (palm_home / "run").chmod(0o755)
    assert "chmod 700" in refusal(process)


def test_another_program_that_holds_the_database_makes_it_busy_and_not_broken(
    palm_home: Path, process: RegistryProcess
) -> None:
    process.start()
    with process.client(retry=0.0) as client:
        client.create_cluster("c")
        holder = sqlite3.connect(palm_home / "state" / "registry.db")
        holder.execute("BEGIN IMMEDIATE")
        answers: list[object] = []

        def create() -> None:
            answers.append(client.create_cluster("d").key)

        waiting = threading.Thread(target=create)
        waiting.start()
        assert client.view_cluster("c").key == "c"  # reading goes on
        time.sleep(0.3)
        holder.rollback()
        holder.close()
        waiting.join(20)
        assert answers == ["d"]


def test_the_token_of_before_is_used_again(palm_home: Path, process: RegistryProcess) -> None:
    path = palm_home / "state" / "tokens" / "owner"
    path.parent.mkdir(parents=True, mode=0o700)
    path.parent.parent.chmod(0o700)
    path.write_text("k" * 43 + "\n")
    path.chmod(0o600)
    process.start()
    with RegistryClient(process.record["url"], "k" * 43) as client:
        assert client.cluster_list() == []
    process.stop()
    path.chmod(0o644)
    assert "is open to other users" in refusal(process)


def test_a_log_is_one_line_at_the_start_and_names_no_secret(process: RegistryProcess) -> None:
    process.start()
    with process.client() as client:
        client.cluster_list()
        url = process.record["url"]
    assert process.process is not None
    process.process.terminate()
    said = process.end()
    assert said.strip().endswith(f"registry - INFO - the registry listens on {url}")
    assert len(said.splitlines()) == 1
