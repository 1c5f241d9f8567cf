"""One request and its answer: looked at when its headers are here, called when its body is.

All of this runs in the thread of the event loop. A call is a job with one message; nobody waits for
it in a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from palm.clients import Client, Job
from palm.errors import Cancelled, PalmError
from palm.gateways.access import Access
from palm.gateways.answers import (
    JSON,
    RAW,
    Answer,
    Refused,
    answer_of,
    function_named,
    media_type,
    parse_json,
)

__all__ = ["Door", "Exchange", "Limits"]

#: Bytes of bodies of all requests together.
MAX_BUFFERED: Final = 256 << 20

#: Bytes of a refused body that are read and thrown away: who is still sending sees the answer.
MAX_SPILLED: Final = 1 << 20

#: Seconds that a caller has to take an answer.
TAKE_WITHIN: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may ask of a gateway.

    ``body`` is the largest request (bytes), ``requests`` how many are worked on at once and
    ``connections`` how many stand. A call may take ``timeout`` seconds, or fewer if its caller
    says so; a caller has ``idle`` seconds for the next headers and ``sending`` for a body.
    """

    body: int = 16 << 20
    requests: int = 4096
    connections: int = 8192
    timeout: float = 60.0
    idle: float = 30.0
    sending: float = 30.0


class Door:
    """What the requests of one gateway share."""

    def __init__(self, client: Client, access: Access, limits: Limits, scheme: str) -> None:
        self.client = client
        self.access = access
        self.limits = limits
        self.scheme = scheme
        self.loop = asyncio.get_running_loop()
        self.buffered = 0
        self.closing = False
        #: Set while nobody is within.
        self.empty = asyncio.Event()
        self.empty.set()
        #: Whether the server answers.
        self.health: Callable[[], asyncio.Future[Answer]] | None = None
        self._within: set[Exchange] = set()

    def enter(self, exchange: Exchange) -> None:
        """Let a request in, if there is room."""
        if self.closing:
            raise Refused(503, "Stopping", "this gateway is being stopped", {"Connection": "close"})
        if len(self._within) >= self.limits.requests or self.buffered >= MAX_BUFFERED:
            raise Refused(503, "Busy", f"{len(self._within)} requests are being worked on")
        self._within.add(exchange)
        self.empty.clear()

    def leave(self, exchange: Exchange) -> None:
        """Note that a request is over; harmless for one that never came in."""
        self._within.discard(exchange)
        if not self._within:
            self.empty.set()

    def clear(self) -> None:
        """Give up all that are within."""
        for exchange in list(self._within):
            exchange.give_up()


