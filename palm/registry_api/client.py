"""The registry's client for notebooks, commands and runners: plain calls that block."""

from __future__ import annotations

import http.client
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from palm.errors import ConfigError, RegistryError
from palm.registry_api import schema
from palm.registry_api.schema import ComponentSpec

if TYPE_CHECKING:
    from palm.registry_api.live import LiveFeed

__all__ = ["Refused", "RegistryClient", "Unreachable"]

T = TypeVar("T")

#: Seconds until a connection must be there, and for an answer that nothing holds back.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
#: Seconds for which calls that may be repeated are tried again while the registry is away.
RETRY_FOR = 3.0
#: Connections that are kept for the next call.
_KEPT = 4

_MSGPACK = "application/msgpack"


class Refused(RegistryError):  # noqa: N818 - says what happened, as palm's own errors do
    """The registry's answer was no; ``code`` is for programs, ``hint`` and the text for people."""

    def __init__(self, status: int, detail: schema.ErrorDetail) -> None:
        super().__init__(detail.text)
        self.status = status
        self.code = detail.code
        self.hint = detail.hint
        self.data = detail.data

    def __str__(self) -> str:
        return f"{self.args[0]} ({self.hint})" if self.hint else str(self.args[0])


class Unreachable(RegistryError):  # noqa: N818 - likewise
    """Nobody answers at the registry's address."""


