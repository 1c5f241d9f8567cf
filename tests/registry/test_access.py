"""Who gets in, and from where: F37, F43, F46 and the defects 35 to 38 of the ancestor."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import urljoin

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from palm.registry_api.client import Refused, RegistryClient
from tests.support.registry import Browser, RegistryThread


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_only_the_health_is_open_and_it_tells_nothing(browser: Browser) -> None:
    answer = browser.ask("GET", "/health")
    assert answer.status == 200
    assert set(json.loads(answer.body)) == {"status", "version", "api", "api_oldest"}
    assert browser.ask("GET", "/health", headers={"Host": "evil.example"}).status == 403


def test_a_refusal_says_why_in_the_same_form(browser: Browser) -> None:
    answer = browser.ask("GET", "/api/clusters")
    assert answer.code == "token"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert browser.ask("GET", "/health", headers={"Host": "x"}).code == "host"


@pytest.mark.parametrize("host", ["127.0.0.1:8888", "localhost:1", "LOCALHOST", "[::1]:65535"])
def test_a_proxy_on_this_machine_may_pass_on_by_which_port_it_was_asked(
    browser: Browser, host: str
) -> None:
    assert browser.ask("GET", "/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "localhost:1:2", "localhost.evil.example:80", "127.0.0.2:1"]
)
def test_a_name_that_only_looks_like_this_machine_is_refused(browser: Browser, host: str) -> None:
    assert browser.ask("GET", "/health", headers={"Host": host}).code == "host"


# ---- browsers


@pytest.mark.parametrize(
    ("prefix", "shown"),
    [
        ("", ""),
        ("/proxy/8443", "/proxy/8443/"),
        ("/user/a.b%40c/proxy/8443/", "/user/a.b%40c/proxy/8443/"),
        ("//evil.example", ""),
        ("https://evil.example/", ""),
        ('/"><script>', ""),
        ("/a/../b", ""),
        ("/a" * 200, ""),
    ],
)
def test_the_page_is_told_below_which_path_a_proxy_has_put_it(
    client: RegistryClient, browser: Browser, prefix: str, shown: str
) -> None:
    inside, _ = log_in(client, browser)
    page = inside.ask("GET", "/", headers={"X-Forwarded-Prefix": prefix}).body.decode()
    assert f'src="{shown}static/page.js"' in page
    assert "evil" not in page


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


def test_a_token_has_only_so_many_browsers(
    client: RegistryClient, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_registry.security.MAX_SESSIONS", 2)
    inside = [log_in(client, browser)[0] for _ in range(4)]
    assert [each.ask("GET", "/api/clusters").status for each in inside] == [401, 401, 200, 200]


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
    while await connection.read_message() is not None:
        continue
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


@pytest.mark.parametrize(
    ("then", "location"),
    [
        ("", "./"),
        ("docs", "./docs"),
        ("?cluster=c#output", "./?cluster=c#output"),
        ("api/clusters/c/status", "./api/clusters/c/status"),
        ("//evil.example", "./"),
        ("/evil", "./"),
        ("///evil.example", "./"),
        ("\\\\evil.example", "./"),
        ("/\\evil.example", "./"),
        ("https://evil.example", "./"),
        ("https:evil.example", "./"),
        ("javascript:alert(1)", "./"),
        ("x//evil.example", "./"),
        ("../../x", "./"),
        ("a\r\nSet-Cookie: x=1", "./"),
        (" //evil.example", "./"),
        ("\t//evil.example", "./"),
        ("@evil.example", "./"),
        ("x" * 1000, "./"),
    ],
)
def test_a_login_leads_nowhere_but_to_the_registry(
    client: RegistryClient, browser: Browser, then: str, location: str
) -> None:
    url = client.login_url(then)
    answer = browser.ask("GET", "/" + url.removeprefix(client.url))
    assert answer.status == 303
    assert answer.headers["Location"] == location
    assert urljoin(f"{client.url}login", location).startswith(client.url)


def test_a_cookie_is_for_encrypted_connections_where_there_are_any(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    assert registry.registry is not None
    context = registry.registry._context
    for scheme in ("http", "https"):
        context.scheme = scheme  # as a registry with a certificate has it
        path = "/" + client.login_url().removeprefix(client.url)
        cookie = browser.ask("GET", path).headers["Set-Cookie"]
        assert ("Secure" in cookie.split("; ")) == (scheme == "https")


# ---- forms


def test_a_change_is_json_and_not_what_a_foreign_form_can_send(
    registry: RegistryThread, browser: Browser
) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {**bearer(registry.token), "Content-Type": kind}
        assert browser.ask("POST", "/api/clusters", b'{"name": "x"}', headers).status in (400, 415)


def test_reading_changes_nothing_and_a_change_is_not_a_get(
    client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    for path in ("/api/clusters/c/reset", "/api/clusters/c/lease", "/logout"):
        answer = browser.ask("GET", path, headers=bearer(registry.token))
        assert answer.status == 405
    for method in ("PATCH", "OPTIONS", "TRACE"):
        answer = browser.ask(method, "/api/clusters", headers=bearer(registry.token))
        assert answer.status in (405, 501)


def test_what_is_too_large_is_not_read(registry: RegistryThread, browser: Browser) -> None:
    headers = {**bearer(registry.token), "Content-Length": str(2**40)}
    headers["Content-Type"] = "application/json"
    assert browser.ask("POST", "/api/clusters", b"", headers).status == 413


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
