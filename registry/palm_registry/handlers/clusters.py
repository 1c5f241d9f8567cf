"""Clusters, their files, status and leases."""

from __future__ import annotations

from palm.registry_api import schema
from palm.spec.cluster import file_schema
from palm_registry.handlers.base import Base
from palm_registry.service.clusters import check

__all__ = ["Cluster", "Clusters", "Config", "ConfigCheck", "FileSchema", "Lease", "Reset", "Status"]


class FileSchema(Base):
    """The JSON schema of a cluster file."""

    def get(self) -> None:
        """Return it."""
        self.answer(file_schema())


class Clusters(Base):
    """All clusters."""

    async def get(self) -> None:
        """List them."""
        self.answer(await self.service.clusters.all())

    async def post(self) -> None:
        """Make one, or find it."""
        info, made = await self.service.clusters.create(self.body(schema.ClusterCreate))
        self.answer(info, 201 if made else 200)


class Cluster(Base):
    """One cluster."""

    async def get(self, key: str) -> None:
        """Describe it."""
        self.answer(await self.service.clusters.get(key))

    async def delete(self, key: str) -> None:
        """End and forget it."""
        await self.service.clusters.delete(key)
        self.nothing()


class Reset(Base):
    """A new beginning for what was lost."""

    async def post(self, key: str) -> None:
        """Forget lost nodes."""
        self.answer(await self.service.clusters.reset(key))


class Config(Base):
    """The cluster file."""

    async def get(self, key: str) -> None:
        """Return the latest version."""
        self.answer(await self.service.clusters.config(key, self.count("version")))

    async def put(self, key: str) -> None:
        """Put another one in force."""
        self.answer(await self.service.clusters.set_config(key, self.body(schema.ConfigText)))


class ConfigCheck(Base):
    """A cluster file that is only looked at."""

    async def post(self, key: str) -> None:
        """Say what it would mean."""
        await self.service.clusters.get(key)
        self.answer(check(self.body(schema.ConfigText)))


class Status(Base):
    """What there is and what is missing."""

    async def get(self, key: str) -> None:
        """Return it."""
        self.answer(await self.service.clusters.status(key))


class Lease(Base):
    """Who keeps the cluster alive."""

    async def post(self, key: str) -> None:
        """Give, renew or take back a lease."""
        self.answer(await self.service.clusters.lease(key, self.body(schema.Lease)))
