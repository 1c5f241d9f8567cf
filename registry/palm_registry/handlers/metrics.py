"""Metrics: of the registry for Prometheus, and of the processes of a cluster."""

from __future__ import annotations

import asyncio

from palm.registry_api import schema
from palm_registry import exposition
from palm_registry.description import Query, describes
from palm_registry.handlers.base import Base

__all__ = ["ClusterMetrics", "Metrics", "NodeMetrics"]


class Metrics(Base):
    """All that is counted."""

    scopes = {"GET": "viewer"}

    @describes(media="text/plain", summary="Return all metrics in the text format of Prometheus.")
    async def get(self) -> None:
        """Return it for Prometheus."""
        metrics = self.service.metrics
        async with metrics.drawing:
            # There may be many thousands of lines, and others want answers meanwhile.
            text = await asyncio.to_thread(
                exposition.render,
                await metrics.picture(self.principal.owner, self.principal.cluster),
            )
        self.set_header("Content-Type", exposition.CONTENT_TYPE)
        self.finish(text)


class ClusterMetrics(Base):
    """What processes of a cluster use and do."""

    scopes = {"GET": "viewer"}

    @describes(
        Query("history", "1: also what is kept of the last minutes, as series", "flag"),
        reply=schema.ClusterMetrics,
        summary="Return the newest sample of each process: what it uses, and what it does.",
    )
    async def get(self, key: str) -> None:
        """Return it."""
        history = self.get_query_argument("history", "0") == "1"
        self.answer(await self.service.metrics.cluster(key, history=history))


class NodeMetrics(Base):
    """What a runner tells of its processes."""

    scopes = {"POST": "runner"}
    audited = False

    @describes(
        body=schema.NodeSamples,
        errors=(409, 410),
        example=schema.NodeSamples(
            samples=[schema.Sample(name="foo", component="foo", instance="foo.1", pid=4711)]
        ),
        summary="Take a sample of each process of a node; what is not named is dropped.",
    )
    async def post(self, key: str, node: str) -> None:
        """Take it."""
        await self.service.metrics.take(key, node, self.body(schema.NodeSamples))
        self.nothing()
