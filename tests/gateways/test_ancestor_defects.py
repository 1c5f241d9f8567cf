"""What the ancestor's HTTP parts got wrong, one after the other.

Its gateway took any path for a function and GET for a call, listened to the whole world, read as
much as it was told to, had a thread wait for ever for each lost message, and failed while it said
404. Its part for workers said 200 before it looked, and could not do without a Content-Length; the
part that posts to it waited for ever, and lost all results of a batch but the last.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from palm.errors import ConfigError, TaskError
from palm.gateways import HttpWorker, wsgi_app
from palm.gateways.http import Gateway, Limits
from tests.gateways.web import TOKEN, Caller, WebServer
from tests.support.cluster import ThreadCluster

Serve = Callable[..., Caller]
Run = Callable[..., WebServer]


# The gateway


@pytest.mark.parametrize("path", ["/__class__", "/stop", "/set", "/note.__globals__", "/../note"])
def test_a_path_is_no_function_because_somebody_asks_for_it(gateway: Serve, path: str) -> None:
    def note(value: Any) -> Any:
        raise AssertionError("called")

    got = gateway(note)(path, 1)
    assert got.status in (400, 404)


def test_an_image_of_a_foreign_page_calls_nothing(gateway: Serve) -> None:
    calls: list[Any] = []

    def note(value: Any) -> None:
        calls.append(value)

    call = gateway(note)
    assert call.ask("GET", "/note").status == 405
    assert call.ask("GET", "/foo.note?x=1").status == 405
    # even where a page can make a browser POST, without asking before
    assert call.ask("POST", "/note", b"1", Content_Type="text/plain").status == 415
    assert calls == []


def test_no_host_is_not_every_host() -> None:
    with pytest.raises(ConfigError):
        Gateway("foo", "", token=TOKEN).open()
    assert Gateway("foo", token=TOKEN)._host == "127.0.0.1"


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "1x", "0x10"])
def test_a_length_is_not_believed(gateway: Serve, length: str) -> None:
    call = gateway(len)
    with call.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(call.request("/len", b"", Content_Length=length))
        assert answers.readline().split()[1] in (b"400", b"413")
    assert call("/len", "abc").value == 3


def test_a_lost_message_pins_no_thread(gateway: Serve) -> None:
    go_on = threading.Event()

    def lose(value: Any) -> None:
        go_on.wait(30)

    call = gateway(lose, limits=Limits(timeout=0.3))
    threads = threading.active_count()
    connections = [call.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(call.request("/lose", b"1"))
    for connection in connections:
        with connection:
            assert connection.recv(12) == b"HTTP/1.1 504"
    assert threading.active_count() <= threads
    go_on.set()


def test_what_is_not_found_is_said_to_be_so(gateway: Serve) -> None:
    call = gateway(len)
    assert call("/nothing", "abc").error == "FunctionNotFound"
    assert call("/len", "abc").value == 3


# The part for workers


def test_nothing_is_said_before_the_request_was_read(web: Run) -> None:
    calls: list[Any] = []
    call = Caller(web(wsgi_app({"note": calls.append}, token=TOKEN)).url)
    assert call.ask("POST", "/note", b"{", Content_Type="application/json").status == 400
    assert call.ask("POST", "/note", b"x", Content_Type="application/x-palm-batch").status == 400
    assert calls == []


def test_a_request_without_a_length_is_one_without_a_body(web: Run) -> None:
    call = Caller(web(wsgi_app({"len": len}, token=TOKEN)).url)
    with call.connect() as connection, connection.makefile("rb") as answers:
        head = call.request("/len", b"", Content_Type="").replace(b"Content-Length: 0\r\n", b"")
        connection.sendall(head)
        answer = answers.read()
    assert b" 200 " in answer.splitlines()[0] and answer.endswith(b"\r\n\r\n0")


# The part that posts


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    cluster: ThreadCluster, mute: int
) -> None:
    cluster.master()
    url = f"http://127.0.0.1:{mute}"
    cluster.serve(HttpWorker("w", "foo", url, ["double"], retries=0, timeout=0.2, token=TOKEN))
    with pytest.raises(TaskError, match=r"HttpError: no answer within 0\.2 s"):
        cluster.client().eval("foo.double", 1)


def test_each_message_of_a_batch_has_its_own_outcome(cluster: ThreadCluster, web: Run) -> None:
    def half(value: int) -> int:
        if value % 2:
            raise ValueError(value)
        return value // 2

    server = web(wsgi_app({"half": half}, token=TOKEN))
    cluster.master()
    cluster.serve(HttpWorker("w", "foo", server.url, ["half"], token=TOKEN))
    client = cluster.client()
    found = list(client.job("foo.half", range(1000), ordered=True, errors="return"))
    assert found[::2] == list(range(500))
    assert [error.text for error in found[1::2]] == [str(n) for n in range(1, 1000, 2)]
    assert list(client.job("foo.half", [])) == []
    assert len(server.requests) < 500
