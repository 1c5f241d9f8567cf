"""A worker that posts: what it serves, and that no message is lost, or hangs, or runs twice."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from palm.errors import (
    AuthenticationError,
    ConfigError,
    DeadlineExceeded,
    FunctionNotFound,
    TaskError,
    WorkerLost,
)
from palm.gateways import HttpWorker, wsgi_app
from palm.gateways.body import CONTENT
from tests.gateways.web import TOKEN, WebServer
from tests.support.cluster import ProcessCluster, Served, ThreadCluster, until

Run = Callable[..., WebServer]


def double(value: Any) -> Any:
    return 2 * value


def app(*functions: Callable[[Any], Any], **options: Any) -> Any:
    return wsgi_app({f.__name__: f for f in functions}, token=TOKEN, **options)


def serve(cluster: ThreadCluster, url: str, *functions: str, **options: Any) -> Served:
    given: dict[str, Any] = {"token": TOKEN, "name": "web", **options}
    return cluster.serve(HttpWorker(master="foo", url=url, functions=functions or None, **given))


class Turned:
    """An application that turns some requests away before it lets any through."""

    def __init__(self, application: Any, statuses: Iterable[str], **headers: str) -> None:
        self.application = application
        self.statuses = list(statuses)
        self.headers = headers
        self.seen: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("CONTENT_TYPE") == CONTENT and self.statuses:
            status = self.statuses.pop(0)
            self.seen[status] += 1
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            start_response(status, [*self.headers.items(), ("Content-Length", "0")])
            return [b""]
        found: Iterable[bytes] = self.application(environ, start_response)
        return found


# What it serves


def test_a_job_runs_behind_a_url(cluster: ThreadCluster, web: Run) -> None:
    server = web(app(double, len))
    cluster.master()
    worker = serve(cluster, server.url, pool=2).component
    client = cluster.client()
    assert client.wait_for_workers(2, 10) == 2
    assert worker.functions == ["double", "len"]  # type: ignore[attr-defined]
    values = list(range(5000))
    assert list(client.job("foo.double", values, ordered=True)) == [2 * v for v in values]
    assert client.eval("foo.len", "abc") == 3
    frame = client.job("foo.double", range(10)).to_frame()
    assert set(frame.worker) <= {"web", "web-1"}
    assert (frame.duration > 0).all()


def test_only_the_functions_that_it_is_told(cluster: ThreadCluster, web: Run) -> None:
    cluster.master()
    serve(cluster, web(app(double, len)).url, "double")
    client = cluster.client()
    assert client.eval("foo.double", 2) == 4
    with pytest.raises(TaskError, match="len"):
        client.eval("foo.len", "abc")


def test_values_come_back_as_they_were_with_pickles_that_are_allowed(
    cluster: ThreadCluster, web: Run
) -> None:
    def identity(value: Any) -> Any:
        return value

    cluster.master()
    serve(cluster, web(app(identity, allow_pickle=True)).url, allow_pickle=True)
    client = cluster.client()
    values = [(1, 2), {3}, 2**100, b"x" * 300_000, None, {"a": [1.5]}]
    assert list(client.job("foo.identity", values, ordered=True)) == values


@pytest.mark.parametrize("here", [False, True])
def test_pickles_that_one_end_does_not_allow_are_refused(
    cluster: ThreadCluster, web: Run, here: bool
) -> None:
    def pair(value: Any) -> Any:
        return (value, value)

    cluster.master()
    server = web(app(double, pair, allow_pickle=not here))
    serve(cluster, server.url, allow_pickle=here)
    client = cluster.client()
    with pytest.raises(TaskError, match="PickleRefused"):
        client.eval("foo.double", {1, 2})
    with pytest.raises(TaskError, match="takes a pickle"):
        client.eval("foo.pair", 1)
    assert client.eval("foo.double", 2) == 4


def test_no_more_posts_at_once_than_there_may_be(cluster: ThreadCluster, web: Run) -> None:
    both = threading.Barrier(3, timeout=20)

    def meet(value: int) -> int:
        if value < 3:  # one for each, as nothing is known of the function yet; others go in pairs
            both.wait()
        return value

    cluster.master()
    server = web(app(meet))
    serve(cluster, server.url, pool=3)
    client = cluster.client()
    client.wait_for_workers(3, 10)
    assert sorted(client.job("foo.meet", range(12))) == list(range(12))
    assert server.most_at_once == 3


def test_a_function_that_the_server_does_not_have_any_more(
    cluster: ThreadCluster, web: Run
) -> None:
    cluster.master()
    serve(cluster, web(app(double)).url, "double", "gone")
    client = cluster.client()
    with pytest.raises(FunctionNotFound, match="no function 'gone' is served here"):
        client.eval("foo.gone", 1)
    assert client.eval("foo.double", 2) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""}, {"url": "ftp://host"}, {"url": "http://"}, {"url": "http://host:x"},
        {"url": "http://user:secret@host"}, {"url": "http://host?a=b"}, {"pool": 0},
        {"retries": -1}, {"timeout": 0.0}, {"timeout": float("nan")}, {"functions": []},
        {"functions": ["_f"]}, {"token": "short"},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(cluster: ThreadCluster, options: dict[str, Any]) -> None:
    given = {"master": "foo", "url": "http://127.0.0.1:1", "functions": ["double"], **options}
    with pytest.raises(ConfigError):
        HttpWorker("web", **given).start()


def test_a_token_that_is_wrong_ends_it(cluster: ThreadCluster, web: Run) -> None:
    cluster.master()
    worker = HttpWorker("w", "foo", web(app(double)).url, token="not-the-right-one")
    with pytest.raises(AuthenticationError, match="does not let us in: 401"):
        worker.start()


def test_a_url_of_something_else_ends_it(cluster: ThreadCluster, web: Run) -> None:
    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"hi"]

    cluster.master()
    worker = HttpWorker("w", "foo", web(other).url, token=TOKEN)
    with pytest.raises(ConfigError, match="does not say what is served"):
        worker.start()


def test_without_a_master_it_ends_with_the_error_of_a_worker(
    cluster: ThreadCluster, web: Run
) -> None:
    worker = HttpWorker("w", None, web(app(double)).url, token=TOKEN)
    with pytest.raises(ConfigError, match="does not know its master"):
        worker.start()


def test_it_can_be_stopped_while_it_waits_for_the_server(cluster: ThreadCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    began = time.monotonic()
    serve(cluster, f"http://127.0.0.1:{port}").stop()
    assert time.monotonic() - began < 5


# When the server does not answer


def test_it_tries_again(cluster: ThreadCluster, web: Run) -> None:
    statuses = ["503 x", "502 x", "504 x"]
    turned = Turned(app(double), statuses)
    cluster.master()
    serve(cluster, web(turned).url, pool=1)
    assert cluster.client().eval("foo.double", 2) == 4
    assert turned.seen == dict.fromkeys(["503 x", "502 x", "504 x"], 1)


def test_what_it_cannot_do_now_others_do(cluster: ThreadCluster, web: Run) -> None:
    turned = Turned(app(double), ["503 Busy"] * 1000)
    cluster.master()
    serve(cluster, web(turned).url, pool=1, retries=1)
    client = cluster.client()
    client.wait_for_workers(1, 10)
    job = client.job("foo.double", range(100), ordered=True)
    until(lambda: turned.seen["503 Busy"] >= 2, what="it has tried again")
    cluster.worker({"double": double}, "other")
    assert list(job) == [2 * n for n in range(100)]
    assert set(job.to_frame().attempts) == {1}


def test_it_comes_back_when_the_server_does(cluster: ThreadCluster, web: Run) -> None:
    server = web(app(double))
    cluster.master()
    serve(cluster, server.url, pool=2, retries=1)
    client = cluster.client()
    assert client.eval("foo.double", 1) == 2
    server.close()
    job = client.job("foo.double", range(100), ordered=True)
    assert not job.wait(0.5)
    web(app(double), server.port)
    assert list(job) == [2 * n for n in range(100)]


def test_a_server_that_comes_later_is_waited_for(cluster: ThreadCluster, web: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    cluster.master()
    serve(cluster, f"http://127.0.0.1:{port}")
    job = cluster.client().job("foo.double", [4])
    web(app(double), port)
    assert list(job) == [8]


def test_a_call_that_takes_too_long_for_its_message(cluster: ThreadCluster, web: Run) -> None:
    go_on = threading.Event()

    def wait(value: Any) -> Any:
        return value or go_on.wait(30)

    cluster.master()
    serve(cluster, web(app(wait)).url, pool=1)
    found = list(
        cluster.client().job("foo.wait", [1, 0, 2], timeout=0.3, ordered=True, errors="return")
    )
    go_on.set()
    assert (found[0], found[2]) == (1, 2)
    assert isinstance(found[1], DeadlineExceeded)


def test_a_message_that_takes_the_server_down_has_an_outcome_and_the_others_theirs(
    cluster: ThreadCluster,
) -> None:
    with Dying(lambda body: b"poison" in body) as server:
        cluster.master()
        serve(cluster, server.url, "identity", pool=1, retries=1)
        job = cluster.client().job(
            "foo.identity", [b"a", b"b", b"poison", b"c"], ordered=True, errors="return"
        )
        found = list(job)
    assert found[:2] + found[3:] == [b"a", b"b", b"c"]
    assert isinstance(found[2], TaskError)
    assert (found[2].type, "2 times" in found[2].text) == ("HttpError", True)


def test_what_may_run_only_once_is_not_posted_twice(cluster: ThreadCluster) -> None:
    with Dying(lambda body: b"poison" in body) as server:
        cluster.master()
        serve(cluster, server.url, "identity", pool=1)
        client = cluster.client()
        (found,) = client.job("foo.identity", [b"poison"], at_most_once=True, errors="return")
        assert isinstance(found, WorkerLost)
        assert client.eval("foo.identity", b"x") == b"x"
    assert sum(b"poison" in body for body in server.bodies) == 1


def test_a_message_that_the_server_does_not_take(cluster: ThreadCluster, web: Run) -> None:
    cluster.master()
    serve(cluster, web(app(len, max_body=100_000)).url, pool=1, retries=0)
    client = cluster.client()
    found = list(client.job("foo.len", [b"a", bytes(3_000_000), b"abc"], ordered=True,
                            errors="return"))  # fmt: skip
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], Exception)
    assert type(found[1]).__name__ in ("PayloadTooLarge", "TaskError")


@pytest.mark.parametrize("answer", [b"", b"hello", b"PLM1", b"PLM1\xff\xff\xff\xff"])
def test_an_answer_that_cannot_be_read_is_an_error(
    cluster: ThreadCluster, web: Run, answer: bytes
) -> None:
    def garbled(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    cluster.master()
    serve(cluster, web(garbled).url, "double", pool=1)
    with pytest.raises(TaskError, match="HttpError: an answer that cannot be read"):
        cluster.client().eval("foo.double", 1)


def test_it_stops_though_the_server_says_nothing(cluster: ThreadCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        cluster.master()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        served = serve(cluster, url, "double", pool=1, timeout=60.0)
        job = cluster.client().job("foo.double", [1])
        connection, _ = mute.accept()
        began = time.monotonic()
        served.stop(0.2)
        assert time.monotonic() - began < 5
        connection.close()
        cluster.worker({"double": double}, "other")
        assert list(job) == [2]


class Dying:
    """A server that serves ``identity``, and closes the connection when a body displeases it."""

    def __init__(self, dies: Callable[[bytes], bool]) -> None:
        self.bodies: list[bytes] = []
        self._dies = dies
        application = wsgi_app({"identity": lambda value: value}, token=TOKEN)
        self._server = WebServer(self._serve(application))
        self.url = self._server.url

    def _serve(self, application: Any) -> Any:
        def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            stream = environ["wsgi.input"]
            if environ["REQUEST_METHOD"] == "POST":
                body = stream.read(int(environ["CONTENT_LENGTH"]))
                self.bodies.append(body)
                if self._dies(body):
                    stream.raw._sock.shutdown(socket.SHUT_RDWR)
                    raise ConnectionAbortedError
                environ["wsgi.input"] = io.BytesIO(body)
            found: Iterable[bytes] = application(environ, start_response)
            return found

        return serve

    def __enter__(self) -> Dying:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.close()


# With processes

WEB = """
import os, sys, time
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, WSGIRequestHandler, make_server
from palm.gateways import wsgi_app

