"""Nodes of a cluster: what runners call."""

from __future__ import annotations

import asyncio

from palm.registry_api import schema
from palm_registry.description import describes
from palm_registry.failures import Unauthorised
from palm_registry.handlers.base import MAX_NAME, Base, Context

__all__ = ["Heartbeat", "Node", "Nodes"]


class Nodes(Base):
    """All nodes of a cluster."""

    scopes = {"GET": "viewer", "POST": "runner"}

    @describes(reply=list[schema.NodeInfo])
    async def get(self, key: str) -> None:
        """List them."""
        self.answer(await self.service.nodes.all(key))

    @describes(
        body=schema.NodeJoin,
        reply=schema.NodeJoined,
        status=201,
        example=schema.NodeJoin(name="here", address="machine-1", cores=4),
    )
    async def post(self, key: str) -> None:
        """Let a runner join."""
        request = self.body(schema.NodeJoin)
        self.details = {"node": request.name[:MAX_NAME]}
        self.answer(await self.service.nodes.join(key, request), 201)


class Node(Base):
    """One node."""

    scopes = {"DELETE": "runner"}

    @describes()
    async def delete(self, key: str, node: str) -> None:
        """Let it go."""
        await self.service.nodes.leave(key, node)
        self.nothing()


class Heartbeat(Base):
    """A runner's report, and its question what to run."""

    scopes = {"POST": "runner"}
    audited = False

    def initialize(self, context: Context) -> None:
        """Prepare to be left alone while waiting."""
        super().initialize(context)
        self._gone = asyncio.Event()
        self._cut = False

    @describes(
        body=schema.Heartbeat,
        reply=schema.Assignments,
        errors=(409, 410),
        summary="Take a runner's report; answer with what it is to run, once that is different.",
    )
    async def post(self, key: str, node: str) -> None:
        """Answer once there is something new, or its time is over."""
        beat = self.body(schema.Heartbeat)
        assignments = await self.service.nodes.heartbeat(key, node, beat, self._gone)
        if self._cut:
            raise Unauthorised("token", "the registry does not know this token any more")
        if not self._gone.is_set():
            self.answer(assignments)

    def cut(self) -> None:
        """Answer now, that whoever asked may not any more."""
        self._cut = True
        self._gone.set()

    def on_connection_close(self) -> None:
        """Note that nobody waits any more."""
        super().on_connection_close()
        self._gone.set()
