"""What every request goes through: host, origin, who asks, the form of its body, its errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar, cast

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, RequestHandler, stream_request_body

from palm.errors import PalmError
from palm.registry_api.schema import (
    API,
    API_HEADER,
    API_OLDEST,
    AuditEntry,
    ErrorBody,
    ErrorDetail,
    RegistryInfo,
    version_problem,
)
from palm_registry import failures
from palm_registry.description import (
    Description,
    check_query,
    description_of,
    methods_of,
)
from palm_registry.keys import Key
from palm_registry.scopes import Needed, allows
from palm_registry.security import (
    HEADERS,
    Access,
    Principal,
    check_host,
    check_origin,
    check_xsrf,
)
from palm_registry.server import BODY_TIMEOUT, ENDLESS, MAX_BODY, REFUSED_TIMEOUT
from palm_registry.service import Service
from palm_registry.service.accounts import Accounts
from palm_registry.service.audit import Audit
from palm_registry.service.invitations import Invitations
from palm_registry.store import StoreError, Unstorable

__all__ = ["MAX_NAME", "Base", "Context"]

T = TypeVar("T")
_log = logging.getLogger("palm.registry")

_STATUS: tuple[tuple[type[PalmError], int], ...] = (
    (failures.Invalid, 400),
    (failures.Unauthorised, 401),
    (failures.Forbidden, 403),
    (failures.NotFound, 404),
    (failures.Conflict, 409),
    (failures.Gone, 410),
    (Unstorable, 400),
    (failures.TooLarge, 413),
    (failures.OtherVersion, 426),
    (failures.Busy, 503),
    (failures.TooMany, 429),
    (StoreError, 503),
)
#: Bytes of bodies that may be in memory at once, all requests together.
MAX_BODIES = 16 * MAX_BODY
#: Bytes of a body that is read, and thrown away, of who is refused.
_SHORT = 64 * 1024
_LONG_VERSION = 9
_READING = ("GET", "HEAD", "OPTIONS")
_JSON, _MSGPACK = "application/json", "application/msgpack"
#: Nobody yet: may nothing, and has nothing.
_NOBODY = Principal("", "viewer", "")
#: Characters of a path, and of a name that somebody asked for, in the audit list.
_MAX_WHAT, MAX_NAME = 300, 64


class Control(Protocol):
    """What handlers may do with the registry as a whole."""

    def info(self) -> RegistryInfo:
        """Describe it."""

    async def restart(self) -> None:
        """Begin to start anew; refused, if the new one could not start."""

    def copy_database(self, go_on: Callable[[], bool]) -> Path:
        """Return a copy, for the caller to remove; blocks. `go_on` is asked now and then."""


@dataclass
class Context:
    """What handlers share. ``hosts`` are the names and ports by which we are known.

    ``anywhere``: we listen at all addresses of the machine, and are known by each. ``receiving``
    counts the bytes of bodies that are in memory.
    """

    service: Service
    access: Access
    accounts: Accounts
    invitations: Invitations
    audit: Audit
    control: Control
    scheme: str = "http"
    port: int = 0
    hosts: Collection[str] = field(default_factory=set)
    anywhere: bool = False
    receiving: int = 0

    @property
    def cookie(self) -> str:
        """Name of the session's cookie: browsers share cookies between the ports of a host."""
        return f"palm-session-{self.port}"


