"""The registry as a server: what it opens, in which order, and how it closes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import ExitStack, suppress

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from palm_registry import runfile
from palm_registry.handlers import ROUTES
from palm_registry.handlers.base import Base, Context
from palm_registry.security import Access
from palm_registry.service import Service
from palm_registry.service.accounts import Accounts
from palm_registry.service.audit import Audit
from palm_registry.service.service import SWEEP
from palm_registry.settings import Settings
from palm_registry.store import Database, StoreError

__all__ = ["Registry", "make_app"]

_log = logging.getLogger("palm.registry")

#: Bytes of a request: the largest is a batch of output.
MAX_BODY = 16 * 1024 * 1024
MAX_HEADER = 16 * 1024
#: Seconds for the body of a request, and between two requests of a connection.
BODY_TIMEOUT = 30.0
IDLE_TIMEOUT = 120.0
#: Seconds for the answers that are under way when the registry is to end.
ANSWERING = 2.0
#: Seconds after its start for which a registry that ends by itself waits for a first cluster.
PATIENCE = 10.0


def make_app(context: Context) -> Application:
    """Return the application that answers at ``context.hosts``."""
    return Application(
        [(rf"/{path}", handler, {"context": context}) for path, handler in ROUTES],
        log_function=_log_request,
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
    """One registry: `start` opens it, `stop` closes it; ``url`` is where it listens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._server: HTTPServer | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.service: Service | None = None
        self.url = ""
        #: Set when the registry has nothing to do any more, if it was to end then.
        self.idle = asyncio.Event()

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
        run = runfile.private_folder(settings.run, "PALM_RUN_DIR")
        state = runfile.private_folder(settings.state, "PALM_STATE_DIR")
        # One a run folder, where it is found; one a state folder, whose database it has.
        for path in {run / "registry.lock", state / "registry.lock"}:
            lock = runfile.Lock(path)
            lock.acquire()
            stack.callback(lock.release)
        database = Database(settings.database_url)
        database.open()
        stack.callback(database.close)
        self.service = Service(database)
        await self.service.begin()
        access = Access(database)
        token, token_file = runfile.owner_token(state)
        await access.begin(token)
        self._context = Context(self.service, access, Accounts(database, access), Audit(database))
        self._listen(self._context)
        stack.callback(runfile.withdraw, runfile.publish(run, self.url, token_file))
        self._sweeper = asyncio.create_task(self._sweep(self.service))
        _log.info("the registry listens on %s", self.url)

    def _listen(self, context: Context) -> None:
        settings = self._settings
        sockets = bind_sockets(settings.port, settings.host)[:1]
        port = sockets[0].getsockname()[1]
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        context.port = port
        context.hosts = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]", shown)}
        self._server = HTTPServer(
            make_app(context),
            max_body_size=MAX_BODY,
            max_buffer_size=MAX_BODY + MAX_HEADER,
            max_header_size=MAX_HEADER,
            body_timeout=BODY_TIMEOUT,
            idle_connection_timeout=IDLE_TIMEOUT,
        )
        self._server.add_sockets(sockets)
        self.url = f"http://{shown}:{port}/"

    async def stop(self) -> None:
        """Answer who waits, take nothing new, finish what was taken, and close."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self.service is not None:
            self.service.core.signals.close()
        if self._server is not None:
            self._server.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._context.idle.wait(), ANSWERING)
            await self._server.close_all_connections()
            await self._note_last()
        await asyncio.get_running_loop().run_in_executor(None, self._stack.close)

    async def _note_last(self) -> None:
        """Store what came too late for the sweeper."""
        try:
            await self._context.access.close()
            await self._context.audit.close()
        except StoreError as error:
            _log.error("the last use of tokens was not stored: %s", error)

    async def _sweep(self, service: Service) -> None:
        started = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(SWEEP)
            try:
                await service.sweep()
                await self._context.access.sweep()
                await self._context.audit.sweep(time.monotonic(), time.time())
                if await self._is_idle(service, started):
                    self.idle.set()
            except StoreError as error:
                _log.error("leases and nodes were not looked at: %s", error)

    async def _is_idle(self, service: Service, started: float) -> bool:
        linger = self._settings.linger
        if linger is None:
            return False
        idle = await service.idle()
        age = asyncio.get_running_loop().time() - started
        return (service.core.used or age >= PATIENCE) and idle >= linger
