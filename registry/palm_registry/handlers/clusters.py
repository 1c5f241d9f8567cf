"""Clusters, their files, status and leases."""

from __future__ import annotations

from typing import Any

from palm.registry_api import schema
from palm.spec.cluster import file_schema
from palm_registry.description import Query, describes
from palm_registry.handlers.base import Base
from palm_registry.service.clusters import check

__all__ = ["Cluster", "Clusters", "Config", "ConfigCheck", "FileSchema", "Lease", "Reset", "Status"]

_FILE = schema.ConfigText(text='[components.foo]\nscript = "foo.py"\n', folder="/home/me/project")


class FileSchema(Base):
    """The JSON schema of a cluster file."""

    @describes(reply=dict[str, Any], summary="Return the JSON schema of a cluster file.")
    def get(self) -> None:
        """Return it."""
        self.answer(file_schema())


class Clusters(Base):
    """All clusters."""

    @describes(reply=list[schema.ClusterInfo])
    async def get(self) -> None:
        """List them."""
        self.answer(await self.service.clusters.all())

    @describes(
        body=schema.ClusterCreate,
        reply=schema.ClusterInfo,
        status=(200, 201),
        errors=(409,),
        example=schema.ClusterCreate(name="default", linger=120.0),
    )
    async def post(self) -> None:
        """Make one, or find it."""
        info, made = await self.service.clusters.create(self.body(schema.ClusterCreate))
        self.answer(info, 201 if made else 200)


class Cluster(Base):
    """One cluster."""

    @describes(reply=schema.ClusterInfo)
    async def get(self, key: str) -> None:
        """Describe it."""
        self.answer(await self.service.clusters.get(key))

    @describes()
    async def delete(self, key: str) -> None:
        """End and forget it."""
        await self.service.clusters.delete(key)
        self.nothing()


class Reset(Base):
    """A new beginning for what was lost."""

    @describes(
        reply=schema.ClusterInfo, summary="Forget lost nodes, and place again what ran there."
    )
    async def post(self, key: str) -> None:
        """Forget lost nodes."""
        self.answer(await self.service.clusters.reset(key))


class Config(Base):
    """The cluster file."""

    @describes(
        Query("version", "which one, counted from 1; the latest if it is left out", "count"),
        reply=schema.ConfigText,
    )
    async def get(self, key: str) -> None:
        """Return a version, the latest if none is given."""
        self.answer(await self.service.clusters.config(key, self.count("version")))

    @describes(body=schema.ConfigText, reply=schema.ConfigText, example=_FILE)
    async def put(self, key: str) -> None:
        """Put another one in force."""
        self.answer(await self.service.clusters.set_config(key, self.body(schema.ConfigText)))


class ConfigCheck(Base):
    """A cluster file that is only looked at."""

    @describes(
        body=schema.ConfigText,
        reply=schema.ConfigCheck,
        example=_FILE,
        summary="Say what a cluster file would mean, and all that is wrong with it.",
    )
    async def post(self, key: str) -> None:
        """Say what it would mean."""
        await self.service.clusters.get(key)
        self.answer(check(self.body(schema.ConfigText)))


class Status(Base):
    """What there is and what is missing."""

    @describes(
        reply=schema.ClusterStatus,
        summary="Return what there is of a cluster, and what is missing.",
    )
    async def get(self, key: str) -> None:
        """Return it."""
        self.answer(await self.service.clusters.status(key))


class Lease(Base):
    """Who keeps the cluster alive."""

    @describes(
        body=schema.Lease,
        reply=schema.LeaseReply,
        errors=(409,),
        example=schema.Lease(holder="notebook-1"),
        summary="Give, renew or take back a lease that keeps the cluster alive, or end it.",
    )
    async def post(self, key: str) -> None:
        """Give, renew or take back a lease."""
        self.answer(await self.service.clusters.lease(key, self.body(schema.Lease)))
