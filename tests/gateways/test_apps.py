"""Functions of a worker as an application: the same for WSGI and for ASGI."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from palm.errors import ConfigError, PayloadTooLarge
from palm.gateways import asgi_app, wsgi_app
from palm.gateways.body import CONTENT, pack, unpack_results
from palm.servers import Worker
from palm.wire.batch import Batch
from palm.wire.codec import Codec, decode_batch, encode_values
from palm.wire.message import Task
from palm.wire.outcome import decode_failure
from tests.gateways.web import JSON, RAW, TOKEN, Caller, Got, WebServer

Ask = Callable[..., Got]
AUTHORIZATION = {"authorization": f"Bearer {TOKEN}"}


class Mine(Worker):
    factor = 1

    def initialize(self) -> None:
        self.factor = 2

    def double(self, value: Any) -> Any:
        return self.factor * value

    def pair(self, value: Any) -> Any:
        return (value, value)

    def big(self, value: Any) -> int:
        return 1 << int(value)

    def fail(self, value: Any) -> Any:
        raise ValueError(value)

    def leave(self, value: Any) -> Any:
        raise SystemExit(3)

    def large(self, value: Any) -> Any:
        raise PayloadTooLarge("far too large", limit=1)

    def _private(self, value: Any) -> Any:
        raise AssertionError("called")


def ask_wsgi(application: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> Got:
    """Do as a server does."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode().decode("latin-1"),
        "CONTENT_LENGTH": headers.pop("content-length", str(len(body))),
        "CONTENT_TYPE": headers.pop("content-type", ""),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items()},
    }
    found: list[Any] = []
    parts: Iterable[bytes] = application(environ, lambda *given: found.extend(given))
    status, sent = found
    return Got(int(status.split()[0]), {k.lower(): v for k, v in sent}, b"".join(parts))