class RegistryClient:
    """Talks to the registry at ``url``; any thread may call, several at once.

    Calls that can be repeated without harm are, for ``retry`` seconds while the registry is away.

    Parameters
    ----------
    relocate
        Asked when nobody answers: gives the address and the token that hold by now, or None if
        nothing better is known. A local registry that was started again has another port.

    Raises
    ------
    Refused
        The registry said no.
    Unreachable
        There is no registry at the address, or it does not answer in time.
    ConfigError
        A cluster file or a component cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        retry: float = RETRY_FOR,
        relocate: Callable[[], tuple[str, str] | None] | None = None,
    ) -> None:
        self._site = _Site.parse(url, token)
        self._retry = retry
        self._relocate = relocate
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"RegistryClient({self.url!r})"

    @property
    def url(self) -> str:
        """Where the registry is, with a slash at the end."""
        return self._site.url

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # ---- clusters

    def health(self) -> schema.Health:
        """Ask whether the registry is there."""
        return self._call("GET", "health", schema.Health)

    def cluster_list(self) -> list[schema.ClusterInfo]:
        """Return all clusters."""
        return self._call("GET", "api/clusters", list[schema.ClusterInfo])

    def create_cluster(
        self, name: str, linger: float | msgspec.UnsetType | None = msgspec.UNSET
    ) -> schema.ClusterInfo:
        """Return the cluster of a name; it is made, or goes on, if need be."""
        request = schema.ClusterCreate(name=name, linger=linger)
        return self._call("POST", "api/clusters", schema.ClusterInfo, request, repeat=True)

    def view_cluster(self, key: str) -> schema.ClusterInfo:
        """Return what is known of a cluster as a whole."""
        return self._call("GET", _of(key), schema.ClusterInfo)

    def delete_cluster(self, key: str) -> None:
        """End a cluster and forget it, with its output."""
        self._call("DELETE", _of(key), None)

    def cluster_reset(self, key: str) -> schema.ClusterInfo:
        """Forget lost nodes, and place again what ran there."""
        return self._call("POST", _of(key, "reset"), schema.ClusterInfo)

    def cluster_status(self, key: str) -> schema.ClusterStatus:
        """Return what there is of a cluster and what is missing."""
        return self._call("GET", _of(key, "status"), schema.ClusterStatus)

    def set_cluster(
        self, key: str, text: str, file: str = "cluster.toml", folder: str = ""
    ) -> schema.ConfigText:
        """Put a cluster file in force; relative paths in it begin at `folder`."""
        request = schema.ConfigText(text=text, file=file, folder=folder)
        return self._call("PUT", _of(key, "config"), schema.ConfigText, request)

    def check_config(
        self, key: str, text: str, file: str = "cluster.toml", folder: str = ""
    ) -> schema.ConfigCheck:
        """Say what a cluster file would mean."""
        request = schema.ConfigText(text=text, file=file, folder=folder)
        path = _of(key, "config", "check")
        return self._call("POST", path, schema.ConfigCheck, request, repeat=True)

    def cluster_config(self, key: str) -> schema.ConfigText:
        """Return the cluster file that is in force."""
        return self._call("GET", _of(key, "config"), schema.ConfigText)

    def lease(
        self,
        key: str,
        holder: str,
        ttl: float = 30.0,
        *,
        linger: float | msgspec.UnsetType | None = msgspec.UNSET,
        revive: bool = True,
    ) -> schema.LeaseReply:
        """Keep a cluster alive for `ttl` seconds from now.

        One that has ended goes on, unless `revive` is false: then that is `Refused`.
        """
        lease = schema.Lease(holder=holder, ttl=ttl, linger=linger, revive=revive)
        return self._lease(key, lease)

    def release(self, key: str, holder: str) -> schema.LeaseReply:
        """Give a lease back."""
        return self._lease(key, schema.Lease(holder=holder, release=True))

    def end_cluster(self, key: str, holder: str = "user") -> schema.LeaseReply:
        """Let a cluster end now, whoever holds it; what it wrote stays."""
        return self._lease(key, schema.Lease(holder=holder, end=True))

    def _lease(self, key: str, lease: schema.Lease) -> schema.LeaseReply:
        return self._call("POST", _of(key, "lease"), schema.LeaseReply, lease, repeat=True)

    # ---- components

    def components(self, key: str) -> list[schema.ComponentStatus]:
        """Return the status of each component."""
        return self._call("GET", _of(key, "components"), list[schema.ComponentStatus])

    def component(self, key: str, name: str) -> schema.ComponentStatus:
        """Return the status of a component."""
        return self._call("GET", _of(key, "components", name), schema.ComponentStatus)

    def declare(self, key: str, spec: ComponentSpec) -> schema.ComponentStatus:
        """Say what is wanted of a component."""
        path = _of(key, "components", spec.name)
        return self._call("PUT", path, schema.ComponentStatus, spec)

    def remove(self, key: str, name: str) -> None:
        """Stop a component and forget it."""
        self._call("DELETE", _of(key, "components", name), None)

    def start(self, key: str, name: str) -> schema.ComponentStatus:
        """Start a component that was stopped."""
        return self._act(key, name, "start", repeat=True)

    def stop(self, key: str, name: str, grace: float | None = None) -> schema.ComponentStatus:
        """Stop a component."""
        return self._act(key, name, "stop", schema.Stop(grace=grace), repeat=True)

    def restart(self, key: str, name: str) -> schema.ComponentStatus:
        """Replace every process of a component."""
        return self._act(key, name, "restart")

    def scale(self, key: str, name: str, replicas: int) -> schema.ComponentStatus:
        """Run another number of replicas."""
        return self._act(key, name, "scale", schema.Scale(replicas=replicas), repeat=True)

    def _act(
        self, key: str, name: str, action: str, request: Any = None, *, repeat: bool = False
    ) -> schema.ComponentStatus:
        path = _of(key, "components", name, action)
        return self._call("POST", path, schema.ComponentStatus, request, repeat=repeat)

    # ---- nodes

    def nodes(self, key: str) -> list[schema.NodeInfo]:
        """Return the nodes of a cluster."""
        return self._call("GET", _of(key, "nodes"), list[schema.NodeInfo])

    def join(self, key: str, node: schema.NodeJoin) -> schema.NodeJoined:
        """Be a node of a cluster."""
        return self._call("POST", _of(key, "nodes"), schema.NodeJoined, node, repeat=True)

    def heartbeat(self, key: str, node: str, beat: schema.Heartbeat) -> schema.Assignments:
        """Report, and ask what to run; blocks for up to ``beat.wait`` seconds. Not repeated."""
        path = _of(key, "nodes", node, "heartbeat")
        timeout = beat.wait + ANSWER_TIMEOUT
        return self._call("POST", path, schema.Assignments, beat, timeout=timeout)

    def leave(self, key: str, node: str) -> None:
        """Be a node no more, or remove one."""
        self._call("DELETE", _of(key, "nodes", node), None)

    # ---- output and events

    def send_output(self, key: str, pieces: Sequence[schema.OutputPiece]) -> list[schema.OutputAck]:
        """Store output; may be repeated. The acks say, per stream, where to go on.

        A piece that begins after what is stored is not taken: its ack says so by an offset
        below that of the piece.
        """
        try:
            return self._call(
                "POST",
                _of(key, "output"),
                list[schema.OutputAck],
                list(pieces),
                repeat=True,
                packed=True,
            )
        except Refused as error:
            if error.code != "gap":
                raise
            return msgspec.convert(error.data["acks"], list[schema.OutputAck])

    def output(
        self,
        key: str,
        component: str | None = None,
        *,
        name: str | None = None,
        replica: int | None = None,
        stream: str | None = None,
        since: float | None = None,
        until: float | None = None,
        grep: str | None = None,
        lines: int | None = None,
        cursor: str = "",
        limit: int | None = None,
    ) -> schema.OutputPage:
        """Return stored output after `cursor`; or, with `lines` or `grep`, the last lines of it.

        `component` and `name` (of one process) select; `since` and `until` are times.
        """
        query = {
            "component": component, "name": name, "replica": replica, "stream": stream,
            "since": since, "until": until, "grep": grep, "lines": lines, "cursor": cursor,
            "limit": limit,
        }  # fmt: skip
        return self._call("GET", _of(key, "output", query=query), schema.OutputPage, packed=True)

    def events(self, key: str, since: str = "") -> tuple[list[schema.Event], str]:
        """Return up to a thousand events after a cursor, and the cursor after them."""
        page = self._call("GET", _of(key, "events", query={"since": since}), _Events)
        return page.events, page.cursor

    def live(
        self,
        key: str,
        topics: Sequence[str] = schema.TOPICS,
        since: str = "",
        *,
        components: Sequence[str] = (),
        backlog: int | None = None,
    ) -> LiveFeed:
        """Return an iterator over frames as they come; it reconnects, and is to be closed.

        `since` is the cursor of a frame, "start", or "now" (if empty).
        """
        # Only who watches needs a WebSocket, and tornado with it.
        from palm.registry_api.live import LiveFeed

        query = {"topics": ",".join(topics), "component": list(components), "backlog": backlog}
        path = _of(key, "live", query=query)

        def site() -> tuple[str, str]:
            self._look_elsewhere(self._site)
            return "ws" + self.url.removeprefix("http") + path, self._site.token

        return LiveFeed(site, since)

    # ---- the service

    def login_url(self, then: str = "") -> str:
        """Return an address that logs a browser in, once, within half a minute.

        It may do what the token of this client may. `then` is where it is led, below the page.
        """
        path = self._call("POST", "login", schema.LoginCode).path
        return self.url + path + (f"&{urlencode({'next': then})}" if then else "")

    # ---- who gets in: for admins

    def tokens(self) -> list[schema.TokenInfo]:
        """Return all tokens, but for the tokens themselves."""
        return self._call("GET", "api/tokens", list[schema.TokenInfo])

    def add_token(
        self,
        name: str,
        scope: schema.Scope,
        *,
        user: str = "",
        cluster: str = "",
        ttl: float | None = None,
    ) -> schema.TokenMade:
        """Make a token; what is returned is the only thing that ever has it.

        It is good for `ttl` seconds, and for the clusters of `user` (our own), or for one only.
        """
        request = schema.TokenCreate(name=name, scope=scope, user=user, cluster=cluster, ttl=ttl)
        return self._call("POST", "api/tokens", schema.TokenMade, request)

    def revoke_token(self, name: str) -> None:
        """Let nobody in any more who has a token, and end what goes on for it."""
        self._call("DELETE", f"api/tokens/{quote(name, safe='')}", None)

    def users(self) -> list[schema.UserInfo]:
        """Return all users, with their tokens and clusters."""
        return self._call("GET", "api/users", list[schema.UserInfo])

    def add_user(self, name: str) -> schema.UserInfo:
        """Make a user, who has clusters of its own once it has a token."""
        return self._call("POST", "api/users", schema.UserInfo, schema.UserCreate(name=name))

    def remove_user(self, name: str) -> None:
        """Forget a user who has no clusters any more, and revoke all its tokens."""
        self._call("DELETE", f"api/users/{quote(name, safe='')}", None)

    def audit(self, since: str = "", limit: int | None = None) -> schema.AuditPage:
        """Return who changed what after a cursor, up to a thousand entries."""
        query = {key: each for key, each in (("since", since), ("limit", limit)) if each}
        path = f"api/audit?{urlencode(query)}" if query else "api/audit"
        return self._call("GET", path, schema.AuditPage)

    # ---- connections

    def _call(
        self,
        method: str,
        path: str,
        reply: type[T] | None,
        request: Any = None,
        *,
        repeat: bool = False,
        packed: bool = False,
        timeout: float = ANSWER_TIMEOUT,
    ) -> T:
        headers = {}
        body = None
        if packed:
            headers["Accept"] = _MSGPACK
        if request is not None:
            headers["Content-Type"] = _MSGPACK if packed else "application/json"
            body = (msgspec.msgpack if packed else msgspec.json).encode(request)
        repeat = repeat or method in ("GET", "PUT")
        end = time.monotonic() + self._retry
        while True:
            site = self._site
            try:
                status, kind, data = self._exchange(site, method, path, body, headers, timeout)
                if status != 503 or not repeat or time.monotonic() > end:
                    return _read(status, kind, data, reply)
            except Unreachable:
                self._look_elsewhere(site)
                if not repeat or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _look_elsewhere(self, site: _Site) -> None:
        """Go where the registry is by now, if it is not at ``site`` any more."""
        found = self._relocate() if self._relocate is not None else None
        if found is None:
            return
        now = _Site.parse(*found)
        with self._lock:
            if self._site is not site or now == site:
                return
            self._site = now
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(
        self,
        site: _Site,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float,
    ) -> tuple[int, str, bytes]:
        connection = self._take(site)
        headers = {"Authorization": f"Bearer {site.token}", **headers}
        try:
            answer = _send(connection, method, site.path + path, body, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unreachable(f"the registry at {site.url} does not answer: {error}") from error
        except BaseException:
            connection.close()  # an answer may still be under way on it
            raise
        self._give_back(site, connection)
        return answer

    def _take(self, site: _Site) -> http.client.HTTPConnection:
        while True:
            with self._lock:
                if not self._idle or site is not self._site:
                    break
                connection = self._idle.pop()
            # Nothing is expected on it, so what can be read is its end.
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        kind = http.client.HTTPSConnection if site.https else http.client.HTTPConnection
        return kind(site.host, site.port, timeout=CONNECT_TIMEOUT)

    def _give_back(self, site: _Site, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and site is self._site and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a registry is, and what it wants to see."""

    url: str
    https: bool
    host: str
    port: int | None
    path: str
    token: str

    @classmethod
    def parse(cls, url: str, token: str) -> _Site:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a registry", hint="http://HOST:PORT/")
        slash = "" if url.endswith("/") else "/"
        path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
        https = parts.scheme == "https"
        return cls(url + slash, https, parts.hostname, parts.port, path, token)


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
) -> tuple[int, str, bytes]:
    if connection.sock is None:
        connection.connect()
    connection.sock.settimeout(timeout)
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    data = response.read()
    return response.status, response.headers.get("Content-Type", ""), data


