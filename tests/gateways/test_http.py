"""The gateway: what a call gets, who may call, and what one caller can do to others: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from palm.errors import AuthenticationError, ConfigError, PayloadTooLarge, TransportError
from palm.gateways.http import Gateway, Limits
from palm.runtime.records import read_record
from tests.gateways.web import RAW, TOKEN, Caller
from tests.support.cluster import ThreadCluster, until

Serve = Callable[..., Caller]


def double(value: Any) -> Any:
    return 2 * value


def identity(value: Any) -> Any:
    return value


def fail(value: Any) -> Any:
    raise KeyError(value)


class Blocking:
    """A function that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.calls: list[Any] = []

    def __call__(self, value: Any) -> Any:
        self.calls.append(value)
        self.begun.set()
        assert self.go_on.wait(30)
        return value


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    function = Blocking()
    function.__name__ = "block"  # type: ignore[attr-defined]
    yield function
    function.go_on.set()


def client_of(caller: Caller) -> Any:
    assert caller.served is not None
    return caller.served.component._client  # type: ignore[attr-defined]


# What a call gets


@pytest.mark.parametrize("path", ["/double", "/foo.double", "/double?x=1", "/doubl%65"])
def test_json_is_a_value_and_its_result_is_json(gateway: Serve, path: str) -> None:
    got = gateway(double)(path, {"a": [1]} and 21)
    assert (got.status, got.value) == (200, 42)


@pytest.mark.parametrize("value", [None, True, 1.5, "ü\u2028", [1, [2]], {"a": {"b": None}}, 2**80])
def test_values_come_back_as_they_were(gateway: Serve, value: Any) -> None:
    got = gateway(identity)("/identity", value)
    assert (got.status, got.value) == (200, value)


@pytest.mark.parametrize("headers", [{}, {"Content_Type": RAW}])
def test_bytes_are_sent_as_they_are(gateway: Serve, headers: dict[str, str]) -> None:
    call = gateway(identity)
    for body in (b"", bytes(range(256)), os.urandom(3 << 20)):
        got = call.ask("POST", "/identity", body, **headers)
        assert (got.status, got.headers["content-type"], got.body) == (200, RAW, body)


def test_bytes_for_json_and_json_for_bytes(gateway: Serve) -> None:
    call = gateway(str.encode, len)
    got = call("/encode", "ab")
    assert (got.headers["content-type"], got.body) == (RAW, b"ab")
    assert call.ask("POST", "/len", b"abc").value == 3


@pytest.mark.parametrize("value", [{1, 2}, 1j, float("nan"), [b"x"], "\ud800"])
def test_a_result_that_json_cannot_hold_says_what_it_is(gateway: Serve, value: Any) -> None:
    def odd(_: Any) -> Any:
        return value

    got = gateway(odd)("/odd")
    assert (got.status, got.error) == (500, "UnsupportedResult")
    assert f"of type {type(value).__name__}," in got.value["error"]["text"]


def test_what_the_function_raises_is_the_answer_without_its_traceback(gateway: Serve) -> None:
    got = gateway(fail)("/fail", "key")
    assert (got.status, got.error) == (500, "KeyError")
    assert got.value["error"]["text"] == "'key'"


def test_a_result_that_is_too_large_for_the_cluster_is_said_to_be_so(gateway: Serve) -> None:
    def large(_: Any) -> Any:
        raise PayloadTooLarge("far too large", limit=1)

    got = gateway(large)("/large")
    assert (got.status, got.error) == (413, "PayloadTooLarge")


@pytest.mark.parametrize("path", ["/duoble", "/bar.double"])
def test_what_nobody_serves_is_not_found(gateway: Serve, path: str) -> None:
    got = gateway(double)(path, 1)
    assert (got.status, got.error) == (404, "FunctionNotFound")


BAD_NAMES = ["/", "/_double", "/__class__", "/a/b", "/a.b.c", "/a%20b", "/%ff", "/foo.", "/.double"]


@pytest.mark.parametrize("path", BAD_NAMES)
def test_what_is_no_name_is_refused(gateway: Serve, path: str) -> None:
    got = gateway(double)(path, 1)
    assert (got.status, got.error) == (400, "BadName")


BAD_JSON = [b"", b"{", b"nan", b"NaN", b"[1,]", b"\xff", b"[" * 100_000, b"1" * 5000]


