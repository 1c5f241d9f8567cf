"""Output and events of a cluster."""

from __future__ import annotations

from tornado.iostream import StreamClosedError

from palm.registry_api import schema
from palm_registry.failures import Invalid
from palm_registry.handlers.base import Base
from palm_registry.store.output import Selection

__all__ = ["Download", "Events", "Output", "selection_of"]

#: Lines that ``grep`` finds, unless told.
GREP_LINES = 1000
MAX_GREP = 1000


def selection_of(handler: Base, key: str) -> Selection:
    """Read from a query which output is meant."""
    stream = handler.get_query_argument("stream", "")
    if stream not in ("", "stdout", "stderr"):
        raise Invalid("query", f"stream: {stream!r} is neither stdout nor stderr")
    return Selection(
        cluster=key,
        components=tuple(name for name in handler.get_query_arguments("component") if name),
        name=handler.get_query_argument("name", ""),
        instance=handler.get_query_argument("instance", ""),
        replica=handler.count("replica"),
        stream=stream,
        since=handler.number("since"),
        until=handler.number("until"),
    )


class Output(Base):
    """What components wrote."""

    scopes = {"GET": "viewer", "POST": "runner"}
    audited = False

    async def get(self, key: str) -> None:
        """Return a page from ``cursor`` on; or the last ``lines``, of those with ``grep``."""
        selection = selection_of(self, key)
        raw = self.get_query_argument("raw", "") == "1"
        grep = self.get_query_argument("grep", "")
        if len(grep) > MAX_GREP:
            raise Invalid("query", f"grep: more than {MAX_GREP} characters")
        lines = self.count("lines", GREP_LINES if grep else None)
        if lines is not None:
            self.answer(await self.service.outputs.lines(selection, lines, grep, raw=raw))
            return
        cursor = self.get_query_argument("cursor", "")
        limit = self.count("limit", 1000) or 1
        self.answer(await self.service.outputs.page(selection, cursor, limit, raw=raw))

    async def post(self, key: str) -> None:
        """Store pieces, each once."""
        pieces = self.body(list[schema.OutputPiece])
        self.answer(await self.service.outputs.store(key, pieces))


class Download(Base):
    """All that a component wrote, as a file."""

    scopes = {"GET": "viewer"}

    async def get(self, key: str) -> None:
        """Send it as it was written."""
        selection = selection_of(self, key)
        parts = [key, *selection.components, selection.name, selection.stream]
        name = "-".join(part for part in parts if part.replace("-", "").replace("_", "").isalnum())
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}.log"')
        try:
            async for data in self.service.outputs.download(selection):
                self.write(data)
                await self.flush()
        except StreamClosedError:
            return  # whoever asked has gone


class Events(Base):
    """What happened."""

    scopes = {"GET": "viewer"}

    async def get(self, key: str) -> None:
        """Return events after the cursor ``since``."""
        cursor = self.get_query_argument("since", "")
        limit = self.count("limit", 1000) or 1
        events, after = await self.service.outputs.events(key, cursor, limit)
        self.answer({"events": events, "cursor": after})
