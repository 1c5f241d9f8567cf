"""Clusters, their status and leases."""

from __future__ import annotations

from palm.registry_api import schema
from palm_registry.description import Query, describes
from palm_registry.failures import Forbidden
from palm_registry.handlers.base import MAX_NAME, Base

__all__ = ["Cluster", "Clusters", "Lease", "Reset", "Status"]


class Clusters(Base):
    """All clusters."""

    scopes = {"GET": "viewer", "POST": "operator"}

    @describes(
        Query("status", "1: say of each whether it is ready, too", "flag"),
        reply=list[schema.ClusterInfo],
    )
    async def get(self) -> None:
        """List those that whoever asks may see."""
        principal = self.principal
        found = await self.service.clusters.all(principal.owner)
        found = [info for info in found if principal.cluster in ("", info.key)]
        if self.get_query_argument("status", "") == "1":
            await self.service.status.add_to(found)
        self.answer(found)

    @describes(
        body=schema.ClusterCreate,
        reply=schema.ClusterInfo,
        status=(200, 201),
        errors=(409,),
        example=schema.ClusterCreate(name="default", linger=120.0),
    )
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

    scopes = {"GET": "viewer", "PATCH": "operator", "DELETE": "operator"}

    @describes(reply=schema.ClusterInfo)
    async def get(self, key: str) -> None:
        """Describe it."""
        self.answer(await self.service.clusters.get(key))

    @describes(body=schema.ClusterUpdate, reply=schema.ClusterInfo)
    async def patch(self, key: str) -> None:
        """Change its name for people, or its linger."""
        self.answer(await self.service.clusters.update(key, self.body(schema.ClusterUpdate)))

    @describes()
    async def delete(self, key: str) -> None:
        """End and forget it."""
        await self.service.clusters.delete(key)
        self.nothing()


class Reset(Base):
    """A new beginning for what was lost."""

    scopes = {"POST": "operator"}

    @describes(
        reply=schema.ClusterInfo, summary="Forget lost nodes, and place again what ran there."
    )
    async def post(self, key: str) -> None:
        """Forget lost nodes."""
        self.answer(await self.service.clusters.reset(key))


class Status(Base):
    """What there is and what is missing."""

    scopes = {"GET": "viewer"}

    @describes(
        reply=schema.ClusterStatus,
        summary="Return what there is of a cluster, and what is missing.",
    )
    async def get(self, key: str) -> None:
        """Return it."""
        self.answer(await self.service.clusters.status(key))


class Lease(Base):
    """Who keeps the cluster alive."""

    scopes = {"POST": "operator"}
    audited = False

    @describes(
        body=schema.Lease,
        reply=schema.LeaseReply,
        errors=(409,),
        example=schema.Lease(holder="notebook-1"),
        summary="Give, renew or take back a lease that keeps the cluster alive, or end it.",
    )
    async def post(self, key: str) -> None:
        """Give, renew or take back a lease."""
        lease = self.body(schema.Lease)
        self.audited = lease.end  # the rest happens all the time, and by itself
        self.answer(await self.service.clusters.lease(key, lease))
