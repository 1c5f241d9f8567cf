"""The gateway: functions of one server for whoever speaks HTTP and has the token."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress
from logging import INFO, WARNING
from pathlib import Path
from shlex import quote
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    SHUT_WR,
    SOCK_STREAM,
    create_server,
    gaierror,
    getaddrinfo,
    socket,
    socketpair,
)
from typing import Any, ClassVar, Final

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import IOStream

from palm.clients import Client
from palm.errors import ConfigError, PalmError, TransportError
from palm.gateways.access import Access, make_token, read_token
from palm.gateways.answers import JSON, Answer, failure_answer
from palm.gateways.exchange import Door, Exchange, Limits
from palm.runtime.component import Component
from palm.spec.endpoint import is_loopback
from palm.transport import descriptors

__all__ = ["Gateway", "Limits"]

#: Bytes of the headers of a request.
MAX_HEADER: Final = 16 * 1024

#: Connections that wait to be taken.
BACKLOG: Final = 1024

#: Seconds that one which was turned away has to read why, and how many may do so at once.
LEAVE_WITHIN: Final = 1.0
MAX_LEAVING: Final = 64

#: Descriptors that are left to everything but callers.
KEPT: Final = 128

#: Seconds for which it is taken for granted that the server answers, or does not; how long it has.
HEALTH_FRESH: Final = 1.0
HEALTH_WITHIN: Final = 1.0


class Gateway(Component):
    """Calls functions of a server for HTTP clients: ``POST /<function>``.

    Every request is one message, and thousands may be under way: none has a thread.

    Parameters
    ----------
    server
        The name of the master.
    host, port
        Where to listen; port 0: any free one. Beyond this machine only with TLS.
    token, token_file
        What callers have to send, or the file that has it. Without either it is made, and kept in
        the state folder; `token_file` says where.
    name
        Its own (``SERVER-gateway``).
    limits
        What callers may ask of it.
    certfile, keyfile
        For TLS.
    allow_hosts
        Further names, with their ports, by which callers may call it: of a proxy, say.
    db_address
        An address of the master; by default its name says where it is.
    connect_timeout
        Seconds that a request waits for a master before it is answered with 503.
    ready
        Called with the gateway once it listens, in place of the lines in the log.
    """

    role: ClassVar[str] = "gateway"

    def __init__(
        self,
        server: str,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        name: str = "",
        limits: Limits | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        allow_hosts: Collection[str] = (),
        db_address: str | None = None,
        connect_timeout: float = 5.0,
        log_level: int = INFO,
        ready: Callable[[Gateway], object] | None = None,
    ) -> None:
        super().__init__(name or f"{server}-gateway", log_level)
        if token is not None and token_file is not None:
            raise ConfigError("both a token and a file with one", key="token")
        if not 0 <= port < 1 << 16:
            raise ConfigError(f"port {port}", key="port", hint="0 to 65535")
        self.server = server
        self.token_file = Path(token_file) if token_file is not None else None
        self.url = ""
        self._host, self._port = host, port
        self._token = token
        self._limits = limits or Limits()
        self._tls = _tls(certfile, keyfile)
        self._allow_hosts = allow_hosts
        self._address = db_address
        self._connect_timeout = connect_timeout
        self._tell = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: list[socket] = []
        self._alarm: tuple[socket, socket] | None = None
        self._client: Client | None = None
        self._access: Access | None = None
        self._stop: asyncio.Event | None = None
        self._grace = 0.0
        self._asking: asyncio.Task[int] | None = None
        self._asked = 0.0
        self._looking: set[asyncio.Task[Answer]] = set()

    def _open(self) -> None:
        host = _where(self._host, self._tls is not None)
        descriptors.raise_limit()
        token = self._find_token()
        try:
            family = AF_INET6 if ":" in host else AF_INET
            listener = create_server((host, self._port), family=family, backlog=BACKLOG)
        except OSError as error:
            text = f"cannot listen at {self._host}:{self._port}: {error.strerror}"
            raise TransportError(text) from error
        listener.setblocking(False)
        self._sockets = [listener]
        port = listener.getsockname()[1]
        self.url = f"{self._scheme}://{_in_url(self._host)}:{port}/"
        self._access = Access(token, self._names(host, port))
        self._loop = loop = asyncio.new_event_loop()
        self._alarm = alarm = socketpair()
        for end in alarm:
            end.setblocking(False)
        loop.add_reader(alarm[0], _drain, alarm[0])
        self._stop = asyncio.Event()
        self._client = Client(
            self.server,
            self._address,
            logging_level=max(self.logger.level, WARNING),
            connect_timeout=self._connect_timeout,
        )
        self.endpoints = {"http": self.url}
        self.publish(master=self.server)
        if self._tell is not None:
            self._tell(self)
        else:
            self._say()

    @property
    def _scheme(self) -> str:
        return "http" if self._tls is None else "https"

    def _find_token(self) -> str:
        if self._token is not None:
            return self._token
        if self.token_file is None:
            self.token_file = make_token(self.folders, self.name)
        return read_token(self.token_file)

    def _names(self, address: str, port: int) -> set[str] | None:
        """Return what ``Host`` may be; None: anything, as we don't know how callers call us."""
        if not is_loopback(address):
            return {*self._allow_hosts} or None
        names = {"localhost", "127.0.0.1", "[::1]", _in_url(self._host)}
        default = 80 if self._tls is None else 443
        short = names if port == default else set()
        return {f"{name}:{port}" for name in names} | short | set(self._allow_hosts)

    def _say(self) -> None:
        self.logger.info("Listening at %s for functions of '%s'", self.url, self.server)
        header = ""
        if self.token_file is not None:
            self.logger.info("The token is in %s", self.token_file)
            header = f' -H "Authorization: Bearer $(cat {quote(str(self.token_file))})"'
        self.logger.info(
            "curl%s -H 'Content-Type: application/json' -d 'JSON' %sFUNCTION", header, self.url
        )

    def _serve(self) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        if self._client is None or self._access is None or self._stop is None:
            raise PalmError(f"'{self.name}' is not open")
        limits = self._limits
        door = Door(self._client, self._access, limits, self._scheme)
        door.health = self._health
        server = _Server(
            _Entrance(door),
            ssl_options=self._tls,
            max_body_size=1 << 62,  # the exchange counts, and says so in an answer
            max_buffer_size=MAX_HEADER + (1 << 20),
            max_header_size=MAX_HEADER,
            idle_connection_timeout=limits.idle,
            body_timeout=limits.sending,
        )
        server.most = max(1, min(limits.connections, descriptors.limit() - KEPT))
        server.add_sockets(self._sockets)
        await self._stop.wait()
        door.closing = True
        server.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(door.empty.wait(), max(self._grace, 0.001))
        door.clear()
        self._client.close()  # whoever waits for it need not wait any more
        if waiting := {*self._looking, *([self._asking] if self._asking else [])}:
            await asyncio.wait(waiting)
        await server.close_all_connections()
        await server.let_go()
        await asyncio.get_running_loop().shutdown_default_executor()

    def _health(self) -> asyncio.Future[Answer]:
        """Return the answer to come; the server is asked once for all who want to know it now."""
        loop = asyncio.get_running_loop()
        asking, fresh = self._asking, loop.time() - self._asked < HEALTH_FRESH
        if asking is None or (asking.done() and not fresh):
            asking = self._asking = loop.create_task(self._count_workers())
        looking = loop.create_task(self._look(asking))
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)
        return looking

    async def _count_workers(self) -> int:
        """Return how many there are, once there is one; 0: there is no server."""
        workers = 0
        with suppress(PalmError):
            if self._client is not None:
                workers = await asyncio.to_thread(self._client.wait_for_workers)
        self._asked = asyncio.get_running_loop().time()
        return workers

    async def _look(self, asking: asyncio.Task[int]) -> Answer:
        # Not ended when it takes too long: the server would have a question more each time.
        done, _ = await asyncio.wait({asking}, timeout=HEALTH_WITHIN)
        workers = asking.result() if done else 0
        found = {"server": self.server, "answers": workers > 0, "workers": workers}
        headers = {} if workers else {"Retry-After": "1"}
        return Answer(200 if workers else 503, json.dumps(found).encode(), JSON, headers)

    def _wakeup_fd(self) -> int:
        return self._alarm[1].fileno() if self._alarm is not None else -1

    def _request_stop(self, grace: float) -> None:
        self._grace = grace
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it is closed already
                self._loop.call_soon_threadsafe(self._stop.set)

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()
        for each in (*self._sockets, *(self._alarm or ())):
            each.close()
        self._sockets, self._alarm = [], None


