"""The way to a registry: connections that are kept, and a registry that is found again."""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import IO, NamedTuple

from palm.errors import ConfigError
from palm.registry_api.answers import Answer, check_version, error_in
from palm.registry_api.site import Site, Unreachable, Untrusted, Whereabouts
from palm.registry_api.trust import Trust

__all__ = ["ANSWER_TIMEOUT", "CONNECT_TIMEOUT", "Connections", "Request"]

#: Seconds until a connection must be there, and for an answer that nothing holds back.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
#: Seconds for the registry to copy its database.
DOWNLOAD_TIMEOUT = 3600.0
#: Connections that are kept for the next request.
_KEPT = 4
_CHUNK = 1 << 20


class Request(NamedTuple):
    """What is asked; ``timeout`` is how many seconds the answer may take."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout: float


class Connections:
    """Sends requests to the registry at a site; any thread may call, several at once.

    Requests that may be repeated are, for ``retry`` seconds while the registry is away;
    ``relocate`` is asked where it is by now.
    """

    def __init__(
        self, site: Site, retry: float, relocate: Callable[[], Whereabouts | None] | None
    ) -> None:
        self._site = site
        self._retry = retry
        self._relocate = relocate
        self._tls: tuple[Site, int, ssl.SSLContext] | None = None
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False

    @property
    def site(self) -> Site:
        """Where the registry is, as far as is known."""
        return self._site

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        _close(idle)

    def use_token(self, token: str) -> None:
        """Go on with another token, from the next request on."""
        with self._lock:
            self._site = replace(self._site, token=token)
            idle, self._idle = self._idle, []
        _close(idle)

    def ask(self, request: Request, *, repeat: bool) -> Answer:
        """Send a request, and again if it may be repeated and the registry is away."""
        end = time.monotonic() + self._retry
        while True:
            site = self._site
            try:
                answer = self._exchange(site, request)
                if answer.status != 503 or not repeat or time.monotonic() > end:
                    return answer
            except Unreachable:
                self._look_elsewhere(site)
                if not repeat or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def download(self, path: str, file: IO[bytes]) -> int:
        """Write what the registry makes for a POST into an open file; return its size in bytes."""
        site = self._site
        connection = self._take(site)
        try:
            size = sum(file.write(chunk) for chunk in _download(site, connection, path))
        except BaseException:
            connection.close()
            raise
        self._give_back(site, connection)
        return size

    def websocket(self, path: str) -> tuple[str, Mapping[str, str], ssl.SSLContext | None]:
        """Return the address of a live feed, what goes with its request, and what makes it safe.

        Raises ConnectionError if that cannot be known for now.
        """
        self._look_elsewhere(self._site)
        site = self._site
        url = "ws" + site.url.removeprefix("http") + path
        try:
            return url, site.headers, self._context(site) if site.https else None
        except Unreachable as error:
            raise ConnectionError(str(error)) from error

    def _look_elsewhere(self, site: Site) -> None:
        """Go where the registry is by now, if it is not at ``site`` any more."""
        found = self._relocate() if self._relocate is not None else None
        if found is None:
            return
        now = Site.parse(found.url, found.token, Trust(found.ca_file))
        with self._lock:
            if self._site is not site or now == site:
                return
            self._site = now
            idle, self._idle = self._idle, []
        _close(idle)

    def _exchange(self, site: Site, request: Request) -> Answer:
        connection = self._take(site)
        try:
            response = _begin(site, connection, request)
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise site.unreachable(error) from error
        except BaseException:
            connection.close()  # an answer may still be under way on it
            raise
        self._give_back(site, connection)
        return Answer(response.status, response.headers.get("Content-Type", ""), data)

    def _take(self, site: Site) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle or site is not self._site:
                    break
                connection = self._idle.pop()
            # Nothing is expected on it, so what can be read is its end.
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        if not site.https:
            return http.client.HTTPConnection(site.host, site.port, timeout=CONNECT_TIMEOUT)
        return http.client.HTTPSConnection(
            site.host, site.port, timeout=CONNECT_TIMEOUT, context=self._context(site)
        )

    def _context(self, site: Site) -> ssl.SSLContext:
        """Return what makes connections to a registry that speaks TLS."""
        version = site.trust.version
        with self._lock:
            known = self._tls
        if known is not None and known[:2] == (site, version):
            return known[2]
        try:
            context = site.trust.context(site.host, site.port or 443)
        except ConfigError as error:
            raise Untrusted(str(error)) from error
        except OSError as error:
            raise Unreachable(f"the registry at {site.url} does not answer: {error}") from error
        with self._lock:
            self._tls = site, version, context
        return context

    def _give_back(self, site: Site, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and site is self._site and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()


def _close(connections: list[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _begin(
    site: Site, connection: http.client.HTTPConnection, request: Request
) -> http.client.HTTPResponse:
    """Send a request; return an answer of which the body has not been read."""
    if connection.sock is None:
        connection.connect()
    connection.sock.settimeout(request.timeout)
    headers = {**site.headers, **request.headers}
    connection.request(request.method, site.path + request.path, request.body, headers)
    response = connection.getresponse()
    check_version(response)
    return response


def _download(site: Site, connection: http.client.HTTPConnection, path: str) -> Iterator[bytes]:
    """Yield what comes, part by part; what it is written to may fail by itself."""
    try:
        response = _begin(site, connection, Request("POST", path, None, {}, DOWNLOAD_TIMEOUT))
        if response.status != 200:
            raise error_in(response.status, response.read())
        left = int(response.headers["Content-Length"])
        while chunk := response.read(_CHUNK):
            left -= len(chunk)
            yield chunk
        if left:
            raise http.client.IncompleteRead(b"", left)
    except (OSError, http.client.HTTPException) as error:
        raise site.unreachable(error) from error
