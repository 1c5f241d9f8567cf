"""Clusters, their status and leases."""

from __future__ import annotations

from palm.registry_api import schema
from palm_registry.handlers.base import Base

__all__ = ["Cluster", "Clusters", "Lease", "Reset", "Status"]


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

    async def patch(self, key: str) -> None:
        """Change its name for people, or its linger."""
        self.answer(await self.service.clusters.update(key, self.body(schema.ClusterUpdate)))

    async def delete(self, key: str) -> None:
        """End and forget it."""
        await self.service.clusters.delete(key)
        self.nothing()


class Reset(Base):
    """A new beginning for what was lost."""

    async def post(self, key: str) -> None:
        """Forget lost nodes."""
        self.answer(await self.service.clusters.reset(key))


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