class _Entrance(HTTPServerConnectionDelegate):
    """Makes an exchange of each request."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        return Exchange(self._door, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Nothing: the exchange knows."""


class _Server(HTTPServer):
    """Holds no more connections than it may."""

    #: Connections, at most.
    most: int = 1
    _standing: int = 0

    def initialize(self, *args: Any, **options: Any) -> None:
        """Set it up; Tornado calls this."""
        super().initialize(*args, **options)
        #: Connections that were turned away and are not closed yet.
        self._leaving: set[asyncio.Future[None]] = set()

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection, or turn it away."""
        if self._standing < self.most:
            self._standing += 1
            super().handle_stream(stream, address)
            return
        # With TLS its handshake would have to come first.
        if self.ssl_options is None and len(self._leaving) < MAX_LEAVING:
            task = asyncio.ensure_future(_turn_away(stream))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        else:
            stream.close()

    async def let_go(self) -> None:
        """End those that are on their way out."""
        leaving = list(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

    def on_close(self, server_conn: object) -> None:
        """Note that a connection is over."""
        self._standing -= 1
        super().on_close(server_conn)


async def _turn_away(stream: IOStream) -> None:
    """Say that there is no room, and take what was sent meanwhile.

    A connection that is closed with something unread is reset, and with it goes the answer.
    """
    try:
        with suppress(OSError, TimeoutError):
            stream.socket.send(_FULL)
            stream.socket.shutdown(SHUT_WR)
            async with asyncio.timeout(LEAVE_WITHIN):
                while await stream.read_bytes(65536, partial=True):
                    pass
    finally:
        stream.close()


def _as_bytes(answer: Answer) -> bytes:
    headers = {**answer.all_headers(), "Connection": "close"}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"HTTP/1.1 {answer.status} -\r\n{''.join(lines)}\r\n".encode() + answer.body


_FULL: Final = _as_bytes(failure_answer(503, "Busy", "too many connections"))


def _where(host: str, has_tls: bool) -> str:
    """Return the address of a host to listen at, if that is safe."""
    try:
        found = getaddrinfo(host, None, AF_UNSPEC, SOCK_STREAM) if host else []
    except (gaierror, UnicodeError):
        found = []
    if not found:
        hint = "a name or an address of this machine, as 127.0.0.1"
        raise ConfigError(f"host {host!r} is not known", key="host", hint=hint)
    addresses = [str(each[4][0]) for each in found]
    if not has_tls and not all(map(is_loopback, addresses)):
        raise ConfigError(
            f"{host} can be reached from elsewhere, and everybody on the way could read the token",
            key="host",
            hint="give --certfile and --keyfile, or listen at 127.0.0.1 behind a proxy with TLS",
        )
    return addresses[0]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls(
    certfile: str | os.PathLike[str] | None, keyfile: str | os.PathLike[str] | None
) -> ssl.SSLContext | None:
    if certfile is None and keyfile is None:
        return None
    if certfile is None:
        raise ConfigError("a key without a certificate", key="certfile")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        text = f"{certfile} cannot be used: {error.strerror or error}"
        raise ConfigError(text, key="certfile") from error
    return context


def _drain(alarm: socket) -> None:
    with suppress(OSError):
        alarm.recv(4096)
