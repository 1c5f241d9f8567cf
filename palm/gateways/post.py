"""Posts to one server over a connection that is kept, and says what a failure means for a call."""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import quote, urlsplit

from palm.errors import ConfigError
from palm.spec.endpoint import is_loopback
from palm.wire.batch import MAX_PAYLOAD

__all__ = ["PostFailed", "Poster", "Target"]

#: Seconds in which a connection must be made.
CONNECT_WITHIN: Final = 5.0

#: Bytes of an answer.
MAX_ANSWER: Final = MAX_PAYLOAD + (64 << 20)

#: A server that answers so has not begun, and may do so later.
_NOT_NOW: Final = frozenset({429, 503})
#: One between us and the server answers so: who knows whether it has begun.
_UNKNOWN: Final = frozenset({502, 504})
_DENIED: Final = frozenset({401, 403, 407, 421})


class PostFailed(Exception):  # noqa: N818 - reads as a sentence
    """A request without a result.

    Attributes
    ----------
    status
        Of the answer; 0: there was none.
    kind
        The type of the error in the answer, if it has one as those of palm do.
    began
        The function may have been called.
    again
        It makes sense to try once more.
    denied
        Nothing will be answered to us, whatever we ask.
    sending
        The server did not take all of the request.
    late
        It took too long.
    after
        Seconds before which there is no sense in trying again, as the server says.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        kind: str = "",
        began: bool = False,
        again: bool = False,
        sending: bool = False,
        late: bool = False,
        after: float = 0.0,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind
        self.began = began
        self.again = again
        self.denied = status in _DENIED
        self.sending = sending
        self.late = late
        self.after = after


class Target:
    """Where to post, and the token to send."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or port == -1
            or parts.query
            or parts.fragment
            or parts.username is not None
        ):
            hint = "as http://HOST:PORT or https://HOST/PATH"
            raise ConfigError(f"{url!r} is no address of a server", key="url", hint=hint)
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.port = port
        self.path = parts.path.rstrip("/")
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        return self.tls is not None or is_loopback(self.host)

    def connection(self, timeout: float) -> HTTPConnection:
        """Return a connection that is not made yet."""
        if self.tls is None:
            return HTTPConnection(self.host, self.port, timeout=timeout)
        return HTTPSConnection(self.host, self.port, timeout=timeout, context=self.tls)


class Poster:
    """One connection, for one thread; `abort` is for any other."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: HTTPConnection | None = None
        self._aborted = False

    def get(self, name: str, timeout: float) -> bytes:
        """Return what there is; raises `PostFailed`."""
        return self._ask("GET", name, None, {}, timeout)

    def post(self, name: str, body: bytes, content: str, timeout: float) -> bytes:
        """Return the answer to a call; raises `PostFailed`."""
        return self._ask("POST", name, body, {"Content-Type": content}, timeout)

    def abort(self) -> None:
        """End the request that is under way, and all to come."""
        self._aborted = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(
        self, method: str, name: str, body: bytes | None, headers: dict[str, str], timeout: float
    ) -> bytes:
        until = time.monotonic() + timeout
        sending = whole = False
        try:
            connection = self._connected(min(timeout, CONNECT_WITHIN))
            connection.sock.settimeout(timeout)
            path = f"{self._target.path}/{quote(name)}"
            sending = True
            try:
                connection.request(method, path, body, {**self._target.headers, **headers})
                whole = True  # before, the server does not have all of it, and cannot begin
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have said why it takes no more
            response = connection.getresponse()
            answer = self._read(response, until)
        except (OSError, HTTPException) as error:
            self.close()
            late = isinstance(error, TimeoutError)
            what = f"no answer within {timeout:g} s" if late and whole else _describe(error)
            raise PostFailed(
                what,
                began=whole,
                again=not self._aborted,
                sending=sending and not whole,
                late=late,
            ) from error
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        if response.status == 200:
            return answer
        raise _refusal(response, answer)

    def _connected(self, timeout: float) -> HTTPConnection:
        if self._aborted:
            raise ConnectionAbortedError("it is being stopped")
        connection = self._connection
        if connection is not None and (connection.sock is None or _is_stale(connection.sock)):
            self.close()
            connection = None
        if connection is None:
            connection = self._connection = self._target.connection(timeout)
            connection.connect()
        return connection

    def _read(self, response: HTTPResponse, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(1 << 20):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise HTTPException(f"an answer of more than {MAX_ANSWER:,} bytes")
            if time.monotonic() > until:
                raise TimeoutError
        if response.length:  # `read1` does not complain
            raise HTTPException("the answer was cut off")
        return b"".join(parts)


def _is_stale(sock: socket.socket) -> bool:
    """Whether the server has closed a connection that was kept, or sends what nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _refusal(response: HTTPResponse, answer: bytes) -> PostFailed:
    status = response.status
    kind = text = ""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(answer[:65536])["error"]
        kind, text = str(found["type"])[:200], str(found["text"])[:2000]
    after = 0.0
    with suppress(ValueError):
        after = float(response.getheader("Retry-After", "0"))
    return PostFailed(
        f"{status} {response.reason}" + (f": {kind}: {text}" if kind else ""),
        status=status,
        kind=kind,
        began=status not in _NOT_NOW | _DENIED,
        again=status in _NOT_NOW | _UNKNOWN,
        after=after if 0 < after < 3600 else 0.0,
    )
