"""Versions of the API: that of now and the one before are served; others are told what to do."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.errors import RegistryError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import API, API_HEADER, API_OLDEST, version_problem
from tests.support.recorded import differences, read, replay
from tests.support.registry import Browser, RegistryThread

DATA = Path(__file__).parent / "data"


def bearer(registry: RegistryThread) -> dict[str, str]:
    return {"Authorization": f"Bearer {registry.token}"}


@pytest.mark.parametrize("said", [{}, {API_HEADER: str(API_OLDEST)}])
def test_what_clients_and_runners_of_the_version_before_said_is_served_as_it_was(
    registry: RegistryThread, browser: Browser, said: dict[str, str]
) -> None:
    recording = read(DATA / f"exchange-{API_OLDEST}.json")
    assert len(recording) > 35
    wrong = []
    for exchange, status, answer in replay(browser, recording, {**bearer(registry), **said}):
        where = f"{exchange.method} {exchange.path}"
        if status != exchange.status:
            wrong.append(f"{where}: {status}, and it was {exchange.status}")
        wrong += [f"{where}: {each}" for each in differences(exchange.answer, answer)]
    assert wrong == []


def test_a_recording_shows_what_is_missing_and_of_another_kind() -> None:
    before = {"a": 1, "b": [{"c": "x"}], "d": None, "e": 1.5}
    assert differences(before, {**before, "new": 3, "a": 2.5}) == []
    assert differences(before, {"a": 1, "b": [], "d": None, "e": 1.0}) == [
        "answer.b has 0 entries, and had 1"
    ]
    assert differences({"a": 1}, {}) == ["answer.a is gone"]
    assert differences({"a": [{"b": 1}]}, {"a": [{"b": "1"}]}) == [
        "answer.a[0].b is '1', and was 1"
    ]


def test_two_versions_go_together_if_the_registry_is_as_new_or_one_newer() -> None:
    for registry in range(1, 6):
        for client in range(6):
            fits = version_problem(client, registry) is None
            assert fits is (registry - 1 <= client <= registry), (client, registry)
    assert API_OLDEST == API - 1
    assert version_problem(API_OLDEST, API) is None


def test_every_answer_says_the_version(registry: RegistryThread, browser: Browser) -> None:
    for path, headers in (("/health", {}), ("/api/clusters", {}), ("/x", bearer(registry))):
        assert browser.ask("GET", path, headers=headers).headers[API_HEADER] == str(API)
    health = json.loads(browser.ask("GET", "/health").body)
    assert (health["api"], health["api_oldest"]) == (API, API_OLDEST)


@pytest.mark.parametrize(
    ("version", "older"), [(API_OLDEST - 1, "client"), (API + 1, "registry"), (99, "registry")]
)
def test_another_version_is_told_who_is_older_and_what_to_do(
    registry: RegistryThread, browser: Browser, version: int, older: str
) -> None:
    headers = {**bearer(registry), API_HEADER: str(version)}
    for method, path, body in (("GET", "/api/clusters", None), ("POST", "/api/clusters", {})):
        answer = browser.ask(method, path, body, headers)
        assert (answer.status, answer.code) == (426, "version")
        assert answer.headers["Upgrade"] == f"palm-api/{API}"
        error = json.loads(answer.body)["error"]
        assert error["text"].startswith(f"the {older} is older than")
        assert error["hint"]
    # Whether it is there at all, everybody may ask.
    assert browser.ask("GET", "/health", headers=headers).status == 200


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "9" * 10_000, "²"])
def test_what_is_no_version_is_the_callers_fault(
    registry: RegistryThread, browser: Browser, text: str
) -> None:
    headers = {**bearer(registry), API_HEADER: text}
    answer = browser.ask("GET", "/api/clusters", headers=headers)
    assert (answer.status, answer.code) == (400, "version")


class _Other(http.server.BaseHTTPRequestHandler):
    """A registry of another version: it answers everything, in words that are not ours."""

    protocol_version = "HTTP/1.1"
    version: str | None = None
    status = 200

    def do_GET(self) -> None:
        body = b'{"status": "ok", "version": "?"}'
        self.send_response(self.status)
        if self.version is not None:
            self.send_header(API_HEADER, self.version)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[tuple[type[_Other], RegistryClient]]:
    handler = type("Handler", (_Other,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with RegistryClient(f"http://127.0.0.1:{server.server_port}/", "t", retry=0.0) as client:
            yield handler, client
        server.shutdown()
        thread.join()


def test_the_client_says_the_same_of_a_registry_that_is_too_old_or_too_new(
    other: tuple[type[_Other], RegistryClient],
) -> None:
    handler, client = other
    for version in (str(API), str(API + 1)):
        handler.version = version
        assert client.health().status == "ok"
    for version in (None, str(API - 1)):  # the first did not say
        handler.version = version
        with pytest.raises(Refused, match="the registry is older than its client") as refused:
            client.health()
        assert refused.value.code == "version"
        assert "palm registry restart" in refused.value.hint
    handler.version = str(API + 2)
    with pytest.raises(Refused, match="the client is older than the registry"):
        client.health()


def test_what_is_wrong_on_the_way_is_not_taken_for_an_old_registry(
    other: tuple[type[_Other], RegistryClient],
) -> None:
    handler, client = other
    handler.version, handler.status = None, 502
    with pytest.raises(Refused, match="502"):
        client.health()


def test_a_live_feed_of_another_version_ends_with_the_reason(
    registry: RegistryThread, client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "API", API + 1)
    with client.live("c") as feed, pytest.raises(RegistryError, match="refused"):
        feed.next_frame(20)