def test_what_is_no_json_is_refused_and_not_called(gateway: Serve) -> None:
    calls: list[Any] = []

    def note(value: Any) -> None:
        calls.append(value)

    call = gateway(note)
    for body in BAD_JSON:
        got = call.ask("POST", "/note", body, Content_Type="application/json")
        assert (got.status, got.error) == (400, "BadJSON"), body[:20]
    assert calls == []


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "a, b"])
def test_what_a_form_can_send_is_refused(gateway: Serve, kind: str) -> None:
    got = gateway(double).ask("POST", "/double", b"1", Content_Type=kind)
    assert (got.status, got.error) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_calls(gateway: Serve, method: str) -> None:
    calls: list[Any] = []

    def note(value: Any) -> None:
        calls.append(value)

    got = gateway(note).ask(method, "/note")
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert calls == []


# Many at once


def test_a_thousand_at_once_get_a_thousand_right_answers(gateway: Serve) -> None:
    call = gateway(double)
    threads = threading.active_count()
    most = 0

    async def one(number: int) -> int:
        nonlocal most
        reader, writer = await asyncio.open_connection(*call.address)
        writer.write(call.request("/double", str(number).encode()))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        most = max(most, threading.active_count())
        value = json.loads(await reader.readexactly(size))
        writer.close()
        await writer.wait_closed()
        return int(value)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*map(one, range(1000)))

    assert asyncio.run(all_of_them()) == [2 * number for number in range(1000)]
    assert most <= threads


def test_whatever_else_is_sent_disturbs_nobody(
    gateway: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    call = gateway(double, limits=Limits(idle=0.2, sending=0.2))
    dice = random.Random(27)
    good = call.request("/double", b"21")
    for _ in range(100):
        damaged = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        with call.connect() as connection:
            connection.sendall(damaged if dice.random() < 0.7 else dice.randbytes(200))
            with suppress(ConnectionResetError):
                connection.recv(4096)
    assert call("/double", 21).value == 42
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_one_connection_serves_many_requests_good_and_bad(gateway: Serve) -> None:
    call = gateway(double)
    with call.connect() as connection, connection.makefile("rb") as answers:
        for number in range(20):
            wrong = number % 3 == 0
            connection.sendall(call.request("/double", b"{" if wrong else b"%d" % number))
            status = int(answers.readline().split()[1])
            assert status == (400 if wrong else 200)
            size = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            body = json.loads(answers.read(size))
            assert wrong or body == 2 * number


# Who may call


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN,
               f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"bearer {TOKEN}", "Bearer \xff"],
)  # fmt: skip
def test_without_the_token_nothing_is_called(gateway: Serve, header: str | None) -> None:
    calls: list[Any] = []

    def note(value: Any) -> None:
        calls.append(value)

    call = gateway(note)
    call.token = None
    got = call("/note", 1, **({} if header is None else {"Authorization": header}))
    assert (got.status, got.error) == (401, "Unauthorized")
    assert got.headers["www-authenticate"] == "Bearer"
    assert calls == []


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:{port}", None, 200),
        ("localhost:{port}", None, 200),
        ("LOCALHOST:{port}", None, 200),
        ("[::1]:{port}", None, 200),
        ("proxy.example:8443", None, 200),
        ("127.0.0.1", None, 403),
        ("127.0.0.1:1", None, 403),
        ("evil.example:{port}", None, 403),
        ("localhost.evil.example:{port}", None, 403),
        ("", None, 403),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", 200),
        ("127.0.0.1:{port}", "http://localhost:{port}", 403),
        ("proxy.example:8443", "https://proxy.example:8443", 200),
        ("127.0.0.1:{port}", "https://evil.example:{port}", 403),
        ("127.0.0.1:{port}", "http://evil.example", 403),
        ("127.0.0.1:{port}", "null", 403),
        ("evil.example:{port}", "http://evil.example:{port}", 403),
    ],
)
def test_foreign_names_and_pages_are_refused(
    gateway: Serve, host: str, origin: str | None, status: int
) -> None:
    call = gateway(double, allow_hosts=["proxy.example:8443"])
    headers = {"Host": host.format(port=call.address[1])}
    if origin is not None:
        headers["Origin"] = origin.format(port=call.address[1])
    assert call("/double", 1, **headers).status == status
    assert call.ask("GET", "/health", **headers).status == status


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "no.such.host.invalid"])
def test_it_is_not_open_to_the_world_without_tls(host: str) -> None:
    with pytest.raises(ConfigError, match="host"):
        Gateway("foo", host, token=TOKEN).open()


