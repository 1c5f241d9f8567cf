"""Status, events and output as they come, over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, cast

from tornado.web import HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from palm.errors import PalmError
from palm.registry_api.schema import TOPICS, USUAL_TOPICS, Topic
from palm_registry.description import Query, describes
from palm_registry.failures import Invalid, NotFound
from palm_registry.feed import Wanted
from palm_registry.handlers.base import Base, Context
from palm_registry.handlers.output import SELECTING, selection_of

__all__ = ["Live"]

_log = logging.getLogger("palm.registry")

#: Bytes of output that a reader may be behind, unless it asks for another number, and at most.
BACKLOG = 1024 * 1024
MAX_BACKLOG = 64 * 1024 * 1024
#: Why we close: the registry ends (come back), an error (likewise), who asked may not any more,
#: or there is no such cluster.
GOING_AWAY, FAILED, UNAUTHORISED, NOT_FOUND = 1001, 1011, 4401, 4404


class Live(Base, WebSocketHandler):
    """One subscriber."""

    scopes = {"GET": "viewer"}
    needs_origin = True

    def initialize(self, context: Context) -> None:
        """Prepare to be asked for something."""
        super().initialize(context)
        self._task: asyncio.Task[None] | None = None

    async def admit(self) -> None:
        """Answer as any other request while there is still a status to answer with."""
        await super().admit()
        key = self.path_kwargs["key"]
        await self.service.clusters.get(key)
        self._wanted = self._read(key)

    @describes(
        Query("topics", f"of {', '.join(TOPICS)}, with commas between"),
        Query("since", "the cursor of a frame, `start`, or `now` (also if it is left out)"),
        Query("backlog", "bytes of output to be behind at most", "count"),
        Query("gapless", "1: skip nothing, however far behind", "flag"),
        *SELECTING,
        status=101,
        errors=(426,),
        summary="Send status, samples, events and output as they come (WebSocket).",
    )
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Send frames, after the handshake of a WebSocket."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise HTTPError(HTTPStatus.UPGRADE_REQUIRED)
        await super().get(*args, **kwargs)

    def _read(self, key: str) -> Wanted:
        topics = self.get_query_argument("topics", ",".join(USUAL_TOPICS)).split(",")
        for topic in topics:
            if topic not in TOPICS:
                raise Invalid("query", f"there is no topic {topic!r}", f"of {', '.join(TOPICS)}")
        self._since = self.get_query_argument("since", "")
        backlog = self.count("backlog", BACKLOG) or 1
        gapless = self.get_query_argument("gapless", "") == "1"
        # Here `since` is a cursor, not a time.
        self.request.query_arguments.pop("since", None)
        return Wanted(
            topics=tuple(cast(list[Topic], topics)),
            selection=selection_of(self, key),
            backlog=None if gapless else min(backlog, MAX_BACKLOG),
        )

    def check_origin(self, origin: str) -> bool:
        """Say yes: `prepare` has looked."""
        return True

    def open(self, *_args: Any, **_kwargs: Any) -> None:
        """Begin to send."""
        self.service.core.tally.live += 1
        # As a request it is over; as a connection it begins.
        self.context.access.connections.add(self)
        self._task = asyncio.ensure_future(self._send())

    def on_message(self, message: str | bytes) -> None:
        """Ignore what a subscriber says: it has nothing to say."""

    def on_close(self) -> None:
        """End with the connection."""
        self.context.access.connections.discard(self)
        if self._task is not None:
            self.service.core.tally.live -= 1
            self._task.cancel()

    def cut(self) -> None:
        """Say why it ends, if there is somebody to say it to, and end."""
        if self._task is None:
            super().cut()
            return
        self._task.cancel()
        self.close(UNAUTHORISED, "who asked may not any more")

    async def _send(self) -> None:
        frames = self.service.feed.frames(self._wanted, self._since)
        try:
            async with aclosing(frames):  # type: ignore[type-var]
                async for frame in frames:
                    # A slow reader makes us wait here, and holds no more than this one frame.
                    await self.write_message(frame)
            self.close(GOING_AWAY, "the registry ends")
        except WebSocketClosedError:
            pass
        except NotFound as error:
            self.close(NOT_FOUND, str(error)[:100])
        except PalmError as error:
            _log.error("a live feed ended: %s", error)
            self.close(FAILED, "try again")