@stream_request_body
class Base(RequestHandler):
    """A request by somebody we know. Handlers for all set ``open_to_all``.

    The body comes only after `prepare`: who may not send one is refused before it takes memory.
    """

    open_to_all = False
    #: The scope that each method takes (`palm_registry.scopes`); what is left out is for admins.
    scopes: ClassVar[Mapping[str, Needed]] = {}
    #: Whether changes are noted in the audit list. Not so what programs do all the time.
    audited = True
    #: Whether a page must say where it comes from, as browsers do for WebSockets.
    needs_origin = False
    #: Whether the connection ends with the answer.
    _closes = False

    def initialize(self, context: Context) -> None:
        """Take what the handlers share."""
        self.context = context
        self.service = context.service
        self.principal = _NOBODY
        #: What the audit list is to say beside method and path: names and numbers only.
        self.details: dict[str, Any] = {}
        self._code = ""
        self._refusal: failures.Refused | None = None
        self._is_refused = False
        self._forget_body(bytearray())

    def set_default_headers(self) -> None:
        """Put the headers of `security` on every answer."""
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.set_header(API_HEADER, str(API))
        self.clear_header("Server")
        if self._closes:
            self.set_header("Connection", "close")

    async def prepare(self) -> None:
        """See whether the request may be; its body comes after this."""
        # Refused, the rest of a body is read and thrown away, but not for long.
        connection = cast(HTTP1Connection, self.request.connection)
        connection.set_max_body_size(ENDLESS)
        connection.set_body_timeout(REFUSED_TIMEOUT)
        try:
            await self.admit()
        except (PalmError, HTTPError) as error:
            if not self._is_short():
                self._closes = True
                raise
            self._refuse_later(error)
        else:
            connection.set_body_timeout(BODY_TIMEOUT)

    def _is_short(self) -> bool:
        """Whether the body is soon read to its end, if there is one."""
        text = self.request.headers.get("Content-Length", "0")
        chunked = "Transfer-Encoding" in self.request.headers
        return not chunked and text.isdecimal() and int(text) <= _SHORT

    def _refuse_later(self, error: Exception) -> None:
        """Answer with an error once the body was read, and thrown away.

        An answer before that closes the connection (Tornado's way not to read the body), and who
        sends the next request over it may find that out instead of the answer.
        """

        def refuse(*_args: Any, **_kwargs: Any) -> None:
            raise error

        self._is_refused = True
        setattr(self, (self.request.method or "").lower(), refuse)

    async def admit(self) -> None:
        """Refuse what comes from elsewhere, from nobody, or in another form."""
        headers = self.request.headers
        check_host(self.request.host, self._hosts())
        check_origin(headers.get("Origin"), self.context.scheme, self.request.host)
        if not self.open_to_all:
            self._check_version()
            self.principal = self.who()
            self.context.access.connections.add(self)
            if self.principal.xsrf:
                self._check_browser()
            self._check_scope()
            await self._check_cluster()
            self.check_node(self.path_kwargs.get("node"))
        self._check_length()
        if self.request.method not in _READING and self._has_body():
            self._check_form()
        if self.described is not None:
            # A handler sees no argument that the document does not know.
            given = self.request.query_arguments
            self.request.query_arguments = check_query(self.described, given)

    @property
    def described(self) -> Description | None:
        """What this request may say, and gets; None for a method that is not answered."""
        return description_of(type(self), self.request.method or "", self.path_kwargs)

    def _hosts(self) -> Collection[str]:
        stream = cast(HTTP1Connection, self.request.connection).stream
        if not self.context.anywhere or stream.closed():
            return self.context.hosts
        address, port = stream.socket.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        return {*self.context.hosts, f"{shown}:{port}"}

    def _check_version(self) -> None:
        # Who says nothing, curl or a browser, means what is in force.
        text = self.request.headers.get(API_HEADER, str(API))
        if not text.isdecimal() or len(text) > _LONG_VERSION:
            raise failures.Invalid("version", f"{API_HEADER}: {text[:20]!r} is not a version")
        problem = version_problem(int(text), API)
        if problem is not None:
            raise failures.OtherVersion("version", *problem, api=API, api_oldest=API_OLDEST)

    # ---- the body

    def _has_body(self) -> bool:
        headers = self.request.headers
        return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers

    @property
    def _room(self) -> int:
        return 0 if self.open_to_all else MAX_BODY

    def _check_length(self) -> None:
        text = self.request.headers.get("Content-Length", "0")
        if text.isdecimal() and int(text) > self._room:
            raise _too_large(self._room)

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, as far as there is room; Tornado calls this."""
        if self._is_refused:
            return
        if self._refusal is None and len(self._received) + len(chunk) > self._room:
            self._refusal = _too_large(self._room)
        if self._refusal is None and self.context.receiving + len(chunk) > MAX_BODIES:
            self._refusal = failures.Busy("busy", "too much is sent at once", "try again")
        if self._refusal is not None:
            self._forget_body(self._received)
            return
        self.context.receiving += len(chunk)
        self._received += chunk

    def _forget_body(self, received: bytearray) -> None:
        self.context.receiving -= len(received)
        self._received = bytearray()
        self.request.body = cast(bytes, self._received)  # the same, as it grows

    def on_finish(self) -> None:
        """Let go of the body; note that it is done, and what was done."""
        self._forget_body(self._received)
        self.context.access.connections.discard(self)
        if self.request.method not in _READING and self.audited and self.principal.token:
            self.note(self.get_status(), self._code)

    def on_connection_close(self) -> None:
        """Let go of it, too: there is nobody to answer."""
        super().on_connection_close()
        self._forget_body(self._received)

    def cut(self) -> None:
        """End the connection: whoever asked may not any more."""
        connection: Any = self.request.connection
        connection.close()

    def who(self) -> Principal:
        """Return who asks."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        session = "" if scheme else self.get_cookie(self.context.cookie) or ""
        token = token.strip() if scheme == "Bearer" else ""
        if not (token or session):
            raise failures.Unauthorised("token", "the registry wants a token", "run: palm ui")
        try:
            access = self.context.access
            return access.of_token(token) if token else access.of_session(session)
        except failures.Unauthorised:
            self.fail()
            raise

    def fail(self) -> None:
        """Count an attempt to get in.

        Raises
        ------
        TooMany
            There were too many of late from where it comes.
        """
        wait, news = self.context.access.fail(self.request.remote_ip or "")
        if news:
            _log.warning("too many failed attempts to get in from %s", self.request.remote_ip)
            self.note(429, "too-many")
        if wait:
            text, hint = "too many failed attempts to get in", f"try again in {wait} s"
            raise failures.TooMany("too-many", text, hint, retry=wait)

    def _check_scope(self) -> None:
        method = self.request.method or ""
        if getattr(type(self), method.lower()) is RequestHandler._unimplemented_method:
            return  # whoever asks is told so
        needed = self.scopes.get(method, "admin")
        if not allows(self.principal.scope, needed):
            text = f"the scope {self.principal.scope!r} is not enough for this"
            raise failures.Forbidden("scope", text, f"it takes {needed!r}")

    async def _check_cluster(self) -> None:
        """Let nobody near the clusters of others, whatever the handler looks up."""
        key, owner = self.path_kwargs.get("key"), self.principal.owner
        if key is None or owner is None:
            return
        key = self.path_kwargs["key"] = Key(key, owner)
        await self.service.clusters.check_reach(key, self.principal.cluster)

    def check_node(self, node: str | None) -> None:
        """Refuse who is one node to be another."""
        mine = self.principal.node
        if mine and node is not None and node != mine:
            text = f"this token is for the node {mine!r} alone"
            raise failures.Forbidden("node", text, "each node has one of its own")

    def note(self, status: int, code: str = "") -> None:
        """Put into the audit list what was asked for, by whom, and how it went."""
        request, principal, hide = self.request, self.principal, self.context.access.hide
        details = {k: hide(v) if isinstance(v, str) else v for k, v in self.details.items()}
        if principal.session:
            details["browser"] = True
        entry = AuditEntry(
            time=time.time(),
            what=hide(f"{request.method} {request.path}")[:_MAX_WHAT],
            token=principal.token,
            user=principal.user,
            address=request.remote_ip or "",
            cluster=hide(str(self.path_kwargs.get("key", ""))),
            status=status,
            code=code,
            details=details,
        )
        self.context.audit.note(entry)

    def _check_browser(self) -> None:
        headers = self.request.headers
        if self.needs_origin and "Origin" not in headers:
            raise failures.Forbidden("origin", "this browser does not say where it comes from")
        if self.request.method not in _READING:
            check_xsrf(self.principal, headers.get("X-XSRF-Token"))

    def _check_form(self) -> None:
        if self._form() not in (_JSON, _MSGPACK):
            raise HTTPError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason="JSON is expected")

    def _form(self) -> str:
        return self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    # ---- reading

    def body(self, type_: type[T]) -> T:
        """Return the body of the request as a value of the schema."""
        if self._refusal is not None:
            raise self._refusal
        if self.described is not None and self.described.body != type_:
            raise TypeError(f"{type(self).__name__}: its mark says another type of body")
        decode: Any = msgspec.msgpack.decode if self._form() == _MSGPACK else msgspec.json.decode
        try:
            return cast(T, decode(self.request.body, type=type_))
        except msgspec.DecodeError as error:
            raise failures.Invalid("body", f"the body is not what is expected: {error}") from error

    def number(self, name: str) -> float | None:
        """Return an argument of the query as a number, None if it is not given."""
        text = self.get_query_argument(name, "")
        try:
            value = float(text) if text else None
        except ValueError:
            value = float("nan")
        if value is not None and not abs(value) < 2**53:
            raise failures.Invalid("query", f"{name}: {text!r} is not a number")
        return value

    def count(self, name: str, default: int | None = None) -> int | None:
        """Return an argument of the query as a whole number from 0 on."""
        value = self.number(name)
        if value is None:
            return default
        if value < 0 or value != int(value):
            raise failures.Invalid("query", f"{name}: {value} is not a whole number from 0 on")
        return int(value)

    # ---- writing

    def answer(self, value: Any, status: int = 200) -> None:
        """Write a value of the schema."""
        self.set_status(status)
        if _MSGPACK in self.request.headers.get("Accept", ""):
            self.set_header("Content-Type", _MSGPACK)
            self.finish(msgspec.msgpack.encode(value, enc_hook=_plain))
            return
        self.set_header("Content-Type", f"{_JSON}; charset=utf-8")
        self.finish(msgspec.json.encode(value, enc_hook=_plain))

    def nothing(self) -> None:
        """Say that it is done and that there is nothing to tell."""
        self.set_status(204)
        self.finish()

    # ---- errors

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the status of the error that was raised."""
        error = _error_of(kwargs)
        if isinstance(error, PalmError):
            status_code = next((s for kind, s in _STATUS if isinstance(error, kind)), 500)
        super().send_error(status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error as all of ours are."""
        error = _error_of(kwargs)
        if isinstance(error, failures.Refused):
            if isinstance(error, failures.Busy):
                self.set_header("Retry-After", "1")
            if isinstance(error, failures.OtherVersion):  # the header belongs to that status
                self.set_header("Upgrade", f"palm-api/{API}")
            detail = ErrorDetail(code=error.code, text=str(error), hint=error.hint, data=error.data)
            if isinstance(error, failures.TooMany):
                self.set_header("Retry-After", str(error.data["retry"]))
        elif isinstance(error, Unstorable):
            detail = ErrorDetail(code="value", text=str(error))
        elif isinstance(error, StoreError):
            self.set_header("Retry-After", "1")
            detail = ErrorDetail(code="busy", text=str(error), hint="try again in a moment")
        else:
            reason = HTTPStatus(status_code).phrase
            detail = ErrorDetail(code=reason.lower().replace(" ", "-"), text=reason)
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answered = methods_of(type(self), RequestHandler)
            self.set_header("Allow", ", ".join(answered).upper())
        if status_code == HTTPStatus.UNAUTHORIZED:
            self.set_header("WWW-Authenticate", "Bearer")
        self._code = detail.code
        self.set_header("Content-Type", f"{_JSON}; charset=utf-8")
        self.finish(msgspec.json.encode(ErrorBody(error=detail)))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what nobody expected; a refusal is an answer like any other."""
        if not isinstance(value, failures.Refused | HTTPError | StoreError | Unstorable):
            where = self.context.access.hide(f"{self.request.method} {self.request.path}")
            _log.error("%s failed", where, exc_info=value)


def _too_large(room: int) -> failures.TooLarge:
    return failures.TooLarge("too-large", f"this request may have up to {room} bytes")


def _plain(value: Any) -> Any:
    """Encode what msgspec does not know by itself."""
    if isinstance(value, Key):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} is nothing to answer with")


def _error_of(kwargs: dict[str, Any]) -> BaseException | None:
    info = kwargs.get("exc_info")
    return info[1] if info else None
