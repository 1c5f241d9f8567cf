"""What only a server can do: be away, be killed, come back, belong to another, want a password."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Frame, NodeJoin
from palm_registry.store import Database, StoreError, postgresql
from palm_registry.store import clusters as rows
from palm_registry.store.clusters import ClusterRow
from palm_registry.store.database import dialect_of
from palm_registry.store.postgresql import PostgreSQL
from tests.registry.test_live import frames_until, numbers_of, output_of
from tests.registry.test_refusals import PATHS
from tests.support.nodes import eventually
from tests.support.postgres import Server
from tests.support.registry import (
    Browser,
    RegistryProcess,
    RegistryThread,
    Runner,
    piece,
    spec,
    status_of,
)

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries of this process wait shorter for what another has locked."""
    monkeypatch.setitem(postgresql._SETTINGS, "lock_timeout", "500ms")


@pytest.fixture
def database_url(postgres_server: Server) -> Iterator[str]:
    with postgres_server.empty_database() as name:
        yield postgres_server.url(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.open()
    yield opened
    opened.close()


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def add(key: str) -> Callable[[Any], None]:
    row = ClusterRow(key=key, name=key, created=0.0, updated=0.0)
    return lambda connection: rows.add_cluster(connection, row)


def keys(database: Database) -> list[str]:
    return [row.key for row in run(database.read(rows.all_clusters))]


@contextmanager
def registry_on(server: Server, home: Path) -> Iterator[tuple[RegistryThread, str]]:
    """A registry, and the name of its database."""
    name = server.new_database()
    registry = RegistryThread(home, database=server.url(name)).start()
    try:
        yield registry, name
    finally:
        registry.stop()


def name_of(url: str) -> str:
    return url.split("@/")[1].split("?")[0]


# ---- connections that are lost


def test_a_connection_that_is_lost_while_nobody_uses_it_is_noticed_by_nobody(
    database: Database, database_url: str, postgres_server: Server
) -> None:
    run(database.write(add("a")))
    assert keys(database) == ["a"]
    postgres_server.end_connections(name_of(database_url))
    run(database.write(add("b")))
    assert keys(database) == ["a", "b"]


def test_a_connection_that_is_lost_within_a_write_loses_that_commit_and_no_other(
    database: Database,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold(_connection: Any) -> None:
        begun.set()
        assert go_on.wait(10)

    def lose(connection: Any) -> None:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async def all_at_once() -> list[Any]:
        first = asyncio.ensure_future(database.write(hold))
        await asyncio.to_thread(begun.wait)
        # These three are committed together.
        jobs = [asyncio.ensure_future(database.write(job)) for job in (add("a"), lose, add("b"))]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(first, *jobs, return_exceptions=True)

    found = run(all_at_once())
    assert [type(each) for each in found] == [type(None), StoreError, StoreError, StoreError]
    run(database.write(add("c")))
    assert keys(database) == ["c"]
    assert database.returns == 1


def test_an_error_within_a_write_takes_only_that_write_with_it(database: Database) -> None:
    def wrong(connection: Any) -> None:
        add("wrong")(connection)
        connection.execute(text("SELECT * FROM nothing_of_the_kind"))

    async def three() -> list[Any]:
        jobs = [database.write(job) for job in (add("a"), wrong, add("b"))]
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert [type(each) for each in run(three())] == [type(None), StoreError, type(None)]
    assert keys(database) == ["a", "b"]


def test_a_table_that_another_program_has_locked_makes_it_busy_and_not_broken(
    database: Database, database_url: str, postgres_server: Server
) -> None:
    with psycopg.connect(
        host=str(postgres_server.folder), user="admin", dbname=name_of(database_url)
    ) as holder:
        holder.execute("LOCK TABLE clusters IN EXCLUSIVE MODE")
        assert keys(database) == []  # reading goes on
        with pytest.raises(StoreError, match="lock timeout"):
            run(database.write(add("a")))

        async def wait_for_it() -> None:
            writing = asyncio.ensure_future(database.write(add("b")))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(holder.rollback)
            await writing

        run(wait_for_it())
    assert keys(database) == ["b"]


def test_what_is_acknowledged_is_on_disk_whatever_is_usual_on_the_server(
    database: Database,
) -> None:
    def usual(connection: Any) -> object:
        return connection.scalar(text("SHOW synchronous_commit"))

    assert run(database.read(usual)) == "off"
    assert run(database.write(usual)) == "on"


# ---- the server crashes


class Uploads:
    """Two processes' output, written and asked for as fast as it goes; ``statuses`` were got."""

    def __init__(self, registry: RegistryThread, client: RegistryClient) -> None:
        self.data = {f"i.{n}": random.Random(n).randbytes(600_000) for n in range(2)}
        self.size = sum(map(len, self.data.values()))
        self.acknowledged = dict.fromkeys(self.data, 0)
        self.statuses: set[int] = set()
        self._registry, self._client = registry, client
        self._stop = threading.Event()
        self.threads = [threading.Thread(target=self._upload, args=(name,)) for name in self.data]
        self.threads.append(threading.Thread(target=self._ask))

    def __enter__(self) -> Uploads:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        for thread in self.threads:
            thread.join(60)

    def _upload(self, instance: str) -> None:
        data, offset = self.data[instance], 0
        while offset < len(data) and not self._stop.is_set():
            new = piece(offset, data[offset : offset + 4000], instance)
            offset = self._client.send_output("c", [new])[0].durable_offset
            self.acknowledged[instance] = offset

    def _ask(self) -> None:
        own = {"Authorization": f"Bearer {self._registry.token}"}
        browser = Browser(self._registry.url, own)
        while not self._stop.is_set():
            self.statuses.add(browser.ask("GET", "/api/clusters/c/status").status)
            self.statuses.add(browser.ask("POST", "/api/clusters", {"name": "d"}).status)


STORED = """
    SELECT i.instance, s.durable, (SELECT sum(size) FROM output AS o WHERE o.instance = i.id)
    FROM instances AS i JOIN streams AS s ON s.instance = i.id
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["crash", "shut_down_immediately"])
def test_no_acknowledged_byte_is_lost_and_followers_go_on_when_the_server_crashes(
    palm_home: Path, own_server: Server, how: str
) -> None:
    found: list[Frame] = []

    with (
        registry_on(own_server, palm_home) as (registry, name),
        registry.client(retry=60) as client,
    ):
        client.create_cluster("c")
        client.declare("c", spec("a"))
        runner = Runner(client, "c").join()
        runner.run_all()
        with (
            client.live("c", ["output", "events"], "start") as feed,
            Uploads(registry, client) as up,
        ):
            for share in (0.2, 0.5, 1.0):
                wanted = int(share * up.size) - len(output_of(found))
                found += frames_until(feed, lambda more, w=wanted: len(output_of(more)) >= w, 60)  # type: ignore[misc]
                if share == 1.0:
                    break
                up.statuses.discard(503)
                before = dict(up.acknowledged)
                getattr(own_server, how)()
                assert eventually(lambda: 503 in up.statuses)
                own_server.start()
                for instance, durable, total in own_server.execute(STORED, name):
                    assert durable == total >= before[instance]
            client.declare("c", spec("last"))
            found += frames_until(feed, lambda more: "last" in components_of(more), 60)
        assert runner.beat().components
    assert up.statuses <= {200, 201, 503}
    for instance, data in up.data.items():
        records = [r for f in found if f.topic == "output" for r in f.data]
        mine = b"".join(r.raw for r in records if r.instance == instance)
        assert hashlib.sha256(mine).digest() == hashlib.sha256(data).digest()
    assert numbers_of(found) == sorted(set(numbers_of(found)))


def components_of(frames: list[Frame]) -> list[str]:
    return [frame.data.component for frame in frames if frame.topic == "events"]


FILE = """
[components.foo]
role = "process"
command = ["sleep", "9"]
"""
BODIES: dict[str, Any] = {
    "/api/clusters": {"name": "d"},
    "/api/clusters/c/nodes": {"name": "here"},
    "/api/clusters/c/config": {"text": FILE},
    "/api/clusters/c/config/check": {"text": FILE},
    "/api/clusters/c/lease": {"holder": "me"},
    "/api/clusters/c/nodes/here/heartbeat": {"session": "s", "full": True},
    "/api/clusters/c/components/foo": {"name": "foo", "command": ["x"]},
    "/api/clusters/c/output": [
        {"instance": "i", "stream": "stdout", "offset": 0, "bytes": "eA==", "component": "foo"}
    ],
}
#: What cannot be answered without the database.
NEEDED = [
    ("GET", "/api/clusters"),
    ("GET", "/api/clusters/c"),
    ("GET", "/api/clusters/c/config"),
    ("GET", "/api/clusters/c/status"),
    ("GET", "/api/clusters/c/components"),
    ("GET", "/api/clusters/c/components/foo"),
    ("GET", "/api/clusters/c/nodes"),
    ("GET", "/api/clusters/c/output"),
    ("GET", "/api/clusters/c/output/download"),
    ("GET", "/api/clusters/c/events"),
    ("GET", "/api/clusters/c/live"),
    ("GET", "/api/clusters/unknown"),
    ("DELETE", "/api/clusters/c"),
    ("DELETE", "/api/clusters/c/components/foo"),
    ("DELETE", "/api/clusters/c/nodes/here"),
    ("POST", "/api/clusters"),
    ("POST", "/api/clusters/c/reset"),
    ("POST", "/api/clusters/c/lease"),
    ("POST", "/api/clusters/c/components/foo/start"),
    ("POST", "/api/clusters/c/nodes"),
    ("POST", "/api/clusters/c/nodes/here/heartbeat"),
    ("POST", "/api/clusters/c/output"),
    ("PUT", "/api/clusters/c/config"),
    ("PUT", "/api/clusters/c/components/foo"),
]


def test_while_the_server_is_away_every_address_says_so_and_none_fails(
    palm_home: Path, own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with registry_on(own_server, palm_home) as (registry, _), registry.client() as client:
        client.create_cluster("c")
        client.declare("c", spec("foo"))
        browser = Browser(registry.url, {"Authorization": f"Bearer {registry.token}"})
        own_server.crash()
        for method, path in [*PATHS, ("GET", "/health")]:
            body = BODIES.get(path, {}) if method in ("POST", "PUT") else None
            answer = browser.ask(method, path, body)
            assert answer.status < 500 or answer.status == 503, (method, path, answer)
            if (method, path) in NEEDED:
                assert (answer.status, answer.code) == (503, "busy"), (method, path, answer)
                assert int(answer.headers["Retry-After"]) >= 1
        assert set(NEEDED) <= set(PATHS)
        said = [record.message for record in caplog.records if record.levelname == "ERROR"]
        assert len([line for line in said if "not written" in line]) == 1
        own_server.start()
        assert eventually(lambda: browser.ask("POST", "/api/clusters", {"name": "d"}).status == 201)
        assert browser.ask("GET", "/api/clusters/c/components/foo").status == 200
        assert "can be written again" in caplog.text


def test_followers_are_told_after_the_server_was_away_what_nobody_was_told(
    palm_home: Path, own_server: Server
) -> None:
    """A commit that was under way when the server went may have happened."""
    with (
        registry_on(own_server, palm_home) as (registry, name),
        registry.client(retry=30) as client,
    ):
        client.create_cluster("c")
        client.send_output("c", [piece(0, b"one ")])
        with client.live("c", ["output"], "start") as feed:
            assert output_of(frames_until(feed, output_of)) == b"one "
            assert registry.registry is not None and registry.registry.service is not None
            signals = registry.registry.service.core.signals
            assert eventually(lambda: signals.waiting("c", "output"))  # to be told
            own_server.execute(
                'WITH added AS (INSERT INTO output (cluster, component, instance, stream, "offset",'
                " size, time, stored) SELECT cluster, component, instance, stream, 4, 4, time,"
                " stored FROM output RETURNING id)"
                " INSERT INTO output_data (id, data) SELECT id, 'two '::bytea FROM added",
                name,
            )
            own_server.shut_down_immediately()
            with registry.client(retry=0) as impatient, pytest.raises(Refused, match="database"):
                impatient.create_cluster("d")
            own_server.start()
            assert output_of(frames_until(feed, output_of, 30)) == b"two "


def test_a_node_that_comes_back_while_the_server_is_away_is_back_once_it_is_there(
    palm_home: Path, own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_registry.watch.LOST_AFTER", 0.3)
    with registry_on(own_server, palm_home) as (registry, _), registry.client(retry=30) as client:
        client.create_cluster("c")
        runner = Runner(client, "c").join()
        assert eventually(lambda: not client.nodes("c")[0].alive)

        def beat(through: RegistryClient) -> None:
            runner.client = through
            runner.beat()

        own_server.crash()
        with registry.client(retry=0) as impatient, pytest.raises(Refused, match="database"):
            beat(impatient)
        own_server.start()
        assert eventually(lambda: client.create_cluster("d").key == "d")
        beat(client)
        assert client.nodes("c")[0].alive
        assert "node.back" in [event.kind for event in client.events("c")[0]]


# ---- one registry for a database


def test_two_registries_on_one_database_are_refused(
    palm_home: Path, postgres_server: Server, database_url: str
) -> None:
    first = RegistryProcess(palm_home, "--db", database_url).start()
    try:
        with pytest.raises(ConfigError, match="another registry uses the database") as caught:
            RegistryThread(palm_home / "other", database=database_url).start()
        assert first.process is not None
        assert f"palm registry {first.process.pid} on" in str(caught.value)
        other = postgres_server.new_database()
        beside = RegistryThread(palm_home / "beside", database=postgres_server.url(other)).start()
        beside.stop()
        postgres_server.drop_database(other)
    finally:
        first.kill()
    RegistryThread(palm_home / "third", database=database_url).start().stop()


def test_two_registries_may_share_a_database_by_schemas(
    palm_home: Path, postgres_server: Server, database_url: str
) -> None:
    url = database_url
    for schema in ("one", "two"):
        postgres_server.execute(f"CREATE SCHEMA {schema} AUTHORIZATION palm", name_of(url))
    registries = [
        RegistryThread(palm_home / schema, database=f"{url}&options=-csearch_path%3D{schema}")
        for schema in ("one", "two")
    ]
    for registry in registries:
        registry.start()
    with registries[0].client() as client:
        client.create_cluster("c")
    with registries[1].client() as client:
        assert client.cluster_list() == []
    for registry in registries:
        registry.stop()


def test_a_registry_whose_database_was_taken_writes_nothing_until_it_is_free(
    database: Database, database_url: str, postgres_server: Server
) -> None:
    run(database.write(add("a")))
    postgres_server.end_connections(name_of(database_url))
    second = Database(database_url)
    second.open()
    with pytest.raises(StoreError, match="another registry uses the database"):
        run(database.write(add("b")))
    run(second.write(add("c")))
    assert keys(database) == ["a", "c"]  # reading harms nobody
    second.close()

    def is_back() -> bool:
        try:
            run(database.write(add("d")))
        except StoreError:
            return False
        return True

    assert eventually(is_back)
    assert keys(database) == ["a", "c", "d"]


# ---- addresses and passwords


SECRETIVE = "secretive"


@pytest.fixture
def secret_url(postgres_server: Server, database_url: str) -> str:
    """A database whose user has a password, which is "open sesame"."""
    postgres_server.execute("GRANT ALL ON SCHEMA public TO PUBLIC", name_of(database_url))
    return database_url.replace("palm@", f"{SECRETIVE}@")


def test_a_password_is_taken_from_the_users_file(
    secret_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:secretive:open sesame\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    database = Database(secret_url)
    database.open()
    database.close()
    file.write_text("*:*:*:secretive:wrong sesame\n")
    with pytest.raises(ConfigError, match="password authentication failed") as caught:
        Database(secret_url).open()
    assert "sesame" not in str(caught.value)


def test_a_service_file_says_all(
    secret_url: str, postgres_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services"
    file.write_text(
        f"[palm]\nhost={postgres_server.folder}\nuser=secretive\n"
        f"password=open sesame\ndbname={name_of(secret_url)}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    database = Database("postgresql://?service=palm")
    database.open()
    assert database.shown == "postgresql://?service=palm"
    database.close()


def test_a_password_in_the_address_is_warned_of_and_never_shown(
    secret_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    address, _, more = secret_url.partition("@")
    for url in (f"{address}:open%20sesame@{more}", f"{secret_url}&password=open%20sesame"):
        caplog.clear()
        database = Database(url)
        database.open()
        with pytest.raises(ConfigError, match="another registry"):
            Database(url).open()
        database.close()
        assert "~/.pgpass" in caplog.text
        for said in (caplog.text, database.shown):
            assert "sesame" not in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:sesame@h:port/d", "not the URL"),
        ("postgresql//u:sesame@h/d", "not the URL"),
        ("postgresql+psycopg2://u:sesame@h/d", "driver"),
        ("postgresql://u:sesame@h", "names no database"),
        ("mysql://u:sesame@h/d", "no database 'mysql'"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Database(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.key == "--db"


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u@db.example/d", "verify-full"),
        ("postgresql://u@/d?host=db.example", "verify-full"),
        ("postgresql://u@/d?host=127.0.0.1,db.example", "verify-full"),
        ("postgresql://u@/d?host=127.0.0.1&host=db.example", "verify-full"),
        ("postgresql://u@/d?hostaddr=192.0.2.1", "verify-full"),
        ("postgresql://u@db.example/d?sslmode=disable", None),
        ("postgresql://u@localhost/d", None),
        ("postgresql://u@[::1]/d", None),
        ("postgresql:///d", None),
        ("postgresql:///d?host=%2Frun%2Fpostgresql", None),
        ("postgresql://?service=there", None),
    ],
)
def test_the_server_of_another_machine_has_to_prove_what_it_is(
    url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    monkeypatch.delenv("PGSSLMODE", raising=False)
    assert PostgreSQL(make_url(url))._arguments().get("sslmode") == mode
    monkeypatch.setenv("PGSSLMODE", "require")
    assert "sslmode" not in PostgreSQL(make_url(url))._arguments()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_all_names_of_postgresql_are_understood(database_url: str, scheme: str) -> None:
    database = Database(database_url.replace("postgresql", scheme, 1))
    database.open()
    assert database.shown == database_url
    database.close()


def test_a_server_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the server up") as caught:
        Database(f"postgresql://palm@/d?host={tmp_path}").open()
    assert "No such file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_psycopg_there_is_a_word_on_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=re.escape("palm-cluster[postgres]")):
        dialect_of("postgresql://h/d").engine(read_only=True)


def test_a_database_that_cannot_hold_all_text_is_refused(postgres_server: Server) -> None:
    name = postgres_server.new_database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="LATIN1"):
        Database(postgres_server.url(name)).open()
    postgres_server.drop_database(name)


def test_a_database_that_one_may_not_change_is_refused_in_words(
    postgres_server: Server, database_url: str
) -> None:
    with pytest.raises(ConfigError, match="permission denied"):
        Database(database_url.replace("palm@", "stranger@")).open()


# ---- what PostgreSQL does not take


def test_a_nul_in_a_text_hinders_nobody(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    node = NodeJoin(name="here", cores=1, address="x\0y")
    runner = Runner(client, "c")
    runner.session, runner.generation = client.join("c", node).session, -1
    client.declare("c", spec("a"))
    [assignment] = runner.beat().components
    failed = status_of(assignment.spec, 0, "failed", reason="it said \0 at last")
    runner.beat(failed)
    assert client.nodes("c")[0].address == "x\N{REPLACEMENT CHARACTER}y"
    assert [e.text for e in client.events("c")[0]][-1] == (
        "a it said \N{REPLACEMENT CHARACTER} at last"
    )
    own = {"Authorization": f"Bearer {registry.token}"}
    for query in ("component=%00", "name=%00", "instance=%00"):
        answer = browser.ask("GET", f"/api/clusters/c/output?{query}", headers=own)
        assert answer.status in (200, 400)
