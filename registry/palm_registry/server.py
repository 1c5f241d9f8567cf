"""The HTTP server: how many connections it holds, how long it waits for them, how it goes on.

A connection is *idle* while no whole head of a request has come on it: between two requests, but
also while somebody sends one byte a minute. When there is no room for another connection the one
that has been idle for longest goes; only if none is idle the new one is turned away, and told so.

A server that is to go on in another process hands over its listening sockets and the idle
connections as they are: what is sent there meanwhile waits in the kernel for the next one.
"""

from __future__ import annotations

import asyncio
import copy
import resource
import socket
import ssl
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.web import Application

from palm.registry_api.schema import API, API_HEADER, ErrorBody, ErrorDetail

__all__ = ["Server", "most_connections", "raise_descriptors"]

#: Bytes of a request: the largest is a batch of output.
MAX_BODY = 16 * 1024 * 1024
MAX_HEADER = 16 * 1024
#: Seconds for the first head of a connection, for a body, and between two requests.
HEADER_TIMEOUT = 10.0
BODY_TIMEOUT = 30.0
IDLE_TIMEOUT = 120.0
#: Seconds for the rest of a body that nobody wants, and the size that it may have.
REFUSED_TIMEOUT = 2.0
ENDLESS = 1 << 62
#: Connections at most, whatever the system allows: each needs memory, too.
MAX_CONNECTIONS = 8192
#: Descriptors for all else: the database, files, what is being turned away.
KEPT = 128
#: Connections that wait to be accepted, as they do while the registry starts anew.
BACKLOG = 1024
#: Connections that are on their way out at once, and seconds for each to go.
_LEAVING = 32
_LEAVE_WITHIN = 1.0
#: Seconds for a handshake, and for the first request behind it, when the registry ends.
_ARRIVING = 1.0
_LOOK = 0.05
_MOST_DESCRIPTORS = 1 << 20


def _error(code: str, text: str, hint: str) -> bytes:
    return msgspec.json.encode(ErrorBody(error=ErrorDetail(code=code, text=text, hint=hint)))


_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    API_HEADER: str(API),
}
_BUSY = _error("busy", "the registry has no room for another connection", "try again in a moment")
_FULL = (
    "".join(
        f"{line}\r\n"
        for line in (
            "HTTP/1.1 503 Service Unavailable",
            *(f"{name}: {value}" for name, value in _HEADERS.items()),
            "Retry-After: 1",
            "Connection: close",
            f"Content-Length: {len(_BUSY)}",
            "",
        )
    ).encode()
    + _BUSY
)
_TOO_LARGE = _error("too-large", f"a request may have up to {MAX_BODY} bytes", "send less at once")