def slow(value):
    with open("calls", "a") as file:
        file.write(f"{value}\\n")
    time.sleep(0.005)
    return 2 * value

class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Quiet(WSGIRequestHandler):
    def log_message(self, *args): pass

app = wsgi_app({"slow": slow}, token=os.environ["TOKEN"])
server = make_server("127.0.0.1", int(os.environ["PORT"]), app, Server, Quiet)
print("listens at", server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_job_costs_no_message_its_outcome(
    cluster: ThreadCluster, processes: ProcessCluster, tmp_path: Path
) -> None:
    server = processes.run(WEB, PORT="0", TOKEN=TOKEN)
    port = server.wait_for_line("listens at").split()[-1]
    cluster.master()
    serve(cluster, f"http://127.0.0.1:{port}", pool=4)
    client = cluster.client()
    client.wait_for_workers(4, 10)
    job = client.job("foo.slow", range(1000), ordered=True)
    for done in (50, 150):
        until(lambda done=done: job.progress.done >= done, within=30)
        server.process.kill()
        server.wait()
        server = processes.run(WEB, PORT=port, TOKEN=TOKEN)
        server.wait_for("listens at")
    assert list(job) == [2 * n for n in range(1000)]
    calls = Counter((tmp_path / "calls").read_text().split())
    assert len(calls) == 1000
    assert sum(calls.values()) < 1200  # those that were with the server, and not all of them
