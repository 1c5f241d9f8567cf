"""The registry as a server: what it opens, in which order, and how it closes."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from palm._version import __version__
from palm.errors import ConfigError
from palm.files.privatefolder import private_folder
from palm.registry_api.schema import API, API_OLDEST, RegistryInfo
from palm.spec.endpoint import is_loopback
from palm_registry import runfile
from palm_registry.certificate import Certificate
from palm_registry.description import template_of
from palm_registry.failures import Conflict
from palm_registry.handlers import ROUTES
from palm_registry.handlers.base import Base, Context
from palm_registry.security import Access
from palm_registry.server import BACKLOG, Server, most_connections, raise_descriptors
from palm_registry.service import Service
from palm_registry.service.accounts import Accounts
from palm_registry.service.audit import Audit
from palm_registry.service.invitations import Invitations
from palm_registry.service.service import SWEEP
from palm_registry.settings import Settings
from palm_registry.store import Database, StoreError
from palm_registry.store.backup import copy

__all__ = ["Registry", "make_app"]

_log = logging.getLogger("palm.registry")

#: Seconds for the answers that are under way when the registry is to end, and to start anew.
ANSWERING = 2.0
RESTARTING = 10.0
#: Seconds after its start for which a registry that ends by itself waits for a first cluster.
PATIENCE = 10.0
#: How the copies of the database begin that are about to be sent.
_COPY = ".backup."
#: Seconds between two looks at the certificate.
CERTIFICATE = 3600.0


def make_app(context: Context) -> Application:
    """Return the application that answers at ``context.hosts``."""
    templates = {handler: template_of(path).path for path, handler in ROUTES[:-1]}

    def log(handler: RequestHandler) -> None:
        _log_request(handler)
        request, route = handler.request, templates.get(type(handler), "(nothing)")
        status, seconds = handler.get_status(), request.request_time()
        context.service.core.tally.answered(route, request.method or "", status, seconds)

    return Application(
        [(rf"/{path}", handler, {"context": context}) for path, handler in ROUTES],
        routes=ROUTES,
        log_function=log,
        compress_response=False,
        websocket_ping_interval=10,
        websocket_ping_timeout=10,
        websocket_max_message_size=64 * 1024,
    )


def _log_request(handler: RequestHandler) -> None:
    # Without the query: it may hold a one-time code.
    request = handler.request
    path = handler.context.access.hide(request.path) if isinstance(handler, Base) else ""
    _log.debug("%d %s %s", handler.get_status(), request.method, path)


class Registry:
    """One registry: `start` opens it, `stop` closes it; ``url`` is where it listens.

    `sockets` are those of a registry that this one goes on for: what listens, and connections.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket] = ()) -> None:
        self._settings = settings
        self._given = list(sockets)
        self._stack = ExitStack()
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._certificate: Certificate | None = None
        self._record: Path | None = None
        self.service: Service | None = None
        self.url = ""
        #: Set when the registry has nothing to do any more, or is to end.
        self.idle = asyncio.Event()
        #: Says whether another could start in our place; None: none can.
        self.check: Callable[[], Awaitable[None]] | None = None
        #: Whether another one goes on with the ``sockets`` that `stop` leaves.
        self.again = False
        self._restart: asyncio.Task[None] | None = None
        self._run = secrets.token_hex(8)
        self._started = time.time()
        self.sockets: list[socket.socket] = []

    async def start(self) -> None:
        """Open everything and begin to listen; on an error close what is open, and raise.

        Raises
        ------
        ConfigError
            Another registry runs, a folder or the database cannot be used.
        """
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise

    async def _open(self) -> None:
        settings, stack = self._settings, self._stack
        run = private_folder(settings.run, "PALM_RUN_DIR")
        state = private_folder(settings.state, "PALM_STATE_DIR")
        # One a run folder, where it is found; one a state folder, whose database it has.
        for path in {run / "registry.lock", state / "registry.lock"}:
            lock = runfile.Lock(path)
            lock.acquire()
            stack.callback(lock.release)
        if settings.secure:
            self._certificate = Certificate(settings)
        database = Database(settings.database_url)
        database.open()
        stack.callback(database.close)
        self.service = Service(
            database,
            state,
            retain_size=settings.retain_size,
            retain_age=settings.retain_age,
            move_after=settings.move_after,
            shrink_after=settings.shrink_after,
        )
        await self.service.begin()
        access = Access(database)
        token, token_file = runfile.owner_token(state)
        await access.begin(token)
        self._token_file = token_file
        for stale in state.glob(f"{_COPY}*"):
            stale.unlink(missing_ok=True)
        self._context = Context(
            self.service, access, Accounts(database, access),
            Invitations(self.service.core, access), Audit(database), self,
        )  # fmt: skip
        self._listen(self._context)
        self._publish()
        stack.callback(self._withdraw)
        self._tasks.append(asyncio.create_task(self._sweep(self.service)))
        if self._certificate is not None:
            self._tasks.append(asyncio.create_task(self._renew(self._certificate)))
        _log.info("the registry listens on %s%s", self.url, self._shown_fingerprint())

    def _listen(self, context: Context) -> None:
        settings = self._settings
        found = [each for each in self._given if each.getsockopt(*_LISTENS)]
        sockets = found or _bind(settings.host, settings.port)
        port = sockets[0].getsockname()[1]
        tls = self._certificate.context if self._certificate is not None else None
        context.scheme = "http" if tls is None else "https"
        context.port = port
        context.anywhere = settings.host in _WILDCARDS
        context.hosts = _hosts(settings, port, context.scheme)
        self._server = server = Server(
            make_app(context), tls, most_connections(raise_descriptors())
        )
        server.add_sockets(sockets)
        for connection in self._given:
            if connection not in sockets:
                server.take(connection)
        self._given = []
        self.url = f"{context.scheme}://{_public(settings)}:{port}/"

    @property
    def record(self) -> dict[str, str | list[str]]:
        """What is written into ``registry.json`` besides where it is and who."""
        found: dict[str, str | list[str]] = {
            "arguments": self._settings.arguments(),
            "run": self._run,
        }
        if self._certificate is not None:
            found["certfile"] = str(self._certificate.path)
            found["fingerprint"] = self._certificate.fingerprint
        return found

    def _publish(self) -> None:
        run = self._settings.run
        self._record = runfile.publish(run, self.url, self._token_file, self.record)

    def _withdraw(self) -> None:
        if self._record is not None and not self.again:
            runfile.withdraw(self._record)

    def _shown_fingerprint(self) -> str:
        shown = self._certificate
        return "" if shown is None else f" (SHA-256 of its certificate: {shown.fingerprint})"

    async def stop(self) -> None:
        """Answer who waits, take nothing new, finish what was taken, and close.

        If it goes on in another process what that needs is left open, in ``sockets``.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.service is not None:
            self.service.core.signals.close()
        if self._server is not None and self.again:
            self.sockets = await self._server.hand_over(RESTARTING)
        elif self._server is not None:
            await self._server.finish(ANSWERING)
        if self._server is not None:
            await self._note_last()
        for each in self._given:
            each.close()
        await asyncio.get_running_loop().run_in_executor(None, self._stack.close)

    async def _note_last(self) -> None:
        """Store what came too late for the sweeper."""
        try:
            await self._context.access.close()
            await self._context.audit.close()
        except StoreError as error:
            _log.error("the last use of tokens was not stored: %s", error)

    # ---- what handlers ask for

    def info(self) -> RegistryInfo:
        """Describe it."""
        settings, server, shown = self._settings, self._server, self._certificate
        kind = settings.database_url.partition(":")[0].partition("+")[0]
        return RegistryInfo(
            version=__version__,
            api=API,
            api_oldest=API_OLDEST,
            run=self._run,
            pid=os.getpid(),
            started=self._started,
            url=self.url,
            database=kind,
            database_size=_size(settings.database_url) if kind == "sqlite" else 0,
            retain_size=settings.retain_size,
            retain_age=settings.retain_age,
            linger=settings.linger,
            fingerprint="" if shown is None else shown.fingerprint,
            connections=0 if server is None else server.connections,
            most_connections=0 if server is None else server.most,
        )

    def copy_database(self, go_on: Callable[[], bool]) -> Path:
        """Return a copy of the database, for the caller to remove; blocks."""
        path = self._settings.state / f"{_COPY}{secrets.token_hex(6)}"
        try:
            copy(self._settings.database_url, path, lambda: go_on() and not self.idle.is_set())
        except ConfigError as error:
            raise Conflict("backup", str(error.args[0]), error.hint or "") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    async def restart(self) -> None:
        """Start anew in this process, once it is clear that the new one could start.

        Raises
        ------
        Conflict
            It could not, and this one goes on; or it runs within another program.
        """
        if self.check is None:
            raise Conflict("restart", "this registry cannot start anew by itself")
        try:
            await self.check()
        except ConfigError as error:
            raise Conflict("restart", str(error)) from error
        self.again = True
        self.idle.set()

    def begin_restart(self) -> None:
        """Do so without anybody who waits for it."""
        if self._restart is None or self._restart.done():
            self._restart = asyncio.ensure_future(self._try_restart())

    async def _try_restart(self) -> None:
        try:
            await self.restart()
        except Conflict as error:
            _log.error("%s", error)

    def end(self) -> None:
        """Begin to end, whatever else was to be."""
        self.again = False
        self.idle.set()

    # ---- by the clock

    async def _renew(self, certificate: Certificate) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE)
            try:
                # Here, and not in a thread: connections that begin use it.
                if certificate.refresh():
                    self._publish()
                    _log.info("the registry has another certificate%s", self._shown_fingerprint())
            except ConfigError as error:  # the one of before goes on
                _log.error("%s", error)

    async def _sweep(self, service: Service) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        failing = False
        while True:
            due = clock() + SWEEP
            await asyncio.sleep(SWEEP)
            service.core.tally.lags.observe(max(clock() - due, 0.0))
            try:
                await service.sweep()
                await self._context.access.sweep()
                await self._context.audit.sweep(time.monotonic(), time.time())
                failing = False
                if await self._is_idle(service, started):
                    self.idle.set()
            except StoreError as error:
                if not failing:  # once, and not four times a second for as long as it lasts
                    _log.error("leases and nodes are not looked at: %s", error)
                failing = True
            except Exception:  # noqa: BLE001 - leases must end, whatever else is wrong
                _log.exception("leases and nodes were not looked at")

    async def _is_idle(self, service: Service, started: float) -> bool:
        linger = self._settings.linger
        if linger is None:
            return False
        idle = await service.idle()
        age = asyncio.get_running_loop().time() - started
        return (service.core.used or age >= PATIENCE) and idle >= linger


_LISTENS = (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with; only who is told to listens there


def _bind(host: str, port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, host, backlog=BACKLOG)[:1]
    except OSError as error:
        raise ConfigError(
            f"the registry cannot listen at {host}:{port}: {error.strerror or error}",
            key="--port",
            hint="--port 0: any free one; --host: a name or an address of this machine",
        ) from error


def _public(settings: Settings) -> str:
    """Return the name by which all find the registry, in an address."""
    if settings.hostnames and not is_loopback(settings.host):
        return settings.hostnames[0].partition(":")[0]
    host = "127.0.0.1" if settings.host in _WILDCARDS else settings.host
    return f"[{host}]" if ":" in host else host


def _hosts(settings: Settings, port: int, scheme: str) -> set[str]:
    """Return what ``Host`` may be."""
    names = {"127.0.0.1", "localhost", "[::1]"}
    if not is_loopback(settings.host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    if settings.host not in _WILDCARDS:
        names.add(f"[{settings.host}]" if ":" in settings.host else settings.host.lower())
    # Who gives a name may have a proxy in front, at a port that is not ours.
    given = {name.lower() for name in settings.hostnames}
    names |= {name for name in given if ":" not in name}
    hosts = {f"{name}:{port}" for name in names} | given
    return hosts | (names if port == _DEFAULT_PORTS[scheme] else set())


def _size(url: str) -> int:
    path = Path(url.partition(":///")[2])
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


_DEFAULT_PORTS = {"http": 80, "https": 443}