def test_it_speaks_tls(gateway: Serve, tmp_path: Path) -> None:
    certificate = Path(__file__).with_name("localhost.pem")
    call = gateway(double, certfile=certificate, host="127.0.0.1")
    assert call.url.startswith("https://")
    request = urllib.request.Request(
        f"{call.url}double",
        b"4",
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(request, context=context, timeout=20) as response:
        assert json.load(response) == 8


@pytest.mark.parametrize("token", ["", "short", "has spaces in between", "not-ascii-ü-0123456789"])
def test_a_token_that_is_none_is_refused(cluster: ThreadCluster, token: str) -> None:
    with pytest.raises(ConfigError, match="token"):
        cluster.serve(Gateway("foo", token=token))


def test_a_token_is_made_once_and_is_ours_alone(cluster: ThreadCluster) -> None:
    files = set()
    for _ in range(2):
        served = cluster.serve(Gateway("foo"))
        gateway = served.component
        assert isinstance(gateway, Gateway)
        assert gateway.token_file is not None
        assert gateway.token_file.stat().st_mode & 0o777 == 0o600
        files.add((gateway.token_file, gateway.token_file.read_text()))
        served.stop()
    assert len(files) == 1


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(AuthenticationError, match="chmod 600"):
        Gateway("foo", token_file=path).open()
    with pytest.raises(ConfigError, match="cannot be read"):
        Gateway("foo", token_file=tmp_path / "none").open()


def test_it_can_be_found_while_it_is_there(gateway: Serve, cluster: ThreadCluster) -> None:
    call = gateway(double)
    record = read_record(cluster.folders, "foo-gateway")
    assert record is not None
    assert (record.role, record.endpoints) == ("gateway", {"http": call.url})
    assert call.served is not None
    call.served.stop()
    assert read_record(cluster.folders, "foo-gateway") is None


def test_a_port_that_is_taken_is_an_error(gateway: Serve) -> None:
    port = gateway(double).address[1]
    with pytest.raises(TransportError, match="cannot listen"):
        Gateway("foo", port=port, token=TOKEN, name="other").open()


# Limits


SMALL = Limits(body=100_000, requests=2, idle=0.3, sending=0.3)


def chunks(size: int, sent: list[int]) -> Iterator[bytes]:
    while size > 0:
        sent.append(min(size, 10_000))
        yield bytes(sent[-1])
        size -= sent[-1]


def test_a_body_may_be_so_large_and_no_larger(gateway: Serve) -> None:
    call = gateway(len, limits=SMALL)
    sent: list[int] = []
    assert call.ask("POST", "/len", bytes(SMALL.body)).value == SMALL.body
    assert (
        call.ask("POST", "/len", chunks(SMALL.body, sent), Transfer_Encoding="chunked").status
        == 200
    )
    for body in (bytes(SMALL.body + 1), chunks(SMALL.body + 1, sent)):
        headers = {} if isinstance(body, bytes) else {"Transfer_Encoding": "chunked"}
        got = call.ask("POST", "/len", body, **headers)
        assert (got.status, got.error) == (413, "PayloadTooLarge")


def test_what_is_too_large_is_refused_before_it_is_here(gateway: Serve) -> None:
    call = gateway(len, limits=SMALL)
    for headers in ({"Content_Length": str(1 << 40)}, {"Transfer_Encoding": "chunked"}):
        with call.connect() as connection, connection.makefile("rb") as answers:
            head = call.request("/len", b"", Content_Type=RAW, **headers)
            if "Transfer_Encoding" in headers:
                head = head.replace(b"Content-Length: 0\r\n", b"")
            connection.sendall(head)
            if "Transfer_Encoding" in headers:
                for _ in range(SMALL.body // 10_000 + 1):
                    connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
            assert answers.readline().split()[1] == b"413"


def test_who_asks_before_sending_is_told_at_once(gateway: Serve) -> None:
    call = gateway(len, limits=SMALL)
    with call.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(
            call.request("/len", b"", Content_Length="200000", Expect="100-continue")
        )
        assert answers.readline().split()[1] == b"413"
        assert answers.read().endswith(b"}}")  # and the connection is closed


def test_a_request_too_many_is_told_to_come_again(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking, limits=SMALL)
    connections = [call.connect() for _ in range(SMALL.requests)]
    try:
        for connection in connections:
            connection.sendall(call.request("/block", b"1"))
        until(lambda: len(client_of(call).jobs) == SMALL.requests, what="both are let in")
        got = call("/block", 1)
        assert (got.status, got.error, got.headers["retry-after"]) == (503, "Busy", "1")
        blocking.go_on.set()
        for connection in connections:
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert call("/block", 1).status == 200
    finally:
        for connection in connections:
            connection.close()


def test_a_connection_too_many_is_told_to_come_again(gateway: Serve) -> None:
    call = gateway(double, limits=Limits(connections=2))
    held = [call.connect(), call.connect()]
    assert call("/double", 1).status == 503
    for connection in held:
        connection.close()
    until(lambda: call("/double", 1).status == 200)


@pytest.mark.parametrize("part", [b"", b"POST /double HT", b"POST /double HTTP/1.1\r\nHost: x\r\n"])
def test_who_is_slow_to_ask_is_left(gateway: Serve, part: bytes) -> None:
    call = gateway(double, limits=SMALL)
    with call.connect() as connection:
        connection.sendall(part)
        assert connection.recv(100) == b""
    assert call("/double", 1).status == 200


def test_who_is_slow_to_send_is_left_and_keeps_nobody_out(gateway: Serve) -> None:
    call = gateway(double, limits=SMALL)
    for _ in range(SMALL.requests + 1):
        with call.connect() as connection:
            connection.sendall(call.request("/double", b"12", Content_Length="1000"))
            assert connection.recv(100) == b""
    assert call("/double", 1).status == 200


# Time


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_time_that_is_none_is_refused(gateway: Serve, text: str) -> None:
    assert gateway(double)("/double", 1, X_Timeout=text).error == "BadTimeout"


def test_a_caller_may_want_to_wait_for_less(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking)
    began = time.monotonic()
    got = call("/block", 1, X_Timeout="0.2")
    assert (got.status, got.error) == (504, "DeadlineExceeded")
    assert 0.2 <= time.monotonic() - began < 10


def test_but_not_for_longer_than_it_may(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking, limits=Limits(timeout=0.2))
    assert call("/block", 1, X_Timeout="1000").status == 504
    assert call("/block", 1).status == 504


def test_without_a_master_callers_are_told_to_come_again(cluster: ThreadCluster) -> None:
    served = cluster.serve(Gateway("foo", token=TOKEN, connect_timeout=0.2))
    assert isinstance(served.component, Gateway)
    call = Caller(served.component.url)
    got = call("/double", 1)
    assert (got.status, got.error, got.headers["retry-after"]) == (503, "ConnectTimeout", "1")
    health = call.ask("GET", "/health")
    assert (health.status, health.value["answers"]) == (503, False)
    cluster.master("foo")
    cluster.worker({"double": double}, "w")
    until(lambda: call("/double", 1).status == 200)


def test_health_is_open_and_says_whether_the_server_answers(gateway: Serve) -> None:
    call = gateway(double)
    call.token = None
    got = call.ask("GET", "/health")
    assert (got.status, got.value) == (200, {"server": "foo", "answers": True, "workers": 1})


# Ends


def test_who_leaves_has_the_call_cancelled(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking)
    first, second = call.connect(), call.connect()
    first.sendall(call.request("/block", b"1"))
    assert blocking.begun.wait(10)
    second.sendall(call.request("/block", b"2"))
    until(lambda: len(client_of(call).jobs) == 2)
    jobs = client_of(call).jobs
    second.close()
    until(lambda: "cancelled" in [job.state for job in jobs], what="it is cancelled")
    blocking.go_on.set()
    assert first.recv(12) == b"HTTP/1.1 200"
    first.close()
    assert call("/block", 3).value == 3
    assert blocking.calls == [1, 3]


def test_what_is_under_way_is_answered_before_it_ends(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking)
    connection = call.connect()
    connection.sendall(call.request("/block", b"1"))
    assert blocking.begun.wait(10)
    assert call.served is not None
    call.served.component.stop(10.0)
    until(lambda: _refuses(call), what="nobody else can connect")
    blocking.go_on.set()
    with connection, connection.makefile("rb") as answers:
        answer = answers.read()
    assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n1")
    call.served.join()


def _refuses(call: Caller) -> bool:
    try:
        call.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_goes_on_too_long_is_given_up_at_the_end(gateway: Serve, blocking: Blocking) -> None:
    call = gateway(blocking)
    connection = call.connect()
    connection.sendall(call.request("/block", b"1"))
    assert blocking.begun.wait(10)
    assert call.served is not None
    call.served.stop(0.1)
    with connection, connection.makefile("rb") as answers:
        assert answers.read().startswith(b"HTTP/1.1 503")


def test_who_asks_for_its_health_while_it_ends_has_an_answer(cluster: ThreadCluster) -> None:
    cluster.master("foo")  # without a worker: what is asked has no answer for now
    served = cluster.serve(Gateway("foo", token=TOKEN))
    assert isinstance(served.component, Gateway)
    call = Caller(served.component.url)
    for _ in range(2):
        assert call.ask("GET", "/health").value == {"server": "foo", "answers": False, "workers": 0}
    assert threading.active_count() < 20
    connection = call.connect()
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % call.address[1])
    began = time.monotonic()
    served.stop(1.0)
    assert time.monotonic() - began < 5
    connection.close()
