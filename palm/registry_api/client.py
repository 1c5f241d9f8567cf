"""The registry's client for notebooks, commands and runners: plain calls that block."""

from __future__ import annotations

import http.client
import os
import secrets
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from palm.errors import ConfigError, RegistryError
from palm.registry_api import schema
from palm.registry_api.schema import ComponentSpec
from palm.registry_api.trust import Trust

if TYPE_CHECKING:
    from palm.registry_api.live import LiveFeed

__all__ = ["Refused", "RegistryClient", "Unreachable", "Untrusted", "Whereabouts"]

T = TypeVar("T")

#: Seconds until a connection must be there, and for an answer that nothing holds back.
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
#: Seconds for the registry to see that it could start anew, and to copy its database.
RESTART_TIMEOUT = 90.0
BACKUP_TIMEOUT = 3600.0
#: Seconds for which calls that may be repeated are tried again while the registry is away.
RETRY_FOR = 3.0
#: Connections that are kept for the next call.
_KEPT = 4
_CHUNK = 1 << 20

_MSGPACK = "application/msgpack"
#: What OpenSSL says of a certificate that is of another host, and of another address.
_OTHER_NAME = (62, 64)


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


class Untrusted(Unreachable):
    """Who answers at the registry's address cannot prove to be the registry."""


class Whereabouts(NamedTuple):
    """Where a registry is, what it wants to see, and the certificate that it shows."""

    url: str
    token: str
    ca_file: str = ""