def ask_asgi(application: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> Got:
    """Do as a server does; the body comes in parts."""
    parts = [body[at : at + 10_000] for at in range(0, len(body), 10_000)] or [b""]
    events = [
        {"type": "http.request", "body": part, "more_body": at < len(parts)}
        for at, part in enumerate(parts, 1)
    ]
    given = {"content-length": str(len(body)), **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "scheme": "http",
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in given.items()],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    asyncio.run(application(scope, receive, send))
    start, rest = sent
    found = {name.decode(): text.decode() for name, text in start["headers"]}
    return Got(start["status"], found, rest["body"])


async def lifespan(application: Any) -> list[str]:
    """Let an application begin and end."""
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return events.pop(0)

    async def send(event: dict[str, str]) -> None:
        sent.append(event["type"])

    await application({"type": "lifespan"}, receive, send)
    return sent


@pytest.fixture(params=["wsgi", "asgi"])
def serve(request: pytest.FixtureRequest) -> Any:
    """Make an application, and return what asks it."""
    made: list[Any] = []

    def make(served: Any = Mine, **options: Any) -> Ask:
        options = {"token": TOKEN, **options}
        if request.param == "wsgi":
            application, driver = wsgi_app(served, **options), ask_wsgi
        else:
            application, driver = asgi_app(served, **options), ask_asgi
            made.append(application)

        def ask(method: str, path: str, body: bytes = b"", **headers: str) -> Got:
            given = {name.replace("_", "-"): text for name, text in headers.items()}
            return driver(application, method, path, body, {**AUTHORIZATION, **given})

        return ask

    yield make
    for application in made:
        asyncio.run(lifespan(application))


def call(ask: Ask, name: str, value: Any) -> Got:
    return ask("POST", f"/{name}", json.dumps(value).encode(), content_type=JSON)


def batch_of(name: str, values: list[Any], first: int = 0) -> tuple[Task, bytes]:
    codec, payloads = encode_values(values)
    task = Task(0, 1, b"", b"job", first, len(values), 1, name, codec, timeout=0.001)
    return task, pack([(task, Batch.pack(payloads))])


def outcomes(ask: Ask, name: str, values: list[Any]) -> list[Any]:
    """Post a batch; failures are ``Type: text``."""
    task, body = batch_of(name, values, 5)
    got = ask("POST", f"/{name}", body, content_type=CONTENT)
    assert (got.status, got.headers["content-type"]) == (200, CONTENT), got.body
    found: list[Any] = []
    for result, batch in unpack_results(got.body, task):
        if not result.kinds:
            found += decode_batch(result.codec, batch)
            continue
        for kind, payload in zip(result.kinds, batch.payloads(), strict=True):
            if kind:
                failure = decode_failure(payload)
                found.append(f"{failure.type}: {failure.text}")
            else:
                found += decode_batch(result.codec, Batch.pack([payload]))
    return found


def test_a_call_with_json(serve: Any) -> None:
    ask = serve()
    assert call(ask, "double", 21).value == 42
    assert call(ask, "pair", 1).value == [1, 1]
    got = ask("POST", "/double", b"ab", content_type=RAW)
    assert (got.status, got.headers["content-type"], got.body) == (200, RAW, b"abab")


def test_what_a_function_raises(serve: Any) -> None:
    ask = serve()
    for name, status, kind in (
        ("fail", 500, "ValueError"),
        ("leave", 500, "SystemExit"),
        ("large", 413, "PayloadTooLarge"),
    ):
        got = call(ask, name, "why")
        assert (got.status, got.error) == (status, kind)


def test_what_is_served(serve: Any) -> None:
    ask = serve()
    assert ask("GET", "/functions").value == ["double", "pair", "big", "fail", "leave", "large"]
    assert ask("GET", "/health", authorization="").value == {"answers": True}
    assert ask("GET", "/functions", authorization="").status == 401


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/double", {}, 405),
        ("PUT", "/double", {}, 405),
        ("POST", "/double", {"authorization": "Bearer wrong"}, 401),
        ("POST", "/double", {"authorization": ""}, 401),
        ("POST", "/_private", {}, 400),
        ("POST", "/initialize", {}, 404),
        ("POST", "/start", {}, 404),
        ("POST", "/factor", {}, 404),
        ("POST", "/foo.double", {}, 404),
        ("POST", "/", {}, 400),
        ("POST", "/ü", {}, 404),
        ("POST", "/double", {"content_type": "text/plain"}, 415),
        ("POST", "/double", {"content_encoding": "gzip"}, 415),
        ("POST", "/double", {"origin": "http://evil.example"}, 403),
        ("POST", "/double", {"content_length": "x"}, 400),
        ("POST", "/double", {"content_length": "-1"}, 400),
        ("POST", "/double", {"content_length": "9" * 30}, 413),
        ("POST", "/double", {"content_type": JSON}, 400),
        ("POST", "/double", {"content_type": CONTENT}, 400),
    ],
)
def test_what_is_refused(
    serve: Any, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    got = serve()(method, path, b"", **headers)
    assert got.status == status
    assert got.error


def test_a_body_that_is_too_large_is_not_taken(serve: Any) -> None:
    ask = serve({"length": len}, max_body=100_000)
    assert ask("POST", "/length", bytes(100_000)).value == 100_000
    assert ask("POST", "/length", bytes(100_001)).status == 413
    # nor one that says that it is small
    assert ask("POST", "/length", bytes(200_000), content_length="10").status in (200, 413)


def test_a_batch_has_an_outcome_for_each_message(serve: Any) -> None:
    ask = serve()
    assert outcomes(ask, "double", list(range(4000))) == list(range(0, 8000, 2))
    assert outcomes(ask, "fail", ["a", "b"]) == ["ValueError: a", "ValueError: b"]
    assert outcomes(ask, "double", [b"x" * 100_000]) == [b"x" * 200_000]
    assert outcomes(ask, "leave", [1]) == ["SystemExit: 3"]


def test_a_batch_for_another_function_is_refused(serve: Any) -> None:
    _, body = batch_of("double", [1])
    assert serve()("POST", "/fail", body, content_type=CONTENT).error == "BadBatch"


class Bomb:
    """Loading its pickle would be noticed."""

    loaded: ClassVar[list[int]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Bomb.loaded.append, (1,)


def test_pickles_are_not_read_unless_they_are_allowed(serve: Any) -> None:
    (failure,) = outcomes(serve(), "double", [Bomb()])
    assert failure.startswith("PickleRefused: ") and "the server" in failure
    assert Bomb.loaded == []
    assert outcomes(serve(allow_pickle=True), "double", [(1,)]) == [(1, 1)]


def test_pickles_are_not_sent_unless_they_are_allowed(serve: Any) -> None:
    ask = serve()
    task, body = batch_of("pair", [1, 2])
    for result, _ in unpack_results(ask("POST", "/pair", body, content_type=CONTENT).body, task):
        assert result.codec != Codec.PICKLE
    first, second = outcomes(ask, "pair", [1, 2])
    assert first == second and "of type tuple, takes a pickle" in first
    small, large = outcomes(ask, "big", [10, 100])
    assert small == 1024 and "of type int, takes a pickle" in large
    assert outcomes(serve(allow_pickle=True), "pair", [1]) == [(1, 1)]


def test_there_must_be_something_to_serve_and_a_token(serve: Any, tmp_path: Path) -> None:
    for served in ({}, Worker, Worker("w", functions={})):
        with pytest.raises(ConfigError, match="nothing to serve"):
            serve(served)
    with pytest.raises(ConfigError, match="token"):
        serve(Mine, token=None)
    with pytest.raises(ConfigError, match="token"):
        serve(Mine, token="")
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    ask = serve(Worker("w", functions={"length": len}), token=None, token_file=file)
    assert call(ask, "length", "abc").value == 3


def test_asgi_begins_ends_and_serves_nothing_else() -> None:
    application = asgi_app(Mine, token=TOKEN)
    assert asyncio.run(lifespan(application)) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    with pytest.raises(ValueError, match="websocket"):
        asyncio.run(application({"type": "websocket"}, None, None))  # type: ignore[arg-type]


def test_asgi_leaves_who_has_left() -> None:
    application = asgi_app(Mine, token=TOKEN)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    headers = [(name.encode(), text.encode()) for name, text in AUTHORIZATION.items()]
    scope = {"type": "http", "method": "POST", "path": "/double", "headers": headers}
    asyncio.run(application(scope, receive, send))
    assert sent == []
    asyncio.run(lifespan(application))


def test_on_a_real_server(web: Callable[..., WebServer]) -> None:
    caller = Caller(web(wsgi_app(Mine, token=TOKEN)).url)
    assert caller("/double", 4).value == 8
    assert (
        caller.ask(
            "POST", "/double", iter([b"ab"]), Content_Type=RAW, Transfer_Encoding="chunked"
        ).status
        == 411
    )
