"""Tokens: made once, kept as hashes, and worth nothing any more once they are revoked or over."""

from __future__ import annotations

import asyncio
import http.client
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from palm.errors import PalmError, RegistryError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient
from palm_registry.security import digest_of
from tests.registry.test_access import bearer, log_in
from tests.support.registry import Browser, RegistryThread, Runner, piece, spec

#: Seconds in which a connection ends whose token was revoked.
AT_ONCE = 1.0


@contextmanager
def with_token(registry: RegistryThread, token: str) -> Iterator[RegistryClient]:
    with RegistryClient(registry.url, token) as client:
        yield client


def named(client: RegistryClient, name: str) -> schema.TokenInfo:
    return next(token for token in client.tokens() if token.name == name)


def test_a_token_is_shown_once_and_kept_as_a_hash(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("ci", "viewer", cluster="c", ttl=3600.0)
    assert made.token.startswith("palm_")
    assert len(made.token) >= 48  # 256 bits
    assert (made.name, made.scope, made.user, made.cluster) == ("ci", "viewer", "owner", "c")
    assert made.expires == pytest.approx(made.created + 3600)
    assert (made.creator, made.used) == ("owner", None)
    found = named(client, "ci")
    assert "token" not in json.loads(Browser(registry.url).ask(
        "GET", "/api/tokens", headers=bearer(registry.token)
    ).body)[0]  # fmt: skip
    assert found == schema.TokenInfo(**{f: getattr(made, f) for f in found.__struct_fields__})
    with closing(sqlite3.connect(registry.settings.state / "registry.db")) as database:
        rows = database.execute("SELECT hash FROM tokens WHERE name = 'ci'").fetchall()
    assert rows == [(digest_of(made.token),)]


def test_a_new_owner_has_a_token_of_the_same_form(registry: RegistryThread) -> None:
    assert registry.token.startswith("palm_")
    with registry.client() as client:
        (found,) = client.tokens()
    assert (found.name, found.scope, found.user) == ("owner", "admin", "owner")


@pytest.mark.parametrize(
    ("wrong", "status", "code", "said"),
    [
        ({"name": ""}, 400, "name", "letters"),
        ({"name": "a b"}, 400, "name", "letters"),
        ({"name": "<b>"}, 400, "name", "letters"),
        ({"scope": "viewr"}, 400, "scope", "did you mean 'viewer'"),
        ({"scope": ""}, 400, "scope", "viewer, operator"),
        ({"scope": "runner"}, 400, "cluster", "for which"),
        ({"scope": "admin", "cluster": "c"}, 400, "cluster", "another scope"),
        ({"cluster": "d"}, 404, "no-such-cluster", "no cluster 'd'"),
        ({"user": "alise"}, 404, "no-such-user", "did you mean 'alice'"),
        ({"user": "alice", "cluster": "c"}, 404, "no-such-cluster", "no cluster 'c'"),
        ({"ttl": 0.0}, 400, "ttl", "more than 0"),
        ({"ttl": -1.0}, 400, "ttl", "more than 0"),
        ({"ttl": 1e300}, 400, "ttl", "at most"),
        ({"name": "owner"}, 409, "token-exists", "another name"),
    ],
)
def test_a_token_that_cannot_be_is_refused(
    client: RegistryClient, wrong: dict[str, Any], status: int, code: str, said: str
) -> None:
    client.add_user("alice")
    with pytest.raises(Refused, match=said) as caught:
        client.add_token(**{"name": "x", "scope": "viewer", **wrong})
    assert (caught.value.status, caught.value.code) == (status, code)
    assert [token.name for token in client.tokens()] == ["owner"]


def test_a_token_is_revoked_at_once_and_for_good(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("ci", "operator")
    with with_token(registry, made.token) as other:
        other.declare("c", spec("foo"))
        client.revoke_token("ci")
        with pytest.raises(Refused) as caught:
            other.cluster_list()
        assert (caught.value.status, caught.value.code) == (401, "token")
        assert [token.name for token in client.tokens()] == ["owner"]
        with pytest.raises(Refused, match="there is no token 'ci'") as caught:
            client.revoke_token("ci")
        assert caught.value.status == 404
        registry.stop()
        registry.start()
        with pytest.raises(Refused, match="does not know"):
            other.cluster_list()
    again = client.add_token("ci", "viewer")
    assert again.token != made.token


def test_a_token_outlives_the_registry(client: RegistryClient, registry: RegistryThread) -> None:
    made = client.add_token("ci", "viewer", ttl=3600.0)
    before = client.tokens()
    registry.stop()
    registry.start()
    with with_token(registry, made.token) as other:
        assert [cluster.key for cluster in other.cluster_list()] == ["c"]
        with pytest.raises(Refused, match="not enough"):
            other.delete_cluster("c")
    assert [(t.name, t.scope, t.expires) for t in client.tokens()] == [
        (t.name, t.scope, t.expires) for t in before
    ]


def test_the_owners_token_is_that_in_the_file_and_cannot_be_revoked(
    client: RegistryClient, registry: RegistryThread
) -> None:
    with pytest.raises(Refused, match="remove the file") as caught:
        client.revoke_token("owner")
    assert caught.value.status == 409
    assert client.cluster_list()


def test_an_admin_may_revoke_the_very_token_that_asks(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("boss", "admin")
    with with_token(registry, made.token) as boss:
        boss.revoke_token("boss")
        with pytest.raises(Refused, match="does not know"):
            boss.tokens()


def test_a_token_is_over_when_its_time_is(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    made = client.add_token("short", "viewer", ttl=0.3)
    with with_token(registry, made.token) as short:
        wait_for(lambda: refusal(short.cluster_list) == "token-expired", 10)
    assert named(client, "short").expires == made.expires  # listed until somebody revokes it


def test_it_is_known_when_a_token_was_used(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("ci", "viewer")
    assert named(client, "ci").used is None
    before = time.time()
    with with_token(registry, made.token) as other:
        other.cluster_list()
        first = named(client, "ci").used
        assert first is not None
        assert before <= first <= time.time()
        other.cluster_list()  # within a minute: not worth a write
        assert named(client, "ci").used == first
    registry.stop()  # what is only in memory is stored
    registry.start()
    assert named(client, "ci").used == first


# ---- connections that are open when a token is revoked


def refusal(call: Callable[[], Any]) -> str:
    try:
        call()
    except Refused as error:
        return error.code
    return ""


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Waiting:
    """A call in a thread that ends when the registry lets it; ``ended`` gets when, and how."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.ended: queue.Queue[tuple[float, Any]] = queue.Queue()
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            result = self._call()
        except PalmError as error:
            result = error
        self.ended.put((time.monotonic(), result))

    def result(self) -> tuple[float, Any]:
        found = self.ended.get(timeout=20)
        self._thread.join()
        return found


async def close_code(url: str, headers: dict[str, str], opened: threading.Event) -> int | None:
    connection = await websocket_connect(HTTPRequest(url, headers=headers))
    opened.set()
    while await connection.read_message() is not None:
        continue
    code = connection.close_code
    connection.close()
    return code


def watch(registry: RegistryThread, headers: dict[str, str]) -> Waiting:
    """A WebSocket that is open; it ends with its closing code."""
    url = "ws" + registry.url.removeprefix("http") + "api/clusters/c/live"
    opened = threading.Event()
    waiting = Waiting(lambda: asyncio.run(close_code(url, headers, opened)))
    assert opened.wait(10)
    return waiting


def poll(client: RegistryClient, registry: RegistryThread) -> Waiting:
    """A heartbeat that is held back."""
    runner = Runner(client, "c").join()
    runner.beat()
    wait_for(lambda: connections(registry) == 0, 10)
    waiting = Waiting(lambda: runner.beat(wait=30.0))
    wait_for(lambda: connections(registry) == 1, 10)
    return waiting


def connections(registry: RegistryThread) -> int:
    assert registry.registry is not None
    return len(registry.registry._context.access.connections)


def test_a_revoked_token_ends_its_live_connections_and_nobody_elses(
    client: RegistryClient, registry: RegistryThread
) -> None:
    watcher = client.add_token("watcher", "viewer")
    other = client.add_token("other", "viewer")
    live = [watch(registry, bearer(watcher.token)) for _ in range(3)]
    kept = watch(registry, bearer(other.token))
    revoked = time.monotonic()
    client.revoke_token("watcher")
    for waiting in live:
        ended, code = waiting.result()
        assert code == 4401
        assert ended - revoked < AT_ONCE
    assert kept.ended.empty()
    wait_for(lambda: connections(registry) == 1, 10)
    client.revoke_token("other")
    assert kept.result()[1] == 4401


def test_a_revoked_token_ends_a_heartbeat_that_is_held_back(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("node", "runner", cluster="c")
    with with_token(registry, made.token) as node:
        waiting = poll(node, registry)
        revoked = time.monotonic()
        client.revoke_token("node")
        ended, error = waiting.result()
    assert ended - revoked < AT_ONCE
    assert isinstance(error, Refused)
    assert (error.status, error.code) == (401, "token")


def test_a_token_that_is_over_ends_its_live_connections(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("short", "viewer", ttl=1.5)
    assert made.expires is not None
    waiting = watch(registry, bearer(made.token))
    assert waiting.result()[1] == 4401
    assert made.expires <= time.time() < made.expires + 5  # and not before


def test_a_revoked_token_ends_a_download(client: RegistryClient, registry: RegistryThread) -> None:
    """Of more than fits the buffers between the two, so that it waits for its reader."""
    for number in range(64):
        client.send_output("c", [piece(number * 500_000, b"x" * 500_000)])
    made = client.add_token("reader", "viewer")
    url = registry.url.removeprefix("http://").strip("/")
    connection = http.client.HTTPConnection(url, timeout=20)
    with closing(connection):
        path = "/api/clusters/c/output/download"
        connection.request("GET", path, headers=bearer(made.token))
        answer = connection.getresponse()
        assert len(answer.read(100_000)) == 100_000
        client.revoke_token("reader")
        with pytest.raises((http.client.HTTPException, OSError)):
            read_on(answer, 32_000_000)
        wait_for(lambda: connections(registry) == 0, 10)


def test_a_live_feed_tells_that_its_token_was_revoked(
    client: RegistryClient, registry: RegistryThread
) -> None:
    made = client.add_token("watcher", "viewer")
    with with_token(registry, made.token) as watcher, watcher.live("c") as feed:
        assert feed.next_frame(10) is not None
        client.revoke_token("watcher")
        with pytest.raises(RegistryError, match="refused"):
            list(feed)


def read_on(answer: http.client.HTTPResponse, size: int) -> None:
    """Read to the end; raise when that comes before there were so many bytes."""
    found = 100_000
    while data := answer.read(1_000_000):
        found += len(data)
    if found < size:
        raise http.client.IncompleteRead(b"")


# ---- browsers


def test_a_browser_may_what_the_token_may_that_let_it_in(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    made = client.add_token("watcher", "viewer")
    with with_token(registry, made.token) as watcher:
        inside, xsrf = log_in(watcher, browser)
    assert inside.ask("GET", "/api/clusters").status == 200
    answer = inside.ask("DELETE", "/api/clusters/c", headers={"X-XSRF-Token": xsrf})
    assert (answer.status, answer.code) == (403, "scope")
    assert inside.ask("GET", "/api/tokens").status == 403


def test_a_revoked_token_ends_its_sessions_and_their_connections(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    made = client.add_token("watcher", "viewer")
    with with_token(registry, made.token) as watcher:
        inside, _ = log_in(watcher, browser)
        url = watcher.login_url()
    live = watch(registry, {**inside.headers, "Origin": registry.url.strip("/")})
    client.revoke_token("watcher")
    assert live.result()[1] == 4401
    assert inside.ask("GET", "/api/clusters").status == 401
    unused = browser.ask("GET", "/" + url.removeprefix(registry.url))
    assert (unused.status, unused.code) == (403, "code")
    with closing(sqlite3.connect(registry.settings.state / "registry.db")) as database:
        assert database.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


def test_a_log_out_ends_the_connections_of_that_browser_only(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    (first, xsrf), (second, _) = log_in(client, browser), log_in(client, browser)
    own = {"Origin": registry.url.strip("/")}
    one, two = (watch(registry, {**each.headers, **own}) for each in (first, second))
    assert first.ask("POST", "/logout", headers={**own, "X-XSRF-Token": xsrf}).status == 204
    assert one.result()[1] == 4401
    assert two.ended.empty()
    registry.stop()
    assert two.result()[1] != 4401