def raise_descriptors() -> int:
    """Let this process have as many descriptors as it may; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _MOST_DESCRIPTORS) if hard != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a system that has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def most_connections(descriptors: int) -> int:
    """Return how many connections a process with so many descriptors can hold."""
    return max(1, min(MAX_CONNECTIONS, descriptors - min(KEPT, descriptors // 2)))


@dataclass(eq=False, slots=True)
class _Line:
    """A connection. ``busy``: a request is being worked on; ``served``: heads that have come."""

    stream: IOStream
    busy: bool = False
    served: int = 0
    began: float = field(default_factory=monotonic)

    @property
    def is_under_way(self) -> bool:
        """Whether there is something to finish, or a head that was read and not yet looked at."""
        return self.busy or not (self.stream.reading() or self.stream.closed())

    @property
    def is_arriving(self) -> bool:
        """Whether it has come a moment ago, and may be in the middle of a handshake."""
        return not self.served and monotonic() - self.began < _ARRIVING


class Server(HTTPServer):
    """Serves an application, with all the limits of this module."""

    def initialize(  # type: ignore[override]
        self, application: Application, tls: ssl.SSLContext | None, most: int
    ) -> None:
        """Set it up; Tornado calls this with the arguments of the constructor."""
        super().initialize(
            application,
            ssl_options=tls,
            max_body_size=MAX_BODY,
            max_buffer_size=MAX_BODY + MAX_HEADER,
            max_header_size=MAX_HEADER,
            body_timeout=BODY_TIMEOUT,
            idle_connection_timeout=IDLE_TIMEOUT,
        )
        self._first = copy.copy(self.conn_params)
        self._first.header_timeout = HEADER_TIMEOUT
        self._most = most
        #: By age; who becomes idle goes to the end.
        self._lines: dict[IOStream, _Line] = {}
        self._followers: set[IOStream] = set()
        self._leaving: set[asyncio.Future[None]] = set()
        self._listening: list[socket.socket] = []
        self._handed: list[socket.socket] | None = None
        self._calm = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many there are."""
        self._followers = {stream for stream in self._followers if not stream.closed()}
        return len(self._lines) + len(self._followers)

    @property
    def most(self) -> int:
        """How many there may be."""
        return self._most

    # ---- connections

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Begin to accept."""
        self._listening = list(sockets)
        super().add_sockets(self._listening)

    def take(self, connection: socket.socket) -> None:
        """Go on with an idle connection of another process."""
        stream = IOStream(connection, max_buffer_size=self.max_buffer_size)
        self.handle_stream(stream, connection.getpeername())

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection, or turn it away."""
        if self.connections >= self._most and not self._drop_idle():
            self._turn_away(stream)
            return
        self._lines[stream] = _Line(stream)
        super().handle_stream(stream, address)

    def _drop_idle(self) -> bool:
        stream = next((line.stream for line in self._lines.values() if not line.busy), None)
        if stream is None:
            return False
        del self._lines[stream]
        stream.close()
        return True

    def _turn_away(self, stream: IOStream) -> None:
        # With TLS a handshake would have to come first.
        if self.ssl_options is not None or len(self._leaving) >= _LEAVING:
            stream.close()
            return
        task = asyncio.ensure_future(_say_full(stream))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    # ---- requests

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Wait for the next request of a connection; Tornado calls this."""
        assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101 - for the type
        assert isinstance(request_conn, HTTP1Connection)  # noqa: S101 - likewise
        stream = server_conn.stream
        line = self._lines.pop(stream, None) or _Line(stream)
        if not stream.closed():
            self._lines[stream] = line
        line.busy = False
        if not line.served:
            request_conn.params = self._first
        inner = super().start_request(server_conn, request_conn)
        if self._handed is not None:
            self._hand(line)
            self._look()
        return _Watched(inner, line, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Note that a connection is over, or that it has become one of a live feed."""
        assert isinstance(server_conn, HTTP1ServerConnection)  # noqa: S101 - for the type
        stream = server_conn.stream
        self._lines.pop(stream, None)
        if not stream.closed():
            self._followers.add(stream)
        super().on_close(server_conn)
        self._look()

    # ---- the end

    async def finish(self, within: float) -> None:
        """Accept nothing any more, let what is under way end, and close all."""
        self.stop()
        self._handed = []
        self._hand_idle()
        await self._wait(within)
        for connection in self._handed:
            connection.close()
        await self._close()

    async def hand_over(self, within: float) -> list[socket.socket]:
        """Do the same, but return what another process is to go on with, still open.

        Those are what listens and, without TLS, the idle connections; what is not idle after
        `within` seconds is closed.
        """
        self._handed = [each.dup() for each in self._listening]
        self.stop()
        self._hand_idle()
        await self._wait(within)
        await self._close()
        return self._handed

    def _hand_idle(self) -> None:
        for line in list(self._lines.values()):
            if not line.is_under_way:
                self._hand(line)

    def _hand(self, line: _Line) -> None:
        """Keep an idle connection for another process; one that has sent half a head stays."""
        stream = line.stream
        if stream.closed() or getattr(stream, "_read_buffer_size", True):
            return
        if self.ssl_options is not None and line.is_arriving:
            return
        if self.ssl_options is None and self._handed is not None:
            self._handed.append(stream.socket.dup())
        self._lines.pop(stream, None)
        stream.close()

    async def _wait(self, within: float) -> None:
        """Wait until nothing is under way."""
        end = monotonic() + within
        self._look()
        while not self._calm.is_set() and monotonic() < end:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._calm.wait(), _LOOK)
            self._look()

    def _look(self) -> None:
        if self._handed is None:
            return
        lines = self._lines.values()
        tls = self.ssl_options is not None
        if not any(line.is_under_way or (tls and line.is_arriving) for line in lines):
            self._calm.set()

    async def _close(self) -> None:
        await self.close_all_connections()
        leaving = list(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)


class _Watched(HTTPMessageDelegate):
    """A request that the server knows of once its head has come."""

    def __init__(
        self, inner: HTTPMessageDelegate, line: _Line, connection: HTTP1Connection
    ) -> None:
        self._inner = inner
        self._line = line
        self._connection = connection
        self._too_large = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._line.busy = True
        self._line.served += 1
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > MAX_BODY:
            self._refuse()
            return None
        return self._inner.headers_received(start_line, headers)

    def _refuse(self) -> None:
        """Say at once that it is too large; it ends only when all has come, or it takes long.

        A connection that is closed while somebody sends is reset, and with it goes the answer.
        """
        self._too_large = True
        self._connection.set_max_body_size(ENDLESS)
        self._connection.set_body_timeout(REFUSED_TIMEOUT)
        start = ResponseStartLine("HTTP/1.1", 413, "Content Too Large")
        headers = HTTPHeaders({**_HEADERS, "Content-Length": str(len(_TOO_LARGE))})
        self._connection.write_headers(start, headers, _TOO_LARGE)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._too_large else self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._too_large:
            self._connection.finish()
        else:
            self._inner.finish()

    def on_connection_close(self) -> None:
        if not self._too_large:
            self._inner.on_connection_close()


async def _say_full(stream: IOStream) -> None:
    """Say that there is no room, and take what was sent meanwhile.

    A connection that is closed with something unread is reset, and with it goes the answer.
    """
    try:
        with suppress(OSError, TimeoutError):
            stream.socket.send(_FULL)
            stream.socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LEAVE_WITHIN):
                while await stream.read_bytes(65536, partial=True):
                    pass
    finally:
        stream.close()
