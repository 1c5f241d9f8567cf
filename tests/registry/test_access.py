"""Who gets in, and from where: F37, F43, F46 and the defects 35 to 38 of the ancestor."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from palm.registry_api.client import Refused, RegistryClient
from palm_registry.handlers import ROUTES
from tests.support.registry import Browser, RegistryThread

PATHS = [
    ("GET", "/"),
    ("GET", "/static/page.js"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/api/schema/cluster.json"),
    ("GET", "/api/clusters"),
    ("POST", "/api/clusters"),
    ("GET", "/api/clusters/c"),
    ("DELETE", "/api/clusters/c"),
    ("POST", "/api/clusters/c/reset"),
    ("GET", "/api/clusters/c/config"),
    ("PUT", "/api/clusters/c/config"),
    ("POST", "/api/clusters/c/config/check"),
    ("GET", "/api/clusters/c/status"),
    ("POST", "/api/clusters/c/lease"),
    ("GET", "/api/clusters/c/components"),
    ("GET", "/api/clusters/c/components/foo"),
    ("PUT", "/api/clusters/c/components/foo"),
    ("DELETE", "/api/clusters/c/components/foo"),
    ("POST", "/api/clusters/c/components/foo/start"),
    ("GET", "/api/clusters/c/nodes"),
    ("POST", "/api/clusters/c/nodes"),
    ("DELETE", "/api/clusters/c/nodes/here"),
    ("POST", "/api/clusters/c/nodes/here/heartbeat"),
    ("GET", "/api/clusters/c/output"),
    ("POST", "/api/clusters/c/output"),
    ("GET", "/api/clusters/c/output/download"),
    ("GET", "/api/clusters/c/events"),
    ("GET", "/api/clusters/c/live"),
    ("GET", "/api/clusters/unknown"),
    ("GET", "/no/such/path"),
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_every_address_is_in_this_matrix() -> None:
    for route, _handler in ROUTES:
        matches = [path for _, path in PATHS if re.fullmatch(route, path.lstrip("/"))]
        assert matches or route == "health", route


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_is_open_to_who_has_no_token_or_comes_from_elsewhere(
    client: RegistryClient, registry: RegistryThread, browser: Browser, method: str, path: str
) -> None:
    body: Any = {} if method in ("POST", "PUT") else None
    wrong = "x" * 43
    foreign = {"Origin": "http://evil.example"}
    rebound = {"Host": "evil.example"}
    own = bearer(registry.token)
    other_port = {"Origin": "http://127.0.0.1:1"}

    assert browser.ask(method, path, body).status == 401
    assert browser.ask(method, path, body, bearer(wrong)).status == 401
    assert browser.ask(method, path, body, bearer("")).status == 401
    assert browser.ask(method, path, body, bearer("ä")).status == 401
    assert browser.ask(method, path, body, {"Authorization": f"Basic {wrong}"}).status == 401
    assert browser.ask(method, path, body, {**own, **foreign}).status == 403
    assert browser.ask(method, path, body, {**own, "Origin": "null"}).status == 403
    assert browser.ask(method, path, body, {**own, **other_port}).status == 403
    assert browser.ask(method, path, body, {**own, **rebound}).status == 403
    assert client.view_cluster("c").state == "alive"  # nothing was done


def test_only_the_health_is_open_and_it_tells_nothing(browser: Browser) -> None:
    answer = browser.ask("GET", "/health")
    assert answer.status == 200
    assert set(json.loads(answer.body)) == {"status", "version"}
    assert browser.ask("GET", "/health", headers={"Host": "evil.example"}).status == 403


def test_a_refusal_says_why_in_the_same_form(browser: Browser) -> None:
    answer = browser.ask("GET", "/api/clusters")
    assert answer.code == "token"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert browser.ask("GET", "/health", headers={"Host": "x"}).code == "host"


@pytest.mark.parametrize("path", ["/", "/api/clusters", "/health", "/nothing"])
def test_every_answer_carries_the_headers_that_protect_a_browser(
    registry: RegistryThread, browser: Browser, path: str
) -> None:
    for headers in ({}, bearer(registry.token)):
        found = browser.ask("GET", path, headers=headers).headers
        assert "default-src 'none'" in found["Content-Security-Policy"]
        assert "unsafe" not in found["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in found["Content-Security-Policy"]
        assert found["X-Content-Type-Options"] == "nosniff"
        assert found["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in found
        assert "Server" not in found


# ---- browsers


def log_in(client: RegistryClient, browser: Browser) -> tuple[Browser, str]:
    """A browser that is logged in, and the token it has to send with changes."""
    path = "/" + client.login_url().removeprefix(client.url)
    answer = browser.ask("GET", path)
    assert answer.status == 303
    assert answer.headers["Location"] == "./"
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    inside = Browser(browser.url, {"Cookie": cookie.partition(";")[0]})
    page = inside.ask("GET", "/").body.decode()
    found = re.search(r'name="xsrf" content="([0-9a-f]{64})"', page)
    assert found
    return inside, found[1]


def test_a_link_lets_a_browser_in_once(client: RegistryClient, browser: Browser) -> None:
    path = "/" + client.login_url().removeprefix(client.url)
    assert browser.ask("GET", path).status == 303
    again = browser.ask("GET", path)
    assert (again.status, again.code) == (403, "code")
    assert "Set-Cookie" not in again.headers
    assert browser.ask("GET", "/login?code=").status == 403
    assert browser.ask("GET", "/login").status == 403


def test_a_link_is_too_old_after_a_while(
    client: RegistryClient, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_registry.security.CODE_TTL", 0.0)
    path = "/" + client.login_url().removeprefix(client.url)
    assert browser.ask("GET", path).status == 403


def test_a_browser_reads_with_its_cookie_and_changes_with_its_xsrf_token(
    client: RegistryClient, browser: Browser
) -> None:
    inside, xsrf = log_in(client, browser)
    own = {"Origin": browser.url.strip("/")}
    assert inside.ask("GET", "/api/clusters").status == 200
    for headers in ({}, own, {"X-XSRF-Token": "0" * 64}, {"X-XSRF-Token": ""}):
        answer = inside.ask("POST", "/api/clusters", {"name": "d"}, headers)
        assert (answer.status, answer.code) == (403, "xsrf")
    answer = inside.ask("POST", "/api/clusters", {"name": "d"}, {**own, "X-XSRF-Token": xsrf})
    assert answer.status == 201
    foreign = {"Origin": "http://evil.example", "X-XSRF-Token": xsrf}
    assert inside.ask("POST", "/api/clusters", {"name": "e"}, foreign).status == 403


def test_one_sessions_xsrf_token_is_no_good_in_another(
    client: RegistryClient, browser: Browser
) -> None:
    (first, _), (_, xsrf) = log_in(client, browser), log_in(client, browser)
    answer = first.ask("POST", "/logout", headers={"X-XSRF-Token": xsrf})
    assert answer.status == 403


def test_after_a_log_out_the_cookie_is_worth_nothing(
    client: RegistryClient, browser: Browser
) -> None:
    inside, xsrf = log_in(client, browser)
    assert inside.ask("POST", "/logout", headers={"X-XSRF-Token": xsrf}).status == 204
    assert inside.ask("GET", "/api/clusters").status == 401


def test_a_session_outlives_the_registry_but_not_its_token(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    inside, _ = log_in(client, browser)
    registry.stop()
    registry.start()
    assert inside.ask("GET", "/api/clusters").status == 200
    registry.stop()
    (registry.settings.state / "tokens" / "owner").unlink()
    registry.start()
    assert inside.ask("GET", "/api/clusters").status == 401
    with pytest.raises(Refused, match="token"):
        client.cluster_list()


def test_people_without_a_session_are_told_how_to_get_one(browser: Browser) -> None:
    answer = browser.ask("GET", "/", headers={"Accept": "text/html"})
    assert answer.status == 401
    assert b"palm ui" in answer.body
    assert answer.headers["Content-Type"].startswith("text/html")


async def handshake(url: str, headers: dict[str, str]) -> int:
    try:
        connection = await websocket_connect(HTTPRequest(url, headers=headers))
    except HTTPClientError as error:
        return error.code
    connection.close()
    return 101


def test_a_websocket_with_a_cookie_says_where_it_comes_from(
    client: RegistryClient, browser: Browser
) -> None:
    inside, _ = log_in(client, browser)
    url = "ws" + client.url.removeprefix("http") + "api/clusters/c/live"
    own = client.url.strip("/")

    def knock(headers: dict[str, str]) -> int:
        return asyncio.run(handshake(url, headers))

    assert knock({}) == 401
    assert knock(dict(inside.headers)) == 403
    assert knock({**inside.headers, "Origin": "http://evil.example"}) == 403
    assert knock({**inside.headers, "Origin": own}) == 101


# ---- forms


def test_a_change_is_json_and_not_what_a_foreign_form_can_send(
    registry: RegistryThread, browser: Browser
) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {**bearer(registry.token), "Content-Type": kind}
        assert browser.ask("POST", "/api/clusters", b'{"name": "x"}', headers).status in (400, 415)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 3}', b"\xff", b"{}", b"null"])
def test_a_body_that_makes_no_sense_is_the_callers_fault(
    registry: RegistryThread, browser: Browser, body: bytes
) -> None:
    headers = {**bearer(registry.token), "Content-Type": "application/json"}
    answer = browser.ask("POST", "/api/clusters", body, headers)
    assert (answer.status, answer.code) == (400, "body")


def test_reading_changes_nothing_and_a_change_is_not_a_get(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    for path in ("/api/clusters/c/reset", "/api/clusters/c/lease", "/logout"):
        answer = browser.ask("GET", path, headers=bearer(registry.token))
        assert answer.status == 405
    for method in ("PATCH", "OPTIONS", "TRACE"):
        answer = browser.ask(method, "/api/clusters/c", headers=bearer(registry.token))
        assert answer.status in (405, 501)


def test_what_is_too_large_is_not_read(registry: RegistryThread, browser: Browser) -> None:
    headers = {**bearer(registry.token), "Content-Length": str(2**40)}
    headers["Content-Type"] = "application/json"
    assert browser.ask("POST", "/api/clusters", b"", headers).status in (400, 413)


@pytest.mark.parametrize(
    "path", ["/static/..%2fapp.py", "/static/../app.py", "/static/%00", "/static/"]
)
def test_only_the_files_of_the_page_are_served(
    registry: RegistryThread, browser: Browser, path: str
) -> None:
    assert browser.ask("GET", path, headers=bearer(registry.token)).status in (400, 404)


def test_no_token_and_no_code_is_in_the_log_or_the_database(
    client: RegistryClient,
    registry: RegistryThread,
    browser: Browser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    url = client.login_url()
    log_in(client, browser)
    browser.ask("GET", "/" + url.removeprefix(client.url))
    for secret in (registry.token, url.partition("code=")[2]):
        assert secret not in caplog.text
        for path in registry.settings.state.glob("registry.db*"):
            assert secret.encode() not in path.read_bytes()
