"""What is refused, and changes nothing: one registry for all, on which all is tried."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Lease, OutputPiece
from palm_registry.attempts import Attempts
from palm_registry.handlers import ROUTES
from tests.support.registry import Browser, RegistryThread, lent_registry, piece, spec

# The one registry has threads and connections that begin in one test and end in another.
pytestmark = pytest.mark.no_leak_check("threads", "descriptors")


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
)
def registry(request: pytest.FixtureRequest) -> Iterator[RegistryThread]:
    url = ""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        url = server.url(server.new_database())
    with lent_registry(database=url) as running:
        yield running


@pytest.fixture(scope="module")
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("c")
        yield client


@pytest.fixture(autouse=True)
def nobody_has_failed_yet(registry: RegistryThread) -> None:
    """So many wrong tokens as are tried here would be answered with 429 in the end."""
    assert registry.registry is not None
    registry.registry._context.access._attempts = Attempts()


@pytest.fixture(autouse=True)
def nothing_changes(client: RegistryClient) -> Iterator[None]:
    before = client.cluster_list()
    yield
    assert client.cluster_list() == before
    assert client.components("c") == []
    assert client.nodes("c") == []
    assert client.output("c").records == []


def bearer(registry: RegistryThread) -> dict[str, str]:
    return {"Authorization": f"Bearer {registry.token}"}


PATHS = [
    ("GET", "/"),
    ("GET", "/static/page.js"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/static/docs.js"),
    ("GET", "/api/schema/cluster.json"),
    ("GET", "/api/registry"),
    ("POST", "/api/registry/restart"),
    ("POST", "/api/registry/backup"),
    ("GET", "/api/clusters"),
    ("POST", "/api/clusters"),
    ("GET", "/api/clusters/c"),
    ("PATCH", "/api/clusters/c"),
    ("DELETE", "/api/clusters/c"),
    ("POST", "/api/clusters/c/reset"),
    ("GET", "/api/clusters/c/config"),
    ("PUT", "/api/clusters/c/config"),
    ("POST", "/api/clusters/c/config/check"),
    ("POST", "/api/clusters/c/config/diff"),
    ("POST", "/api/clusters/c/config/rollback"),
    ("GET", "/api/clusters/c/config/versions"),
    ("GET", "/api/clusters/c/config/versions/1"),
    ("GET", "/api/clusters/c/status"),
    ("POST", "/api/clusters/c/lease"),
    ("GET", "/api/clusters/c/components"),
    ("GET", "/api/clusters/c/components/foo"),
    ("PUT", "/api/clusters/c/components/foo"),
    ("DELETE", "/api/clusters/c/components/foo"),
    ("POST", "/api/clusters/c/components/foo/start"),
    ("POST", "/api/clusters/c/components/foo/signal"),
    ("GET", "/api/clusters/c/names"),
    ("POST", "/api/clusters/c/keys"),
    ("PUT", "/api/clusters/c/keys"),
    ("POST", "/api/clusters/c/keys/client"),
    ("GET", "/api/clusters/c/nodes"),
    ("POST", "/api/clusters/c/nodes"),
    ("DELETE", "/api/clusters/c/nodes/here"),
    ("POST", "/api/clusters/c/nodes/here/heartbeat"),
    ("POST", "/api/clusters/c/nodes/here/metrics"),
    ("POST", "/api/clusters/c/nodes/here/token"),
    ("POST", "/api/clusters/c/code"),
    ("GET", f"/api/clusters/c/code/{'0' * 64}"),
    ("POST", "/api/clusters/c/invitations"),
    ("GET", "/api/clusters/c/metrics"),
    ("GET", "/api/clusters/c/output"),
    ("POST", "/api/clusters/c/output"),
    ("GET", "/api/clusters/c/output/download"),
    ("GET", "/api/clusters/c/events"),
    ("GET", "/api/clusters/c/live"),
    ("GET", "/api/clusters/unknown"),
    ("GET", "/api/tokens"),
    ("POST", "/api/tokens"),
    ("DELETE", "/api/tokens/owner"),
    ("GET", "/api/users"),
    ("POST", "/api/users"),
    ("DELETE", "/api/users/owner"),
    ("GET", "/api/audit"),
    ("GET", "/api/caller"),
    ("GET", "/no/such/path"),
]


def test_every_address_is_in_this_matrix() -> None:
    for route, _handler in ROUTES:
        matches = [path for _, path in PATHS if re.fullmatch(route, path.lstrip("/"))]
        assert matches or route in ("health", "api/join"), route


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_is_open_to_who_has_no_token_or_comes_from_elsewhere(
    client: RegistryClient, registry: RegistryThread, browser: Browser, method: str, path: str
) -> None:
    body: Any = {} if method in ("PATCH", "POST", "PUT") else None
    wrong = "x" * 43
    foreign = {"Origin": "http://evil.example"}
    rebound = {"Host": "evil.example"}
    own = bearer(registry)
    other_port = {"Origin": "http://127.0.0.1:1"}

    assert browser.ask(method, path, body).status == 401
    for guess in (wrong, "ä"):
        headers = {"Authorization": f"Bearer {guess}"}
        assert browser.ask(method, path, body, headers).status == 401
    assert browser.ask(method, path, body, {"Authorization": "Bearer "}).status == 401
    assert browser.ask(method, path, body, {"Authorization": f"Basic {wrong}"}).status == 401
    assert browser.ask(method, path, body, {**own, **foreign}).status == 403
    assert browser.ask(method, path, body, {**own, "Origin": "null"}).status == 403
    assert browser.ask(method, path, body, {**own, **other_port}).status == 403
    assert browser.ask(method, path, body, {**own, **rebound}).status == 403
    assert client.view_cluster("c").state == "alive"  # nothing was done


def test_who_is_invited_comes_from_no_other_page(client: RegistryClient, browser: Browser) -> None:
    asked = {"secret": client.invite("c").secret, "name": "far"}
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert browser.ask("POST", "/api/join", asked, headers).status == 403
    assert client.nodes("c") == []
    assert browser.ask("POST", "/api/join", asked).status == 201  # it was not used up


PROTECTION = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
JSON = {"Content-Type": "application/json"}
LATER = {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (200, "GET", "/", None, {}),
        (200, "GET", "/health", None, {}),
        (200, "GET", "/api/clusters", None, {}),
        (200, "GET", "/static/page.js", None, {}),
        (200, "HEAD", "/static/page.css", None, {}),
        (200, "GET", "/api/clusters/c/output/download", None, {}),
        (200, "GET", "/api/audit", None, {}),
        (304, "GET", "/static/page.js", None, LATER),
        (204, "POST", "/logout", None, {}),
        (400, "POST", "/api/clusters", b"{", JSON),
        (426, "GET", "/api/clusters/c/live", None, {}),
        (401, "GET", "/", None, {"Authorization": "Basic x", "Accept": "text/html"}),
        (401, "GET", "/static/page.js", None, {"Authorization": "Basic x"}),
        (403, "GET", "/login?code=x", None, {}),
        (403, "GET", "/api/clusters", None, {"Host": "evil.example"}),
        (404, "GET", "/nothing", None, {}),
        (404, "GET", "/api/clusters/z", None, {}),
        (404, "GET", "/static/none.js", None, {}),
        (405, "DELETE", "/api/clusters", None, {}),
        (405, "NONSENSE", "/api/clusters", None, {}),
        (409, "DELETE", "/api/tokens/owner", None, {}),
        (415, "POST", "/api/clusters", b"name=x", {"Content-Type": "text/plain"}),
    ],
)  # fmt: skip
def test_every_answer_carries_the_headers_that_protect_a_browser(
    client: RegistryClient,
    registry: RegistryThread,
    browser: Browser,
    status: int,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
) -> None:
    answer = browser.ask(method, path, body, {**bearer(registry), **headers})
    assert answer.status == status
    found = answer.headers
    assert {name: found[name] for name in PROTECTION} == PROTECTION
    assert all(len(found.get_all(name) or ()) == 1 for name in PROTECTION)
    assert "Access-Control-Allow-Origin" not in found
    assert "Server" not in found


def test_a_failure_of_ours_carries_them_too_and_tells_nothing(
    client: RegistryClient,
    registry: RegistryThread,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret of ours")

    assert registry.registry is not None
    monkeypatch.setattr(registry.registry._context.accounts, "tokens", fail)
    answer = browser.ask("GET", "/api/tokens", headers=bearer(registry))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert {name: answer.headers[name] for name in PROTECTION} == PROTECTION


def test_an_upgrade_to_a_websocket_carries_them_too(
    client: RegistryClient, registry: RegistryThread
) -> None:
    host, port = client.url.removeprefix("http://").strip("/").split(":")
    lines = [
        "GET /api/clusters/c/live HTTP/1.1",
        f"Host: {host}:{port}",
        f"Authorization: Bearer {registry.token}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = connection.recv(4096)
            assert data
            answer += data
    head = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0].startswith("HTTP/1.1 101")
    found = dict(line.split(": ", 1) for line in head[1:])
    assert {name: found[name] for name in PROTECTION} == PROTECTION


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 3}', b"\xff", b"{}", b"null"])
def test_a_body_that_makes_no_sense_is_the_callers_fault(
    registry: RegistryThread, browser: Browser, body: bytes
) -> None:
    headers = {**bearer(registry), "Content-Type": "application/json"}
    answer = browser.ask("POST", "/api/clusters", body, headers)
    assert (answer.status, answer.code) == (400, "body")


@pytest.mark.parametrize(
    "path", ["/static/..%2fapp.py", "/static/../app.py", "/static/%00", "/static/"]
)
def test_only_the_files_of_the_page_are_served(
    registry: RegistryThread, browser: Browser, path: str
) -> None:
    assert browser.ask("GET", path, headers=bearer(registry)).status in (400, 404)


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance": "../x"},
        {"instance": ""},
        {"instance": "a\nb"},
        {"offset": -1},
        {"offset": 2**62},
        {"component": ""},
        {"component": "a\r\nb"},
        {"replica": -1},
        {"time": float("inf")},
        {"name": "<b>"},
    ],
)
def test_a_piece_that_cannot_be_is_refused_and_nothing_is_stored(
    client: RegistryClient, wrong: dict[str, object]
) -> None:
    values: dict[str, object] = {
        "instance": "foo.1", "stream": "stdout", "offset": 0, "data": b"x", "component": "foo",
    }  # fmt: skip
    bad = OutputPiece(**{**values, **wrong})  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        client.send_output("c", [piece(0, b"good"), bad])
    assert caught.value.status == 400
    assert client.output("c").records == []


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=-1", "since=nan", "since=2020-13-01", "replica=1.5", "stream=x", "cursor=x",
     "lines=1e400", "grep=" + "x" * 2000],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_the_callers_fault(
    client: RegistryClient, registry: RegistryThread, browser: Browser, query: str
) -> None:
    headers = bearer(registry)
    assert browser.ask("GET", f"/api/clusters/c/output?{query}", headers=headers).status == 400


@pytest.mark.parametrize("query", ["limt=5", "componet=foo", "steam=stdout", "limit=1&limit=2"])
def test_an_argument_that_is_misspelt_or_given_twice_is_told_and_not_left_out(
    client: RegistryClient, registry: RegistryThread, browser: Browser, query: str
) -> None:
    answer = browser.ask("GET", f"/api/clusters/c/output?{query}", headers=bearer(registry))
    assert (answer.status, answer.code) == (400, "query")


@pytest.mark.parametrize("number", [2**63, 2**31, -1])
@pytest.mark.parametrize("where", ["cores", "replica", "pid"])
def test_a_number_that_no_database_can_keep_is_the_callers_fault(
    registry: RegistryThread, browser: Browser, where: str, number: int
) -> None:
    path, body = "/api/clusters/c/nodes", {"name": "here", where: number}
    if where != "cores":
        path = "/api/clusters/c/nodes/here/heartbeat"
        body = {"statuses": [{"name": "foo", "component": "foo", where: number}]}
    answer = browser.ask("POST", path, body, bearer(registry))
    assert (answer.status, answer.code) == (400, "body")


def test_a_download_of_components_with_strange_names_has_a_plain_name(
    registry: RegistryThread, browser: Browser
) -> None:
    path = "/api/clusters/c/output/download?component=%C2%AA%F0%9E%BA%B5&component=a%22b&name=foo"
    answer = browser.ask("GET", path, headers=bearer(registry))
    assert answer.status == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="c-foo.log"'


def test_what_is_not_answered_says_what_is(registry: RegistryThread, browser: Browser) -> None:
    answer = browser.ask("PUT", "/api/clusters/c", headers=bearer(registry))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, DELETE, PATCH")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"command": []}, "what to start"),
        ({"argv": ["x"]}, "both"),
        ({"needs": ["nobody"]}, "does not have"),
        ({"args": ["${nme}"]}, "no placeholder"),
        ({"replicas": 5000}, "from 0 to 1024"),
        ({"env": {"A=B": "1"}}, "variable"),
        ({"cwd": "a\0b"}, "NUL"),
    ],
)
def test_a_component_that_cannot_be_is_refused(
    client: RegistryClient, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        client.declare("c", spec("w", **wrong))
    assert client.components("c") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"holder": ""},
        {"holder": "x" * 200},
        {"holder": "a\nb"},
        {"ttl": 0.0},
        {"ttl": 1e9},
        {"linger": -1.0},
    ],
)
def test_a_lease_that_makes_no_sense_is_refused(
    client: RegistryClient, wrong: dict[str, Any]
) -> None:
    lease = Lease(**{"holder": "me", **wrong})
    with pytest.raises(Refused) as caught:
        client._lease("c", lease)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/clusters/x"),
        ("GET", "/api/clusters/x/status"),
        ("GET", "/api/clusters/x/config"),
        ("GET", "/api/clusters/x/config/versions"),
        ("GET", "/api/clusters/c/config/versions/999999999999999999"),
        ("POST", "/api/clusters/x/config/rollback"),
        ("GET", "/api/clusters/x/output"),
        ("GET", "/api/clusters/x/output/download"),
        ("GET", "/api/clusters/x/events"),
        ("GET", "/api/clusters/x/nodes"),
        ("GET", "/api/clusters/x/components/y"),
        ("GET", "/api/clusters/%00/status"),
        ("GET", "/api/clusters/" + "x" * 5000),
        ("DELETE", "/api/clusters/x"),
        ("DELETE", "/api/clusters/c/nodes/x"),
        ("POST", "/api/clusters/x/reset"),
    ],
)
def test_35_an_unknown_name_is_not_found_and_no_failure(
    client: RegistryClient, registry: RegistryThread, browser: Browser, method: str, path: str
) -> None:
    assert client.view_cluster("c").key == "c"
    assert browser.ask(method, path, headers=bearer(registry)).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{}",
        b'[{"instance": 1}]',
        b'[{"instance":"a","stream":"stdin","offset":0,"bytes":"","component":"a"}]',
        b'[{"instance":"a","stream":"stdout","offset":"0","bytes":"","component":"a"}]',
        b'[{"instance":"a","stream":"stdout","offset":0,"bytes":"%%","component":"a"}]',
        b'[{"instance":"a","stream":"stdout","offset":0,"bytes":"","time":"today"}]',
    ],
)
def test_36_a_wrong_body_is_told_and_no_failure(
    client: RegistryClient, registry: RegistryThread, browser: Browser, body: bytes
) -> None:
    headers = {**bearer(registry), "Content-Type": "application/json"}
    answer = browser.ask("POST", "/api/clusters/c/output", body, headers)
    assert (answer.status, answer.code) == (400, "body")
    assert client.output("c").records == []


@pytest.mark.parametrize("body", [None, b"{}", b"x" * 1000])
def test_who_is_refused_may_ask_again_over_the_same_connection(
    client: RegistryClient, registry: RegistryThread, body: bytes | None
) -> None:
    site = urlsplit(registry.url)
    connection = http.client.HTTPConnection(site.hostname or "", site.port, timeout=10)
    own = {"Content-Type": "application/json", **bearer(registry)}
    try:
        for headers, path, status in [
            (own, "/api/clusters/none/reset", 404),
            ({"Authorization": "Bearer x"}, "/api/clusters/c/reset", 401),
            ({**own, "Origin": "http://evil.example"}, "/api/clusters/c/reset", 403),
            (own, "/nothing", 404),
            (own, "/api/clusters/c/config/check", 400),
        ]:
            connection.request("POST", path, body, headers)
            before = connection.sock
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, connection.sock) == (status, before)
    finally:
        connection.close()


def test_a_large_body_of_who_is_refused_is_not_waited_for_and_this_is_said(
    client: RegistryClient, registry: RegistryThread
) -> None:
    site = urlsplit(registry.url)
    connection = http.client.HTTPConnection(site.hostname or "", site.port, timeout=10)
    try:
        connection.putrequest("POST", "/api/clusters")
        connection.putheader("Content-Length", str(2**20))
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (401, "close")
    finally:
        connection.close()
