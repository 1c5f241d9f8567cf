"""Output and events of a cluster."""

from __future__ import annotations

import re

from tornado.iostream import StreamClosedError

from palm.registry_api import schema
from palm_registry.description import Query, describes
from palm_registry.failures import Invalid
from palm_registry.handlers.base import Base
from palm_registry.matching import MAX_PATTERN, Matcher
from palm_registry.store.output import Selection

__all__ = ["Download", "Events", "Output", "selection_of"]

#: Lines that are looked for, unless told.
GREP_LINES = 1000

#: The arguments of `selection_of`; in the live feed ``since`` is another one.
SELECTING = (
    Query("component", "of these components only", many=True),
    Query("name", "of the process of this name only"),
    Query("instance", "of this life of a process only"),
    Query("replica", "of the replica of this number only", "count"),
    Query("stream", "of this stream only", choices=("stdout", "stderr")),
)
PERIOD = (
    Query("since", "written at this time or later", "number"),
    Query("until", "written before this time", "number"),
)


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

    @describes(
        *SELECTING,
        *PERIOD,
        Query("cursor", "go on after it; `start`, or none, begins with the first piece"),
        Query("limit", "pieces in the answer, at most 1000", "count"),
        Query("lines", "instead: so many last lines, a record each", "count"),
        Query("grep", "of the lines that contain this text", longest=MAX_PATTERN),
        Query("regex", "of the lines in which RE2 finds this expression", longest=MAX_PATTERN),
        Query("before", "of the lines before the `first` of another answer"),
        Query("raw", "1: bytes always, never text", "flag"),
        reply=schema.OutputPage,
        summary="Return what was written: a page from a cursor on, or the last lines.",
    )
    async def get(self, key: str) -> None:
        """Return a page from ``cursor`` on; or the last ``lines`` that are looked for."""
        selection = selection_of(self, key)
        raw = self.get_query_argument("raw", "") == "1"
        grep = self.get_query_argument("grep", "", strip=False)
        regex = self.get_query_argument("regex", "", strip=False)
        lines = self.count("lines", GREP_LINES if grep or regex else None)
        if lines is not None:
            before = self.get_query_argument("before", "")
            search = self.service.searches.lines
            self.answer(await search(selection, lines, Matcher(grep, regex), before, raw=raw))
            return
        cursor = self.get_query_argument("cursor", "")
        limit = self.count("limit", 1000) or 1
        self.answer(await self.service.outputs.page(selection, cursor, limit, raw=raw))

    @describes(
        body=list[schema.OutputPiece],
        reply=list[schema.OutputAck],
        errors=(409,),
        example=[schema.OutputPiece(instance="foo.1", stream="stdout", offset=0, data=b"hello\n",
                                    component="foo", name="foo")],
    )  # fmt: skip
    async def post(self, key: str) -> None:
        """Store pieces, each once."""
        pieces = self.body(list[schema.OutputPiece])
        acks = await self.service.outputs.store(key, pieces)
        self.service.core.tally.took_output(len(pieces), sum(len(each.data) for each in pieces))
        self.answer(acks)


class Download(Base):
    """All that a component wrote, as a file."""

    scopes = {"GET": "viewer"}

    @describes(*SELECTING, *PERIOD, media="text/plain")
    async def get(self, key: str) -> None:
        """Send it as it was written."""
        selection = selection_of(self, key)
        parts = [key, *selection.components, selection.name, selection.stream]
        name = "-".join(part for part in parts if re.fullmatch(r"[A-Za-z0-9_-]+", part))
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

    @describes(
        Query("since", "the cursor of an answer; none begins with the first event"),
        Query("limit", "events in the answer, at most 1000", "count"),
        Query("latest", "1: instead of the first ones the last ones, in order", "flag"),
        Query("before", "with `latest`: of the events below this number", "count"),
        Query("component", "with `latest`: of the events of this component"),
        Query("kind", "with `latest`: of this kind; `component` has `component.ready` in it"),
        reply=schema.EventPage,
    )
    async def get(self, key: str) -> None:
        """Return events after the cursor ``since``; or the ``latest`` ones."""
        cursor = self.get_query_argument("since", "")
        limit = self.count("limit", 1000) or 1
        if self.get_query_argument("latest", "") == "1":
            component = self.get_query_argument("component", "")
            kind = self.get_query_argument("kind", "")
            latest = self.service.outputs.latest_events
            self.answer(await latest(key, self.count("before"), limit, component, kind))
            return
        events, after = await self.service.outputs.events(key, cursor, limit)
        self.answer(schema.EventPage(events=events, cursor=after))