class _Events(msgspec.Struct):
    events: list[schema.Event]
    cursor: str


def _of(key: str, *parts: str, query: Mapping[str, Any] | None = None) -> str:
    path = "/".join(quote(part, safe="") for part in ("api", "clusters", key, *parts))
    given = {k: v for k, v in (query or {}).items() if v is not None and v != "" and v != []}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _read(status: int, kind: str, data: bytes, reply: type[T] | None) -> T:
    if status >= 400:
        raise _error(status, data)
    if reply is None:
        return cast(T, None)
    decode: Any = msgspec.msgpack.decode if kind.startswith(_MSGPACK) else msgspec.json.decode
    try:
        return cast(T, decode(data, type=reply))
    except msgspec.DecodeError as error:
        raise RegistryError(f"the registry's answer makes no sense: {error}") from error


def _error(status: int, data: bytes) -> Exception:
    try:
        detail = msgspec.json.decode(data, type=schema.ErrorBody).error
    except msgspec.DecodeError:
        detail = schema.ErrorDetail(code=str(status), text=f"the registry answered {status}")
    if detail.code == "config" and detail.data.get("problems"):
        first = msgspec.convert(detail.data["problems"][0], schema.Problem)
        return ConfigError(
            first.text, file=first.file, line=first.line, key=first.key, hint=first.hint
        )
    if detail.code == "component":
        key = detail.data.get("key") or None
        return ConfigError(detail.text, key=key, hint=detail.hint or None)
    return Refused(status, detail)
