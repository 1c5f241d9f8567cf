"""The client: what it repeats, what it reports, and that it is light."""

from __future__ import annotations

import http.server
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from palm.errors import ConfigError, RegistryError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient, Unreachable
from tests.support.registry import RegistryThread, piece, spec


@pytest.fixture
def registry(palm_home: Path) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home).start()
    yield running
    running.stop()


class Script(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, one answer a request; None: hang up."""

    protocol_version = "HTTP/1.1"
    answers: list[tuple[int, bytes] | None]
    requests: list[tuple[str, str]]

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.requests.append((self.command, self.path))
        answer = self.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(answer[1])))
        self.send_header(schema.API_HEADER, str(schema.API))
        self.end_headers()
        self.wfile.write(answer[1])

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the library calls them so

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


class Scripted:
    def __init__(self) -> None:
        self.handler = type("Handler", (Script,), {"answers": [], "requests": []})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/under/a/prefix"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def scripted() -> Iterator[Any]:
    server = Scripted()
    yield server
    server.close()


OK = (200, b"[]")
BUSY = (503, b'{"error":{"code":"busy","text":"later"}}')


def test_it_works_under_any_prefix(scripted: Any) -> None:
    scripted.handler.answers += [OK]
    with RegistryClient(scripted.url, "t") as client:
        assert client.cluster_list() == []
    assert scripted.handler.requests == [("GET", "/under/a/prefix/api/clusters")]


def test_what_may_be_repeated_is_until_there_is_an_answer(scripted: Any) -> None:
    scripted.handler.answers += [None, BUSY, None, OK]
    with RegistryClient(scripted.url, "t", retry=5.0) as client:
        assert client.send_output("c", []) == []
    assert len(scripted.handler.requests) == 4


def test_what_may_not_be_repeated_is_not(scripted: Any) -> None:
    scripted.handler.answers += [None, None]
    with RegistryClient(scripted.url, "t", retry=5.0) as client:
        with pytest.raises(Unreachable):
            client.restart("c", "a")
        with pytest.raises(Unreachable):
            client.heartbeat("c", "n", schema.Heartbeat())
    assert len(scripted.handler.requests) == 2


def test_a_registry_that_is_away_for_longer_is_told(scripted: Any) -> None:
    scripted.handler.answers += [BUSY] * 50
    client = RegistryClient(scripted.url, "t", retry=0.2)
    with client, pytest.raises(Refused, match="later"):
        client.cluster_list()
    with RegistryClient("http://127.0.0.1:1/", "t", retry=0.2) as client:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
            client.cluster_list()
        assert 0.2 <= time.monotonic() - began < 2.0


def test_a_connection_that_was_closed_meanwhile_is_replaced(scripted: Any) -> None:
    scripted.handler.answers += [OK, OK]
    with RegistryClient(scripted.url, "t", retry=0.0) as client:
        client.cluster_list()
        scripted.close()
        port = scripted.server.server_port
        again = Scripted.__new__(Scripted)
        again.handler = scripted.handler
        again.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), again.handler)
        again.thread = threading.Thread(target=again.server.serve_forever, args=(0.01,))
        again.thread.start()
        client.cluster_list()
        again.close()
        scripted.thread = threading.Thread(target=scripted.server.serve_forever)
    scripted.close = lambda: None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"error": 3}', b'{"error":{"code":"x","text":"y"}}']
)
def test_any_error_of_any_server_is_ours(scripted: Any, body: bytes) -> None:
    scripted.handler.answers += [(500, body)]
    with RegistryClient(scripted.url, "t") as client, pytest.raises(RegistryError):
        client.cluster_list()


def test_an_answer_that_makes_no_sense_is_ours_too(scripted: Any) -> None:
    scripted.handler.answers += [(200, b'{"a": 1}')]
    with RegistryClient(scripted.url, "t") as client, pytest.raises(RegistryError, match="sense"):
        client.cluster_list()


def test_the_token_goes_nowhere_but_into_its_header(scripted: Any) -> None:
    scripted.handler.answers += [(404, b"")]
    with RegistryClient(scripted.url, "a-secret") as client:
        with pytest.raises(RegistryError) as caught:
            client.view_cluster("c")
        assert "a-secret" not in f"{client!r} {caught.value!r} {scripted.handler.requests}"


def test_errors_survive_pickling() -> None:
    detail = schema.ErrorDetail(code="gap", text="text", hint="hint", data={"a": 1})
    error = pickle.loads(pickle.dumps(Refused(409, detail)))
    assert (error.status, error.code, error.hint, error.data) == (409, "gap", "hint", {"a": 1})
    assert str(error) == "text (hint)"


@pytest.mark.parametrize("url", ["", "ftp://x/", "127.0.0.1:80", "http:///"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        RegistryClient(url, "t")


def test_many_threads_share_a_client(registry: RegistryThread) -> None:
    with registry.client() as client:
        client.create_cluster("c")
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    offset = client.send_output("c", [piece(turn, b"x", f"i.{number}")])
                    assert offset[0].durable_offset == turn + 1
            except (RegistryError, AssertionError) as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(client.output("c", limit=1000).records) == 80


def test_a_wrong_token_is_refused_at_once(registry: RegistryThread) -> None:
    with RegistryClient(registry.url, "wrong", retry=30.0) as client:
        with pytest.raises(Refused) as caught:
            client.cluster_list()
        assert (caught.value.status, caught.value.code) == (401, "token")
        with client.live("c") as feed, pytest.raises(RegistryError, match="401"):
            feed.next_frame(10)


def test_a_component_that_cannot_be_is_a_config_error(registry: RegistryThread) -> None:
    with registry.client() as client:
        client.create_cluster("c")
        with pytest.raises(ConfigError) as caught:
            client.declare("c", spec("a", needs=["b"]))
        assert caught.value.key == "needs"


def test_names_cannot_lead_elsewhere(registry: RegistryThread) -> None:
    with registry.client() as client:
        for name in ("../x", "a/b", "?x=1", "%2e%2e", "c#x", ""):
            with pytest.raises(RegistryError):
                client.view_cluster(name)


def test_importing_it_loads_neither_tornado_nor_asyncio() -> None:
    program = "import sys, palm.registry_api.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"tornado", "asyncio", "sqlalchemy", "pandas", "zmq", "multiprocessing"}


def test_older_and_newer_ends_understand_one_another() -> None:
    more = b'{"name":"a","component":"a","unheard_of":1}'
    assert msgspec.json.decode(more, type=schema.ReplicaStatus).name == "a"
    frame = schema.Frame(topic="output", cursor="c", data=[])
    assert schema.read_frame(msgspec.json.encode(frame)) == frame
    with pytest.raises(msgspec.DecodeError):
        schema.read_frame(b'{"topic":"gossip","cursor":"c","data":1}')
