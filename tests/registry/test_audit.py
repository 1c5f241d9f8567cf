"""The audit list: every change, by whom, from where, and how it went; never a secret."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import AuditEntry
from palm_registry.service.audit import KEEP, Audit
from palm_registry.store import Database, StoreError
from tests.registry.test_access import bearer, log_in
from tests.support.registry import Browser, RegistryThread, Runner, piece, spec

pytestmark = pytest.mark.both_databases


def lines(client: RegistryClient) -> list[tuple[str, str, int]]:
    return [(e.token, e.what, e.status) for e in client.audit().entries]


def test_every_change_is_noted_in_order_and_what_only_reads_is_not(
    client: RegistryClient, registry: RegistryThread
) -> None:
    begin = client.audit().cursor
    client.declare("c", spec("foo", role="worker"))
    client.scale("c", "foo", 2)
    client.restart("c", "foo")
    client.stop("c", "foo")
    client.set_cluster("c", "[cluster]\nname = 'c'\n")
    client.lease("c", "me")
    client.lease("c", "me")
    runner = Runner(client, "c").join()
    runner.beat()
    client.send_output("c", [piece(0, b"x")])
    client.leave("c", "here")
    client.add_user("alice")
    client.add_token("a", "operator", user="alice")
    client.revoke_token("a")
    client.remove_user("alice")
    client.cluster_status("c")
    client.tokens()
    client.end_cluster("c")
    client.delete_cluster("c")
    page = client.audit(begin)
    assert [entry.what for entry in page.entries] == [
        "PUT /api/clusters/c/components/foo",
        "POST /api/clusters/c/components/foo/scale",
        "POST /api/clusters/c/components/foo/restart",
        "POST /api/clusters/c/components/foo/stop",
        "PUT /api/clusters/c/config",
        "POST /api/clusters/c/nodes",
        "DELETE /api/clusters/c/nodes/here",
        "POST /api/users",
        "POST /api/tokens",
        "DELETE /api/tokens/a",
        "DELETE /api/users/alice",
        "POST /api/clusters/c/lease",
        "DELETE /api/clusters/c",
    ]
    for entry in page.entries:
        assert (entry.token, entry.user, entry.address) == ("owner", "owner", "127.0.0.1")
        assert entry.status < 300
        assert abs(entry.time - time.time()) < 60
    details = [entry.details for entry in page.entries]
    assert details[1] == {"replicas": 2}
    assert details[8] == {"name": "a", "scope": "operator", "user": "alice"}
    assert page.entries[0].cluster == "c"
    assert not page.more


def test_what_was_refused_is_noted_with_the_reason(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("ci", "viewer")
    begin = client.audit().cursor
    with RegistryClient(registry.url, made.token) as ci:
        for call in (lambda: ci.delete_cluster("c"), lambda: ci.add_user("me"), ci.audit):
            with pytest.raises(Refused, match="not enough"):
                call()
    with pytest.raises(Refused):
        client.delete_cluster("z")
    found = [(e.token, e.what, e.status, e.code) for e in client.audit(begin).entries]
    assert found == [
        ("ci", "DELETE /api/clusters/c", 403, "scope"),
        ("ci", "POST /api/users", 403, "scope"),
        ("owner", "DELETE /api/clusters/z", 404, "no-such-cluster"),
    ]


def test_who_is_refused_again_and_again_does_not_fill_the_list(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("ci", "viewer")
    with RegistryClient(registry.url, made.token) as ci:
        for _ in range(100):
            with pytest.raises(Refused):
                ci.delete_cluster("c")
    client.declare("c", spec("foo"))
    refused = [line for line in lines(client) if line[0] == "ci"]
    assert 10 < len(refused) < 60
    assert lines(client)[-1][1].endswith("/components/foo")


def test_logging_in_and_out_is_noted_and_what_a_browser_does(
    client: RegistryClient, browser: Browser
) -> None:
    begin = client.audit().cursor
    inside, xsrf = log_in(client, browser)
    own = {"X-XSRF-Token": xsrf}
    assert inside.ask("POST", "/api/clusters", {"name": "d"}, own).status == 201
    assert inside.ask("POST", "/api/clusters", {"name": "e"}).status == 403
    assert inside.ask("POST", "/logout", headers=own).status == 204
    found = client.audit(begin).entries
    assert [(e.what, e.status, e.details.get("browser", False)) for e in found] == [
        ("POST /login", 201, False),
        ("GET /login", 303, True),
        ("POST /api/clusters", 201, True),
        ("POST /api/clusters", 403, True),
        ("POST /logout", 204, True),
    ]
    assert {entry.token for entry in found} == {"owner"}


def test_the_list_is_read_in_pages(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    for number in range(7):
        client.create_cluster(f"d{number}")
    whole = client.audit().entries
    cursor, pages = "", []
    while True:
        page = client.audit(cursor, limit=3)
        pages.append(page.entries)
        cursor = page.cursor
        if not page.more:
            break
    assert [len(entries) for entries in pages] == [3, 3, 2]
    assert [entry for entries in pages for entry in entries] == whole
    assert client.audit(cursor).entries == []
    assert client.audit(cursor).cursor == cursor
    headers = bearer(registry.token)
    for wrong in ("since=x", "since=-1", "since=1e3", "limit=x", "since=" + "9" * 30):
        assert browser.ask("GET", f"/api/audit?{wrong}", headers=headers).status == 400


def test_no_secret_is_in_the_list_or_anywhere_else(
    client: RegistryClient,
    registry: RegistryThread,
    browser: Browser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """39 too: the ancestor printed passwords."""
    caplog.set_level("DEBUG")
    made = client.add_token("ci", "admin")
    inside, xsrf = log_in(client, browser)
    url = client.login_url()
    client.set_cluster("c", "[cluster]\nname = 'c'\n# secret-in-a-file\n")
    client.declare("c", spec("foo", env={"KEY": "secret-in-an-environment"}))
    wrong = "w" * 43
    browser.ask("POST", "/api/clusters", {}, bearer(wrong))
    browser.ask("POST", f"/api/clusters?token={wrong}", {}, bearer(registry.token))
    secrets = [made.token, registry.token, url.partition("code=")[2], xsrf, wrong]
    secrets.append(inside.headers["Cookie"].partition("=")[2])
    assert len(client.audit().entries) >= 6
    told = repr(client.audit().entries) + caplog.text
    for secret in [*secrets, "secret-in"]:
        assert secret not in told
    registry.stop()
    for path in registry.settings.state.glob("registry.*"):
        for secret in secrets:
            assert secret.encode() not in path.read_bytes()
    registry.start()


def test_a_token_where_its_name_belongs_is_not_written_down(
    client: RegistryClient, registry: RegistryThread, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "palm.registry")
    made = client.add_token("ci", "viewer")
    begin = client.audit().cursor
    for secret in (made.token, registry.token, f"palm_{'x' * 43}"):
        with pytest.raises(Refused):
            client.revoke_token(secret)
        with pytest.raises(Refused):
            client.view_cluster(secret)
        with pytest.raises(Refused):
            client.add_token(secret, "runner")
        with pytest.raises(Refused):
            client.delete_cluster(secret)
    found = client.audit(begin).entries
    assert len(found) == 9
    for secret in (made.token, registry.token, "x" * 43):
        assert secret not in repr(found) + caplog.text
    assert "/api/tokens/" in caplog.text


def test_the_list_outlives_the_registry_and_what_it_is_about(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("gone", "operator")
    with RegistryClient(registry.url, made.token) as gone:
        gone.create_cluster("d")
        gone.delete_cluster("d")
    client.revoke_token("gone")
    before = client.audit().entries
    registry.stop()
    registry.start()
    assert client.audit().entries == before
    assert [e.what for e in before if e.token == "gone"] == [
        "POST /api/clusters", "DELETE /api/clusters/d",
    ]  # fmt: skip


# ---- by itself


def entry(time: float, what: str = "POST /x", **more: Any) -> AuditEntry:
    return AuditEntry(time=time, what=what, **more)


def test_entries_are_forgotten_with_their_age(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()
    now = 10 * KEEP

    async def run() -> tuple[int, list[AuditEntry]]:
        audit = Audit(database)
        for age in (KEEP + 10, KEEP + 1, KEEP - 1, 0):
            audit.note(entry(now - age, f"{age}"))
        await audit.close()
        await audit.sweep(0.0, now)
        await audit.sweep(1.0, now + 2 * KEEP)  # so soon it does not look again
        page = await audit.page("", 100)
        return await audit.prune(now), page.entries

    again, left = asyncio.run(run())
    database.close()
    assert again == 0
    assert [e.what for e in left] == [f"{KEEP - 1}", "0"]
    assert [e.seq for e in left] == [3, 4]


def test_what_cannot_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()

    async def run() -> list[AuditEntry]:
        audit = Audit(database)
        with monkeypatch.context() as patch:

            async def full(_job: Any) -> None:
                raise StoreError("the disk is full")

            patch.setattr(database, "write", full)
            for number in range(5):
                audit.note(entry(float(number), str(number)))
            await audit.close()
        audit.note(entry(5.0, "5"))
        await audit.sweep(0.0, 100.0)
        return (await audit.page("", 100)).entries

    found = asyncio.run(run())
    database.close()
    assert [e.what for e in found] == ["0", "1", "2", "3", "4", "5"]
    assert "entries of the audit list wait" in caplog.text


def test_a_sweep_that_is_cancelled_takes_no_entry_with_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()
    begun, go_on = threading.Event(), threading.Event()

    def slow(_connection: Any) -> None:
        begun.set()
        assert go_on.wait(20)

    async def run() -> list[AuditEntry]:
        audit = Audit(database)
        ahead = asyncio.ensure_future(database.write(slow))
        await asyncio.to_thread(begun.wait)
        audit.note(entry(1.0, "POST /x"))
        sweep = asyncio.ensure_future(audit.sweep(0.0, 1.0))
        await asyncio.sleep(0)
        sweep.cancel()
        await asyncio.gather(sweep, return_exceptions=True)
        go_on.set()
        await ahead
        await audit.close()
        return (await audit.page("", 10)).entries

    found = asyncio.run(run())
    database.close()
    assert [e.what for e in found] == ["POST /x"]


def test_memory_is_bounded_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("palm_registry.service.audit.MAX_WAITING", 3)
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    database.open()

    async def run() -> list[AuditEntry]:
        audit = Audit(database)
        for number in range(5):
            audit.note(entry(float(number), f"POST /{number}", token="me"))
        return (await audit.page("", 100)).entries

    found = asyncio.run(run())
    database.close()
    assert [e.what for e in found] == ["POST /0", "POST /1", "POST /2"]
    assert "not in the audit list: POST /4 by me" in caplog.text
