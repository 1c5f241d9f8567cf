"""Both ends of HTTP for tests: who calls, and a server of the standard library."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tests.support.cluster import Served

TOKEN = "a-token-for-tests-0123456789"
JSON = "application/json"
RAW = "application/octet-stream"


@dataclass
class Got:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        """What JSON says."""
        assert self.headers["content-type"] == JSON, self.headers
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The type of the error, which must look as all errors do."""
        (found,) = self.value.values()
        assert set(self.value) == {"error"} and set(found) == {"type", "text"}
        assert "Traceback" not in found["text"] and "palm/" not in found["text"]
        return str(found["type"])


@dataclass
class Caller:
    """Calls what is at a URL."""

    url: str
    token: str | None = TOKEN
    served: Served | None = None
    timeout: float = 20.0
    address: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.address = (str(parts.hostname), int(parts.port or 0))

    def __call__(self, path: str, value: Any = None, **headers: str) -> Got:
        """Call a function with a value."""
        body = json.dumps(value).encode()
        return self.ask("POST", path, body, **{"Content_Type": JSON, **headers})

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """Send any request; names of headers have underscores for hyphens."""
        connection = HTTPConnection(*self.address, timeout=self.timeout)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and "Authorization" not in given:
            given["Authorization"] = f"Bearer {self.token}"
        try:
            with suppress(BrokenPipeError):  # it may be refused before all of it is sent
                connection.request(method, path, body, given, encode_chunked=True)
            response = connection.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return Got(response.status, found, response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection(self.address, timeout=self.timeout)

    def request(self, path: str, body: bytes, **headers: str) -> bytes:
        """Return the bytes of a request."""
        lines = {
            "Host": f"{self.address[0]}:{self.address[1]}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 128


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class WebServer:
    """A WSGI application on a server of the standard library, in threads; it counts requests."""

    def __init__(self, application: Any, port: int = 0) -> None:
        self.application = application
        self.requests: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Quiet)
        self._server.set_app(self._count)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _count(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._lock:
            self.requests.append(environ["PATH_INFO"])
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            found: Iterable[bytes] = self.application(environ, start_response)
            return found
        finally:
            with self._lock:
                self._at_once -= 1

    def close(self) -> None:
        """End it; harmless when it has ended."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