class RegistryClient:
    """Talks to the registry at ``url``; any thread may call, several at once.

    Calls that can be repeated without harm are, for ``retry`` seconds while the registry is away.

    Parameters
    ----------
    relocate
        Asked when nobody answers: gives address, token and certificate that hold by now, or None
        if nothing better is known. A local registry that was started again has another port.
    ca_file, fingerprint
        For https: a file with the registry's certificate, or the SHA-256 of it. Without either
        ``PALM_CA_FILE`` names the file; or what the system trusts decides.

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
        relocate: Callable[[], Whereabouts | None] | None = None,
        ca_file: str | os.PathLike[str] = "",
        fingerprint: str = "",
    ) -> None:
        if not ca_file and not fingerprint:
            ca_file = os.environ.get("PALM_CA_FILE", "")
        self._site = _Site.parse(url, token, Trust(str(ca_file), fingerprint))
        self._tls: tuple[_Site, int, ssl.SSLContext] | None = None
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

    @property
    def is_near(self) -> bool:
        """Whether the registry is on this machine, or seems to be."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

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

    def cluster_list(self, *, status: bool = False) -> list[schema.ClusterInfo]:
        """Return all clusters; with `status`, whether each is ready, too."""
        path = "api/clusters?status=1" if status else "api/clusters"
        return self._call("GET", path, list[schema.ClusterInfo])

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

    def update_cluster(
        self,
        key: str,
        *,
        name: str | msgspec.UnsetType = msgspec.UNSET,
        linger: float | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> schema.ClusterInfo:
        """Change the name that people see, or how long it lingers; what is not given stays."""
        request = schema.ClusterUpdate(name=name, linger=linger)
        return self._call("PATCH", _of(key), schema.ClusterInfo, request, repeat=True)

    # ---- cluster files

    def set_cluster(
        self,
        key: str,
        text: str,
        file: str = "cluster.toml",
        folder: str = "",
        *,
        expected_version: int | None = None,
        note: str = "",
        code: dict[str, schema.Code] | msgspec.UnsetType = msgspec.UNSET,
    ) -> schema.ConfigApplied:
        """Put a cluster file in force; relative paths in it begin at `folder`.

        With `expected_version` only if that version is in force (0: none is), else `Refused` has
        the code "version". `code` are the files of its components, which `send_code` has handed
        in; left out, it stays as it is.
        """
        request = schema.ConfigPut(
            text=text, file=file, folder=folder, expected_version=expected_version, note=note,
            code=code,
        )  # fmt: skip
        return self._call("PUT", _of(key, "config"), schema.ConfigApplied, request)

    def check_config(
        self, key: str, text: str, file: str = "cluster.toml", folder: str = ""
    ) -> schema.ConfigCheck:
        """Say what a cluster file would mean."""
        request = schema.ConfigText(text=text, file=file, folder=folder)
        path = _of(key, "config", "check")
        return self._call("POST", path, schema.ConfigCheck, request, repeat=True)

    def diff_config(
        self,
        key: str,
        text: str | None = None,
        file: str = "cluster.toml",
        folder: str = "",
        *,
        version: int | None = None,
        against: int | None = None,
        code: dict[str, schema.Code] | msgspec.UnsetType = msgspec.UNSET,
    ) -> schema.ConfigDiff:
        """Say what a text, or else a version, would change of what is wanted now.

        With `against`, what it changes of that version. Nothing is done.
        """
        request = schema.ConfigCompare(
            text=text, file=file, folder=folder, version=version, against=against, code=code
        )
        path = _of(key, "config", "diff")
        return self._call("POST", path, schema.ConfigDiff, request, repeat=True)

    def rollback_config(
        self,
        key: str,
        version: int | None = None,
        *,
        expected_version: int | None = None,
        note: str = "",
    ) -> schema.ConfigApplied:
        """Put an older version in force again, as a new one; None is the one before. Not repeated.

        `expected_version` is as in `set_cluster`.
        """
        request = schema.ConfigRollback(
            version=version, expected_version=expected_version, note=note
        )
        return self._call("POST", _of(key, "config", "rollback"), schema.ConfigApplied, request)

    def config_versions(
        self, key: str, *, before: int | None = None, limit: int | None = None
    ) -> list[schema.ConfigVersion]:
        """Return the versions of the cluster file, the latest first; `before` goes on from one."""
        path = _of(key, "config", "versions", query={"before": before, "limit": limit})
        return self._call("GET", path, list[schema.ConfigVersion])

    def config_version(self, key: str, version: int) -> schema.ConfigFile:
        """Return a version of the cluster file with its text."""
        return self._call("GET", _of(key, "config", "versions", str(version)), schema.ConfigFile)

    def cluster_config(self, key: str) -> schema.ConfigFile:
        """Return the cluster file that is in force."""
        return self._call("GET", _of(key, "config"), schema.ConfigFile)

    def send_code(self, key: str, pieces: Sequence[schema.CodePiece]) -> None:
        """Hand in contents of files; may be repeated."""
        self._call("POST", _of(key, "code"), None, list(pieces), repeat=True, packed=True)

    def fetch_code(self, key: str, digest: str) -> bytes:
        """Return the content of a file, as the registry says; to be checked by who uses it."""
        return self._call("GET", _of(key, "code", digest), schema.CodePiece, packed=True).data

    def file_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a cluster file, for editors."""
        return self._call("GET", "api/schema/cluster.json", dict[str, Any])

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

    def signal(
        self, key: str, name: str, signal: str, replica: int | None = None
    ) -> schema.SignalSent:
        """Send a signal, as "HUP", to the processes of a component, or to one; each gets it once.

        It is sent by their runners, soon or not at all; events say so.
        """
        request = schema.SignalRequest(signal=signal, replica=replica, id=secrets.token_hex(8))
        path = _of(key, "components", name, "signal")
        return self._call("POST", path, schema.SignalSent, request, repeat=True)

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

    def send_metrics(self, key: str, node: str, report: schema.NodeSamples) -> None:
        """Tell what the processes of a node use and do; not repeated, only the newest counts."""
        path = _of(key, "nodes", node, "metrics")
        self._call("POST", path, None, report, packed=True, timeout=CONNECT_TIMEOUT)

    def leave(self, key: str, node: str, *, now: bool = False) -> None:
        """Be a node no more, or remove one; `now`: its token is good no more from now on."""
        query = {"now": "1" if now else ""}
        self._call("DELETE", _of(key, "nodes", node, query=query), None)

    def invite(self, key: str, ttl: float = 3600.0, node: str = "") -> schema.Invitation:
        """Return what lets a node join, once, within `ttl` seconds."""
        request = schema.InvitationCreate(ttl=ttl, node=node)
        return self._call("POST", _of(key, "invitations"), schema.Invitation, request)

    def accept(self, secret: str, node: str) -> schema.NodeAccepted:
        """Return the token of a node, for the secret of an invitation. Not repeated."""
        request = schema.NodeAccept(secret=secret, name=node)
        return self._call("POST", "api/join", schema.NodeAccepted, request)

    def renew_token(self, key: str, node: str) -> str:
        """Return another token for the node that we are; ours is good for a minute more."""
        path = _of(key, "nodes", node, "token")
        return self._call("POST", path, schema.NodeAccepted).token

    def use_token(self, token: str) -> None:
        """Go on with another token, from the next call on."""
        with self._lock:
            self._site = replace(self._site, token=token)
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # ---- keys and names

    def cluster_keys(self, key: str, offer: schema.ClusterKeys | None = None) -> schema.ClusterKeys:
        """Return the keys of a cluster, for a node of it; the first ones offered are kept.

        They travel over TLS, or on one machine, and no other way.
        """
        request = schema.KeysOffer(keys=offer)
        return self._call("POST", _of(key, "keys"), schema.ClusterKeys, request, repeat=True)

    def change_keys(self, key: str, keys: schema.ClusterKeys) -> None:
        """Put keys in the place of those of a cluster, which are in them as those of before."""
        self._call("PUT", _of(key, "keys"), None, keys, repeat=True)

    def role_key(self, key: str, role: str) -> schema.ClusterKey:
        """Return the key of clients, or of workers, of a cluster; as `cluster_keys` does."""
        return self._call("POST", _of(key, "keys", role), schema.ClusterKey, repeat=True)

    def names(self, key: str) -> list[schema.NamedAddress]:
        """Return where the components are that other machines find by their name."""
        return self._call("GET", _of(key, "names"), list[schema.NamedAddress])

    # ---- metrics

    def metrics(self, key: str, *, history: bool = False) -> schema.ClusterMetrics:
        """Return what each process uses and does; with `history` over the last minutes, too."""
        query = {"history": "1" if history else ""}
        return self._call("GET", _of(key, "metrics", query=query), schema.ClusterMetrics)

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
        component: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        replica: int | None = None,
        stream: str | None = None,
        since: float | None = None,
        until: float | None = None,
        grep: str | None = None,
        regex: str | None = None,
        lines: int | None = None,
        before: str = "",
        cursor: str = "",
        limit: int | None = None,
    ) -> schema.OutputPage:
        """Return stored output after `cursor`; or, with `lines`, the last lines of it.

        `component`, or several, and `name` (of one process) select; `since` and `until` are
        times. With `grep` only lines that contain this text count, with `regex` those that this
        regular expression (of RE2's) finds; a page of lines has ``more`` if there are others
        `before` its ``first``.
        """
        query = {
            "component": component, "name": name, "replica": replica, "stream": stream,
            "since": since, "until": until, "grep": grep, "regex": regex, "lines": lines,
            "before": before, "cursor": cursor, "limit": limit,
        }  # fmt: skip
        return self._call("GET", _of(key, "output", query=query), schema.OutputPage, packed=True)

    def events(self, key: str, since: str = "") -> tuple[list[schema.Event], str]:
        """Return up to a thousand events after a cursor, and the cursor after them."""
        page = self._call("GET", _of(key, "events", query={"since": since}), schema.EventPage)
        return page.events, page.cursor

    def latest_events(
        self,
        key: str,
        limit: int,
        *,
        before: int | None = None,
        component: str | None = None,
        kind: str | None = None,
    ) -> schema.EventPage:
        """Return the last events, in order: those with a number below `before`, if it is given.

        Of those of a component, and of a `kind`: "component" has "component.ready" in it.
        """
        query = {
            "latest": 1, "limit": limit, "before": before, "component": component, "kind": kind,
        }  # fmt: skip
        return self._call("GET", _of(key, "events", query=query), schema.EventPage)

    def live(
        self,
        key: str,
        topics: Sequence[str] = schema.USUAL_TOPICS,
        since: str = "",
        *,
        components: Sequence[str] = (),
        backlog: int | None = None,
        gapless: bool = False,
    ) -> LiveFeed:
        """Return an iterator over frames as they come; it reconnects, and is to be closed.

        `since` is the cursor of a frame, "start", or "now" (if empty). A reader that is more
        than `backlog` bytes of output behind skips some, unless it is to be `gapless`.
        """
        # Only who watches needs a WebSocket, and tornado with it.
        from palm.registry_api.live import LiveFeed

        query = {"topics": ",".join(topics), "component": list(components), "backlog": backlog}
        if gapless:
            query["gapless"] = 1
        path = _of(key, "live", query=query)

        def site() -> tuple[str, Mapping[str, str], ssl.SSLContext | None]:
            self._look_elsewhere(self._site)
            site = self._site
            url = "ws" + site.url.removeprefix("http") + path
            try:
                return url, site.headers, self._context(site) if site.https else None
            except Unreachable as error:
                raise ConnectionError(str(error)) from error

        return LiveFeed(site, since)

    # ---- the service

    def info(self) -> schema.RegistryInfo:
        """Return what the registry is, and how it was told to run."""
        return self._call("GET", "api/registry", schema.RegistryInfo)

    def restart_registry(self) -> None:
        """Let the registry start anew, with the code that is there now; returns as it begins."""
        self._call("POST", "api/registry/restart", None, timeout=RESTART_TIMEOUT)

    def backup(self, file: IO[bytes]) -> int:
        """Write a copy of the registry's database into an open file; return its size in bytes."""
        site = self._site
        connection = self._take(site)
        try:
            size = sum(file.write(chunk) for chunk in _backup(site, connection))
        except BaseException:
            connection.close()
            raise
        self._give_back(site, connection)
        return size

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

    def caller(self) -> schema.Caller:
        """Return who we are to the registry, and what we may do."""
        return self._call("GET", "api/caller", schema.Caller)

    def audit(self, since: str = "", limit: int | None = None) -> schema.AuditPage:
        """Return who changed what after a cursor, up to a thousand entries."""
        query = {key: each for key, each in (("since", since), ("limit", limit)) if each}
        path = f"api/audit?{urlencode(query)}" if query else "api/audit"
        return self._call("GET", path, schema.AuditPage)

    def latest_audit(
        self,
        limit: int,
        *,
        before: int | None = None,
        token: str = "",
        cluster: str = "",
        refused: bool = False,
    ) -> schema.AuditPage:
        """Return the last entries, in order: those with a number below `before`, if it is given.

        Of those by a token, of a cluster, and of what was `refused`.
        """
        asked = {"before": before, "token": token, "cluster": cluster, "refused": int(refused)}
        query = {"latest": 1, "limit": limit} | {k: v for k, v in asked.items() if v not in ("", 0)}
        query = {key: each for key, each in query.items() if each is not None}
        return self._call("GET", f"api/audit?{urlencode(query)}", schema.AuditPage)

    def openapi(self) -> dict[str, Any]:
        """Return the API document (OpenAPI 3.1): all addresses, what they take and give."""
        return self._call("GET", "openapi.json", dict[str, Any])

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
        now = _Site.parse(found.url, found.token, Trust(found.ca_file))
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
        headers = {**site.headers, **headers}
        try:
            answer = _send(connection, method, site.path + path, body, headers, timeout)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise _untrusted(site, error) from error
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
        if not site.https:
            return http.client.HTTPConnection(site.host, site.port, timeout=CONNECT_TIMEOUT)
        return http.client.HTTPSConnection(
            site.host, site.port, timeout=CONNECT_TIMEOUT, context=self._context(site)
        )

    def _context(self, site: _Site) -> ssl.SSLContext:
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
    trust: Trust

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {"Authorization": f"Bearer {self.token}", schema.API_HEADER: str(schema.API)}

    @classmethod
    def parse(cls, url: str, token: str, trust: Trust) -> _Site:
        parts = _split(url)
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"the address of the registry at {parts.hostname} has a user or a password in it",
                hint="leave them out; who you are is told by the token in PALM_TOKEN_FILE",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is not the address of a registry", hint="http://HOST:PORT/")
        slash = "" if url.endswith("/") else "/"
        path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
        https = parts.scheme == "https"
        return cls(url + slash, https, parts.hostname, parts.port, path, token, trust)


def check_url(url: str) -> None:
    """Raise ConfigError unless a registry could be at an address."""
    _Site.parse(url, "", Trust())


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{url!r} is not the address of a registry: {error}", hint="http://HOST:PORT/"
        ) from error
    return parts


def _untrusted(site: _Site, error: ssl.SSLCertVerificationError) -> Untrusted:
    shown = f"who answers at {site.url} has no certificate that proves it to be the registry"
    how = "name the file with its certificate in PALM_CA_FILE"
    if error.verify_code in _OTHER_NAME:
        how = f"the registry must know that name: palm registry --hostname {site.host}"
    elif site.trust.ca_file:
        how = f"that in {site.trust.ca_file} is another, or of another time"
    return Untrusted(f"{shown}: {error.verify_message} ({how})")


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
    _check_version(response)
    data = response.read()
    return response.status, response.headers.get("Content-Type", ""), data


def _check_version(response: http.client.HTTPResponse) -> None:
    # One that does not say is the first; but what goes wrong on the way has no version.
    said = response.headers.get(schema.API_HEADER, "" if response.status >= 400 else "1")
    problem = schema.version_problem(schema.API, int(said)) if said.isdecimal() else None
    if problem is not None:
        raise Refused(426, schema.ErrorDetail("version", *problem))


def _backup(site: _Site, connection: http.client.HTTPConnection) -> Iterator[bytes]:
    """Yield a copy of the database, part by part; what it is written to may fail by itself."""
    try:
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(BACKUP_TIMEOUT)
        connection.request("POST", f"{site.path}api/registry/backup", None, site.headers)
        response = connection.getresponse()
        _check_version(response)
        if response.status != 200:
            raise _error(response.status, response.read())
        left = int(response.headers["Content-Length"])
        while chunk := response.read(_CHUNK):
            left -= len(chunk)
            yield chunk
        if left:
            raise http.client.IncompleteRead(b"", left)
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(site, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"the registry at {site.url} does not answer: {error}") from error


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
