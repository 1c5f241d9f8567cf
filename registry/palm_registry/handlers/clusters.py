"""Clusters, their files, status and leases."""

from __future__ import annotations

from palm.registry_api import schema
from palm.spec.cluster import file_schema
from palm_registry.failures import Forbidden
from palm_registry.handlers.base import MAX_NAME, Base
from palm_registry.service.clusters import check

__all__ = ["Cluster", "Clusters", "Config", "ConfigCheck", "FileSchema", "Lease", "Reset", "Status"]


class FileSchema(Base):
    """The JSON schema of a cluster file."""

    scopes = {"GET": "viewer"}

    def get(self) -> None:
        """Return it."""
        self.answer(file_schema())


class Clusters(Base):
    """All clusters."""

    scopes = {"GET": "viewer", "POST": "operator"}

    async def get(self) -> None:
        """List those that whoever asks may see."""
        principal = self.principal
        found = await self.service.clusters.all(principal.owner)
        self.answer([info for info in found if principal.cluster in ("", info.key)])

    async def post(self) -> None:
        """Make one, or find it."""
        request, principal = self.body(schema.ClusterCreate), self.principal
        if principal.cluster not in ("", request.name):
            text = f"this token is for the cluster {principal.cluster!r} only"
            raise Forbidden("cluster", text)
        self.details = {"name": request.name[:MAX_NAME]}
        info, made = await self.service.clusters.create(request, principal.user, principal.owner)
        self.answer(info, 201 if made else 200)


class Cluster(Base):
    """One cluster."""

    scopes = {"GET": "viewer", "DELETE": "operator"}

    async def get(self, key: str) -> None:
        """Describe it."""
        self.answer(await self.service.clusters.get(key))

    async def delete(self, key: str) -> None:
        """End and forget it."""
        await self.service.clusters.delete(key)
        self.nothing()


class Reset(Base):
    """A new beginning for what was lost."""

    scopes = {"POST": "operator"}

    async def post(self, key: str) -> None:
        """Forget lost nodes."""
        self.answer(await self.service.clusters.reset(key))


class Config(Base):
    """The cluster file."""

    scopes = {"GET": "viewer", "PUT": "operator"}

    async def get(self, key: str) -> None:
        """Return the latest version."""
        self.answer(await self.service.clusters.config(key, self.count("version")))

    async def put(self, key: str) -> None:
        """Put another one in force."""
        self.answer(await self.service.clusters.set_config(key, self.body(schema.ConfigText)))


class ConfigCheck(Base):
    """A cluster file that is only looked at."""

    scopes = {"POST": "viewer"}
    audited = False

    async def post(self, key: str) -> None:
        """Say what it would mean."""
        await self.service.clusters.get(key)
        self.answer(check(self.body(schema.ConfigText)))


class Status(Base):
    """What there is and what is missing."""

    scopes = {"GET": "viewer"}

    async def get(self, key: str) -> None:
        """Return it."""
        self.answer(await self.service.clusters.status(key))


class Lease(Base):
    """Who keeps the cluster alive."""

    scopes = {"POST": "operator"}
    audited = False

    async def post(self, key: str) -> None:
        """Give, renew or take back a lease."""
        lease = self.body(schema.Lease)
        self.audited = lease.end  # the rest happens all the time, and by itself
        self.answer(await self.service.clusters.lease(key, lease))
