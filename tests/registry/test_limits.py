"""How much the registry takes of whom, and that the others are answered meanwhile: F48."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.registry_api.client import RegistryClient
from palm_registry.handlers import base
from palm_registry.server import (
    KEPT,
    MAX_BODY,
    MAX_CONNECTIONS,
    Server,
    most_connections,
    raise_descriptors,
)
from tests.support.registry import Browser, RegistryProcess, RegistryThread, Runner


def port_of(registry: RegistryThread) -> int:
    return int(registry.url.split(":")[2].strip("/"))


def server_of(registry: RegistryThread) -> Server:
    assert registry.registry is not None
    server = registry.registry._server
    assert server is not None
    return server


@contextlib.contextmanager
def connections(port: int, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Give so many connections, each of which has said something."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            each.sendall(said)
            found.append(each)
        yield found


def answer_of(connection: socket.socket) -> bytes:
    """Return what comes until it is closed."""
    parts = []
    connection.settimeout(20)
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def wait_until(condition: object) -> None:
    end = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def head(registry: RegistryThread, length: object, path: str = "/api/clusters") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port_of(registry)}\r\n"
        f"Authorization: Bearer {registry.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


# ---- connections


def test_the_number_of_connections_follows_from_the_descriptors_that_there_are() -> None:
    assert most_connections(1024) == 1024 - KEPT
    assert most_connections(1 << 20) == MAX_CONNECTIONS
    assert most_connections(100) == 50
    assert most_connections(1) == 1


def test_the_limit_of_descriptors_is_raised_as_far_as_it_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert raise_descriptors() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raise_descriptors() >= min(before[1], 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_hundreds_of_slow_connections_do_not_keep_others_from_being_answered(
    registry: RegistryThread,
) -> None:
    """Slowloris: each has sent part of a head, and sends a byte now and then."""
    server_of(registry)._most = 200
    slow_head = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port_of(registry)}\r\nX: ".encode()
    stop = threading.Event()
    with connections(port_of(registry), 400, slow_head) as slow:

        def trickle() -> None:
            while not stop.wait(0.05):
                for each in slow:
                    with contextlib.suppress(OSError):
                        each.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            for _ in range(20):
                began = time.monotonic()
                with registry.client(retry=0.0) as client:
                    assert client.cluster_list() == []
                assert time.monotonic() - began < 5.0
            assert server_of(registry).connections <= 200
        finally:
            stop.set()
            thread.join(20)


def test_the_one_that_was_idle_for_longest_goes_first(registry: RegistryThread) -> None:
    server_of(registry)._most = 10
    request = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port_of(registry)}\r\n\r\n".encode()
    with connections(port_of(registry), 10, request) as kept:
        for each in kept:
            assert each.recv(65536).startswith(b"HTTP/1.1 200")
        kept[0].sendall(request)  # now it is the second that was idle for longest
        assert kept[0].recv(65536).startswith(b"HTTP/1.1 200")
        with connections(port_of(registry), 1, request) as new:
            assert new[0].recv(65536).startswith(b"HTTP/1.1 200")
            assert answer_of(kept[1]) == b""
            kept[0].sendall(request)
            assert kept[0].recv(65536).startswith(b"HTTP/1.1 200")


def test_who_finds_all_connections_busy_is_told_to_come_back(
    registry: RegistryThread, client: RegistryClient
) -> None:
    Runner(client, "c").join()
    client.close()
    wait_until(lambda: server_of(registry).connections == 0)
    server_of(registry)._most = 6
    body = b'{"session": "none", "known_generation": 0'  # never ends
    with connections(port_of(registry), 6, head(registry, 4000, "/api/clusters/c/nodes") + body):
        wait_until(lambda: sum(line.busy for line in server_of(registry)._lines.values()) == 6)
        with connections(port_of(registry), 3, b"GET /health HTTP/1.1\r\n\r\n") as refused:
            for each in refused:
                answer = answer_of(each)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"Retry-After: 1" in answer
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "busy"
    wait_until(lambda: server_of(registry).connections == 0)
    assert client.view_cluster("c").key == "c"


def test_followers_count_and_are_not_thrown_out(
    registry: RegistryThread, client: RegistryClient
) -> None:
    client.close()
    wait_until(lambda: server_of(registry).connections == 0)
    server_of(registry)._most = 3
    with client.live("c", ("status",)) as feed:
        assert feed.next_frame(10) is not None
        wait_until(lambda: server_of(registry).connections == 1)
        with connections(port_of(registry), 8):
            wait_until(lambda: server_of(registry).connections == 3)
            client.create_cluster("d")
            assert not server_of(registry)._followers.copy().pop().closed()
    wait_until(lambda: not server_of(registry)._followers or server_of(registry).connections < 3)


# ---- time


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, palm_home: Path) -> Iterator[RegistryThread]:
    """A registry for which everything takes too long."""
    monkeypatch.setattr("palm_registry.server.HEADER_TIMEOUT", 0.3)
    monkeypatch.setattr("palm_registry.server.IDLE_TIMEOUT", 0.6)
    monkeypatch.setattr("palm_registry.handlers.base.BODY_TIMEOUT", 0.3)
    monkeypatch.setattr("palm_registry.handlers.base.REFUSED_TIMEOUT", 0.3)
    running = RegistryThread(palm_home).start()
    yield running
    running.stop()


def test_a_head_a_body_and_the_next_request_have_to_come_in_time(
    impatient: RegistryThread,
) -> None:
    host = f"Host: 127.0.0.1:{port_of(impatient)}\r\n".encode()
    for said in (b"", b"GET /health HTTP/1.1\r\n" + host, head(impatient, 100) + b"{"):
        with connections(port_of(impatient), 1, said) as slow:
            assert answer_of(slow[0]) == b"", said
    with connections(port_of(impatient), 1, b"GET /health HTTP/1.1\r\n" + host + b"\r\n") as kept:
        answer = answer_of(kept[0])
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" not in answer


# ---- bodies


def test_a_body_that_is_too_large_is_refused_with_words(
    registry: RegistryThread, browser: Browser
) -> None:
    bearer = {"Authorization": f"Bearer {registry.token}", "Content-Type": "application/json"}
    answer = browser.ask("POST", "/api/clusters", b"x" * (MAX_BODY + 1), bearer)
    assert (answer.status, answer.code) == (413, "too-large")
    assert str(MAX_BODY) in json.loads(answer.body)["error"]["text"]
    # The same in pieces, whose number nobody knows beforehand.
    connection = http.client.HTTPConnection("127.0.0.1", port_of(registry), timeout=30)
    pieces = (b"x" * 65536 for _ in range(MAX_BODY // 65536 + 1))
    connection.request("POST", "/api/clusters", pieces, bearer, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "too-large"
    connection.close()
    with registry.client() as client:
        assert client.cluster_list() == []


def test_who_has_no_token_is_refused_before_the_body(
    registry: RegistryThread, browser: Browser
) -> None:
    """So nobody without one can fill the registry's memory."""
    with connections(port_of(registry), 1) as asking:
        asking[0].sendall(head(registry, MAX_BODY).replace(registry.token.encode(), b"x" * 43))
        assert asking[0].recv(65536).startswith(b"HTTP/1.1 401")
    with connections(port_of(registry), 1) as asking:
        text = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port_of(registry)}\r\n"
        asking[0].sendall(f"{text}Content-Length: 1000000\r\n\r\n".encode())
        assert asking[0].recv(65536).startswith(b"HTTP/1.1 413")