class Exchange(HTTPMessageDelegate):
    """A request on its way through the door."""

    def __init__(self, door: Door, connection: HTTPConnection) -> None:
        self._door = door
        self._connection = connection
        self._method = ""
        self._server = ""
        self._function = ""
        self._is_json = False
        self._timeout = door.limits.timeout
        self._body = bytearray()
        self._spilled = 0
        self._job: Job | None = None
        self._asks_health = False
        #: The answer is written; that it is all of it may wait for the body.
        self._answered = False
        self._finished = False

    # What the connection calls

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        """Look at who wants what; who may not is told so at once."""
        assert isinstance(start_line, RequestStartLine)  # noqa: S101 - for the type: we serve
        self._method = start_line.method
        try:
            self._look_at(start_line.path.partition("?")[0], headers)
        except Refused as refused:
            self._write(refused.answer)
            if "Expect" in headers:  # it waits for our word before it sends the body
                self._finish()

    def data_received(self, chunk: bytes) -> None:
        """Take a part of the body, as long as it may be so large."""
        if self._answered:
            self._spilled += len(chunk)
            if self._spilled > MAX_SPILLED:
                self._finish()
            return
        door = self._door
        if len(self._body) + len(chunk) > door.limits.body:
            self._write(_too_large(door.limits.body).answer)
        elif door.buffered + len(chunk) > MAX_BUFFERED:
            self._write(Refused(503, "Busy", "too much is on its way").answer)
        else:
            self._body += chunk
            door.buffered += len(chunk)

    def finish(self) -> None:
        """Act, now that all of the request is here."""
        if self._answered:
            self._finish()
            return
        self._connection.set_close_callback(self.on_connection_close)  # type: ignore[attr-defined]
        if self._asks_health and self._door.health is not None:
            self._door.health().add_done_callback(lambda done: self._answer(done.result()))
            return
        try:
            self._call()
        except Refused as refused:
            self._answer(refused.answer)
        except PalmError as error:
            self._answer(answer_of(error, self._function))

    def on_connection_close(self) -> None:
        """Drop what nobody waits for any more."""
        self._answered = self._finished = True
        job, self._job = self._job, None
        if job is not None:
            job.cancel()
        self._leave()

    def give_up(self) -> None:
        """Answer that the gateway ends."""
        job, self._job = self._job, None
        if job is not None:
            job.cancel()
        self._answer(Refused(503, "Stopping", "this gateway was stopped").answer)

    # Steps

    def _look_at(self, path: str, headers: HTTPHeaders) -> None:
        door = self._door
        door.access.check_place(headers.get("Host"), headers.get("Origin"), door.scheme)
        if path == "/health" and self._method == "GET":
            self._asks_health = True
            return
        if self._method != "POST":
            raise Refused(
                405, "MethodNotAllowed", "functions are called by POST", {"Allow": "POST"}
            )
        door.access.check_token(headers.get("Authorization"))
        server, self._function = function_named(path)
        name = door.client.server_name
        if server not in ("", name):
            raise Refused(
                404, "FunctionNotFound", f"there is no server {server!r} here, but {name!r}"
            )
        self._is_json = _is_json(headers)
        self._timeout = _seconds(headers.get("X-Timeout"), door.limits.timeout)
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > door.limits.body:
            raise _too_large(door.limits.body)
        door.enter(self)

    def _call(self) -> None:
        payload = parse_json(self._body) if self._is_json else bytes(self._body)
        self._let_go_of_body()
        client = self._door.client
        name = f"{client.server_name}.{self._function}"
        self._job = client.job(name, [payload], errors="return", deadline=self._timeout)
        self._job.add_done_callback(self._ended)

    def _ended(self, job: Job) -> None:
        """Take the end of the call to the loop's thread (from the client's, as a rule)."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._door.loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        try:
            outcome: Any = next(job, None) if job.state == "done" else _why(job)
        except PalmError as error:
            outcome = error
        self._answer(answer_of(outcome, job.function))

    def _answer(self, answer: Answer) -> None:
        if not self._answered:
            self._write(answer)
        self._finish()

    def _write(self, answer: Answer) -> None:
        self._answered = True
        self._leave()
        if self._door.closing:
            answer.headers["Connection"] = "close"
        line = ResponseStartLine("HTTP/1.1", answer.status, HTTPStatus(answer.status).phrase)
        body = b"" if self._method == "HEAD" else answer.body
        written = self._connection.write_headers(line, HTTPHeaders(answer.all_headers()), body)
        if not written.done():  # else it is with the system, as it is with nearly all
            late = self._door.loop.call_later(TAKE_WITHIN, self._cut)
            written.add_done_callback(lambda done: late.cancel())

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._connection.finish()

    def _cut(self) -> None:
        self._connection.close()  # type: ignore[attr-defined]

    def _leave(self) -> None:
        self._let_go_of_body()
        self._door.leave(self)

    def _let_go_of_body(self) -> None:
        self._door.buffered -= len(self._body)
        self._body = bytearray()


def _why(job: Job) -> PalmError:
    """Return why a job ended without an outcome."""
    try:
        next(job, None)
    except PalmError as error:
        return error
    return Cancelled("the call was cancelled", function=job.function)


def _is_json(headers: HTTPHeaders) -> bool:
    kind = media_type(headers.get("Content-Type"))
    if kind not in ("", JSON, RAW) or headers.get("Content-Encoding", "identity") != "identity":
        raise Refused(415, "UnsupportedMediaType", f"send {JSON}, or bytes as {RAW}")
    return kind == JSON


def _seconds(text: str | None, most: float) -> float:
    """Return how long a call may take; its caller may want less than others may have."""
    if text is None:
        return most
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise Refused(400, "BadTimeout", "X-Timeout is a positive number of seconds")
    return min(seconds, most)


def _too_large(limit: int) -> Refused:
    return Refused(413, "PayloadTooLarge", f"more than the limit of {limit:,} bytes")
