"""The live feed of a cluster as an iterator: a WebSocket, in a thread and loop of its own."""

from __future__ import annotations

import asyncio
import math
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import url_concat
from tornado.websocket import WebSocketClientConnection, websocket_connect

from palm.errors import RegistryError
from palm.registry_api.schema import Frame, read_frame

__all__ = ["LiveFeed"]

Site = tuple[str, Mapping[str, str], ssl.SSLContext | None]

#: Frames that wait for the reader; more are left with the registry.
_WAITING = 32
#: Seconds between two attempts to connect, at first and at most.
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0
#: Seconds without a sign of life after which a connection is given up.
_SILENCE = 10.0
#: Seconds between two looks for a Ctrl-C: one that comes just before a wait does not end it.
_LOOK = 0.5
#: Seconds for the registry to confirm the end of a connection.
_CLOSING = 1.0
#: The code with which the registry closes when there is no such cluster (any more).
_NOT_FOUND = 4404


class LiveFeed:
    """Frames, one after another and each once, also over a restart of the registry.

    Iterate it, or call `next_frame`. `close` ends it, from any thread; so does the registry when
    it refuses (RegistryError).

    Parameters
    ----------
    site
        Gives the address, what goes with the request and, for TLS, what makes the connection;
        asked anew for each connection. On an OSError it is asked again in a moment.
    since
        Where to begin: the cursor of a frame, "start", or "now" (if empty).
    """

    def __init__(self, site: Callable[[], Site], since: str = "") -> None:
        self._site = site
        self._since = since
        # Whoever waits for it may be interrupted anywhere: this kind has no lock to be left held.
        self._frames: queue.SimpleQueue[Frame | RegistryError | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._away_since: float | None = time.time()
        self._thread = threading.Thread(target=self._run, name="palm-live-feed", daemon=True)
        self._thread.start()

    @property
    def cursor(self) -> str:
        """Where another feed would go on after the frames that were received so far."""
        return self._since

    @property
    def away_since(self) -> float | None:
        """Since when the registry does not answer, in seconds since the epoch; None if it does."""
        return self._away_since

    def __enter__(self) -> LiveFeed:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = self.next_frame()
        if frame is None:
            raise StopIteration
        return frame

    def next_frame(self, timeout: float | None = None) -> Frame | None:
        """Return the next frame; None when the feed is closed, or after `timeout` seconds.

        Raises
        ------
        RegistryError
            The registry refused: another try would end the same way.
        """
        if self._closed and self._frames.empty():
            return None
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                frame = self._frames.get(timeout=min(_LOOK, max(deadline - time.monotonic(), 0)))
                break
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return None
        self._call(self._room.set)
        if isinstance(frame, RegistryError):
            self._closed = True
            raise frame
        return frame

    def close(self) -> None:
        """End the feed and its thread; a reader that waits is told."""
        self._closed = True
        self._call(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _call(self, function: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function)  # type: ignore[arg-type]
        except RuntimeError:
            return  # the loop has ended: nobody waits there

    # ---- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        end: RegistryError | None = None
        try:
            self._loop.run_until_complete(self._follow())
        except RegistryError as error:
            end = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._finish(end)

    def _finish(self, end: RegistryError | None) -> None:
        self._closed = True
        self._frames.put(end)

    async def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            began = time.monotonic()
            await self._connection()
            # Straight back after a connection that worked, ever slower after those that did not.
            pause = _FIRST_PAUSE if time.monotonic() - began > 1 else min(2 * pause, _LAST_PAUSE)
            await self._wait(self._stop, pause)

    async def _connection(self) -> None:
        try:
            request = self._request()
            connection = await websocket_connect(
                request, ping_interval=_SILENCE / 2, ping_timeout=_SILENCE / 2
            )
        except HTTPClientError as error:
            if error.code in (400, 401, 403, 404, 426):
                raise RegistryError(f"the registry refused the live feed: {error}") from error
            return
        except OSError:
            return
        ended = False
        self._away_since = None
        try:
            ended = await self._receive(connection)
        finally:
            self._away_since = time.time()
            await _close(connection, confirmed=ended)
        if connection.close_code == _NOT_FOUND:
            raise RegistryError(connection.close_reason or "there is no such cluster")

    def _request(self) -> HTTPRequest:
        url, headers, context = self._site()
        return HTTPRequest(
            url_concat(url, {"since": self._since}) if self._since else url,
            headers=dict(headers),
            connect_timeout=5.0,
            ssl_options=context,
        )

    async def _receive(self, connection: WebSocketClientConnection) -> bool:
        """Take frames until the connection has ended, or the feed is to; say whether it has."""
        while not self._stop.is_set():
            message = asyncio.ensure_future(connection.read_message())
            stop = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([message, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not message.done():
                message.cancel()
                break
            text = message.result()
            if text is None:
                return True
            frame = read_frame(text)
            await self._put(frame)
            self._since = frame.cursor
        return False

    async def _put(self, frame: Frame) -> None:
        while self._frames.qsize() >= _WAITING and not self._stop.is_set():
            self._room.clear()
            await self._wait(self._room, 1.0)
        if not self._stop.is_set():
            self._frames.put(frame)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, for so long at most, or until the feed is to end."""
        tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stop.wait())]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _close(connection: WebSocketClientConnection, *, confirmed: bool) -> None:
    """Close a connection, and wait until the registry has confirmed it, if it has not yet."""
    stream = connection.protocol.stream if connection.protocol is not None else None
    connection.close()
    try:
        async with asyncio.timeout(_CLOSING):
            while not confirmed:
                # What was under way comes again, after the cursor.
                confirmed = await connection.read_message() is None
    except TimeoutError:
        if stream is not None:
            stream.close()