def test_bodies_that_come_at_once_have_a_limit_together(
    registry: RegistryThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_BODIES", 100_000)
    assert registry.registry is not None
    context = registry.registry._context
    with connections(port_of(registry), 1) as asking:
        asking[0].sendall(head(registry, 90_000) + b" " * 80_000)
        wait_until(lambda: context.receiving == 80_000)
        with registry.client(retry=0.0) as client:
            with pytest.raises(Exception, match="too much is sent at once") as refused:
                client.create_cluster("c" * 50_000)
            assert refused.value.status == 503  # type: ignore[attr-defined]
    wait_until(lambda: context.receiving == 0)
    with registry.client() as client:
        client.create_cluster("c")
        assert client.check_config("c", "#" * 50_000).valid
    wait_until(lambda: context.receiving == 0)


@pytest.mark.parametrize(
    "said",
    [
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request_ends_the_connection_and_says_nothing_in_the_log(
    registry: RegistryThread, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with connections(port_of(registry), 1, said) as asking:
        with contextlib.suppress(OSError):
            asking[0].shutdown(socket.SHUT_WR)
        answer = answer_of(asking[0])
    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
    assert not [r for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")]
    with registry.client() as client:
        assert client.health().status == "ok"


@pytest.mark.slow
def test_a_storm_of_small_requests_leaves_room_for_others_and_nothing_behind(
    process: RegistryProcess,
) -> None:
    """Strangers ask as fast as they can; who has a token is answered all the same."""
    process.start()
    pid = process.record["pid"]
    stop = threading.Event()
    asked = [0]

    def storm() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
                for _ in range(20):
                    connection.request("GET", "/api/clusters")
                    assert connection.getresponse().read()
                    asked[0] += 1
                connection.close()

    threads = [threading.Thread(target=storm) for _ in range(8)]
    with process.client(retry=0.0) as client:
        client.create_cluster("c")
        for thread in threads:
            thread.start()
        longest = 0.0
        end = time.monotonic() + 4
        while time.monotonic() < end:
            began = time.monotonic()
            assert client.view_cluster("c").key == "c"
            longest = max(longest, time.monotonic() - began)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert asked[0] > 500
        assert longest < 5.0
        wait_until(lambda: client.info().connections == 1)
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 40
        assert process.stop() == 0
