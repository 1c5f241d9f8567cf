"""The API document says what the registry does, and the registry does what it says."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as conform
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import url_concat
from tornado.websocket import websocket_connect

from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import read_frame
from palm.spec.cluster import check_cluster
from palm_registry.handlers import ROUTES
from palm_registry.handlers.base import Base
from palm_registry.openapi import document, operations
from tests.support.registry import Browser, RegistryThread, Runner, lent_registry, piece, spec

DOCUMENT = document(ROUTES, Base, "0", "palm-session")
#: Seconds that a heartbeat may ask to be held back here.
HELD_BACK = 0.01


# ---- the document by itself


def test_every_address_says_what_it_takes_and_gives() -> None:
    silent = [
        f"{method.upper()} {template.path}: mark {handler.__name__}.{method} with describes(...)"
        for template, handler, method, mark in operations(ROUTES, Base)
        if mark is None
    ]
    assert silent == []


def each_operation() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_a_name_of_its_own_and_one_line_that_says_what_it_does() -> None:
    names = [operation["operationId"] for _, _, operation in each_operation()]
    assert len(set(names)) == len(names)
    for _, _, operation in each_operation():
        assert re.fullmatch(r"[A-Z][^\n]{9,119}\.", operation["summary"]), operation


def test_every_name_in_an_address_is_a_parameter_of_it() -> None:
    for path, _, operation in each_operation():
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))


def test_every_shape_that_is_referred_to_is_there_and_every_other_one_is_left_out() -> None:
    text = json.dumps(DOCUMENT)
    referred = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert referred == set(DOCUMENT["components"]["schemas"])


def test_all_but_what_is_open_to_all_wants_a_credential() -> None:
    unprotected = [path for path, _, each in each_operation() if not each["security"]]
    assert sorted(unprotected) == ["/api/join", "/health", "/login"]


def test_examples_are_what_the_registry_takes() -> None:
    for template, _, method, mark in operations(ROUTES, Base):
        if mark is not None and mark.example is not None:
            taken = msgspec.json.decode(msgspec.json.encode(mark.example), type=mark.body)
            assert taken == mark.example, (method, template.path)


# ---- the document against a registry


@pytest.fixture(scope="module")
def served() -> Iterator[RegistryThread]:
    with lent_registry() as running:
        yield running


@pytest.fixture(scope="module")
def stage(served: RegistryThread) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        # Each operation is tried without a token too: so many wrong ones would be sent away.
        patch.setattr("palm_registry.attempts.BURST", 10**9)
        yield Stage(served)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def test_the_registry_gives_its_document_and_its_page(client: RegistryClient) -> None:
    given = client.openapi()
    scheme = given["components"]["securitySchemes"]["session"]
    assert scheme["name"].startswith("palm-session-")
    assert given["paths"] == json.loads(json.dumps(DOCUMENT["paths"]))


def test_the_page_of_the_document_holds_no_script_and_no_foreign_address(
    registry: RegistryThread, browser: Browser
) -> None:
    answer = browser.ask("GET", "/docs", headers={"Authorization": f"Bearer {registry.token}"})
    text = answer.body.decode()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]
    assert "style=" not in text and "<style" not in text and "://" not in text


def _config() -> schemathesis.Config:
    config = schemathesis.Config()
    config.projects.default.generation.update(
        modes=list(GenerationMode),
        deterministic=True,
        allow_extra_parameters=False,  # the registry leaves those alone
    )
    return config


@schemathesis.serializer("application/msgpack")
def as_msgpack(_context: object, value: Any) -> bytes | None:
    try:
        return value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
    except OverflowError:  # a number that MessagePack cannot say
        return b"\xc1"


API = schemathesis.openapi.from_dict(DOCUMENT, config=_config()).exclude(operation_id="get-live")

CHECKS: list[Callable[..., Any]] = [
    schemathesis.checks.not_a_server_error,
    conform.status_code_conformance,
    conform.content_type_conformance,
    conform.response_schema_conformance,
    conform.negative_data_rejection,
    conform.unsupported_method,
    conform.ignored_auth,
]


class Stage:
    """A registry with what operations are about: a cluster, a component, a node, some output."""

    def __init__(self, registry: RegistryThread) -> None:
        self.registry = registry
        self.session = ""
        self._is_set = False

    def set_up(self, client: RegistryClient) -> None:
        if self._is_set:
            return
        try:
            client.create_cluster("c", linger=None)
        except Refused:  # it is being deleted, once its node has left
            client.leave("c", "here")
            client.create_cluster("c", linger=None)
        client.declare("c", spec("foo"))
        self.session = Runner(client, "c", "here").join().session
        client.send_output("c", [piece(0, b"hello\n")])
        self._is_set = True

    def used(self, method: str, status: int) -> None:
        self._is_set = method == "GET" or status >= 400


def aim(case: Any, session: str) -> None:
    """Let a request be about what is there, where it says what may be meant."""
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        for name, value in {"key": "c", "name": "foo", "node": "here"}.items():
            if name in case.path_parameters:
                case.path_parameters[name] = value
    if isinstance(case.body, dict) and not case.meta.is_negative_at(ParameterLocation.BODY):
        if "session" in case.body:
            case.body["session"] = session
        if isinstance(case.body.get("wait"), int | float):
            case.body["wait"] = HELD_BACK


@pytest.mark.slow
@pytest.mark.no_leak_check("threads", "descriptors")
@API.parametrize()
@settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_nothing_that_is_sent_to_an_address_is_an_error_of_the_registry(
    case: Any, stage: Stage, session: requests.Session
) -> None:
    with stage.registry.client() as client:
        stage.set_up(client)
    aim(case, stage.session)
    headers = {"Authorization": f"Bearer {stage.registry.token}"}
    url = stage.registry.url.rstrip("/")
    answer = case.call(base_url=url, session=session, headers=headers, timeout=10)
    stage.used(case.method, answer.status_code)
    case.validate_response(answer, checks=CHECKS, headers=headers, transport_kwargs={"timeout": 10})


# ---- the live feed, which is no request like the others

QUERIES = st.dictionaries(
    st.sampled_from(["topics", "since", "component", "name", "replica", "stream", "backlog", "x"])
    | st.text(max_size=5),
    st.sampled_from(["status", "metrics,output", "start", "now", "e1.o1.a", "0", "-1", "1e999", ""])
    | st.text(max_size=20),
    max_size=4,
)
SAID = st.lists(st.text(max_size=50) | st.binary(max_size=50), max_size=5)


async def watch(url: str, token: str, query: dict[str, str], said: list[str | bytes]) -> int:
    """Ask for a live feed, say something, and take its first frame; return the status."""
    request = HTTPRequest(url_concat(url, query), headers={"Authorization": f"Bearer {token}"})
    try:
        connection = await websocket_connect(request)
    except HTTPClientError as error:
        return error.code
    for message in said:
        await connection.write_message(message, binary=isinstance(message, bytes))
    if "status" in query.get("topics", "status").split(","):
        frame = await asyncio.wait_for(connection.read_message(), 10)
        assert frame is not None, connection.close_reason
        read_frame(frame)
    connection.close()
    while await connection.read_message() is not None:
        continue
    return 101


@pytest.mark.slow
@pytest.mark.no_leak_check("threads", "descriptors")
@settings(
    max_examples=200,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(query=QUERIES, said=SAID)
def test_nothing_that_is_said_to_a_live_feed_is_an_error_of_the_registry(
    query: dict[str, str], said: list[str | bytes], stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with stage.registry.client() as client:
        stage.set_up(client)
    url = f"ws{stage.registry.url.removeprefix('http')}api/clusters/c/live"
    caplog.clear()
    status = asyncio.run(watch(url, stage.registry.token, query, said))
    assert status in (101, 400), (status, query)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.slow
@pytest.mark.no_leak_check("threads", "descriptors")
@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_frames_end_a_live_feed_and_nothing_else(
    data: bytes, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with stage.registry.client() as client:
        stage.set_up(client)
    caplog.clear()
    host, port = stage.registry.url.removeprefix("http://").strip("/").split(":")
    hello = (
        f"GET /api/clusters/c/live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"Authorization: Bearer {stage.registry.token}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(hello.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            continue
    with stage.registry.client() as client:
        assert client.health().status == "ok"
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("headers", [{}, {"Upgrade": "h2c"}, {"Upgrade": "websocket"}])
def test_a_live_feed_that_is_asked_for_by_a_plain_request_is_refused(
    registry: RegistryThread, client: RegistryClient, browser: Browser, headers: dict[str, str]
) -> None:
    sent = {"Authorization": f"Bearer {registry.token}", **headers}
    answer = browser.ask("GET", "/api/clusters/c/live", headers=sent)
    assert answer.status == (400 if headers.get("Upgrade") == "websocket" else 426)
    assert client.health().status == "ok"


def test_the_cluster_file_of_the_examples_is_one() -> None:
    for _, _, _, mark in operations(ROUTES, Base):
        if mark is not None and isinstance(mark.example, schema.ConfigText):
            assert check_cluster(mark.example.text)[1] == []
