"""Calls about clusters: each as a whole, and who keeps it alive."""

from __future__ import annotations

import msgspec

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster

__all__ = ["ClusterCalls"]


class ClusterCalls(Calls):
    """What may be asked about clusters."""

    def cluster_list(self, *, status: bool = False) -> list[schema.ClusterInfo]:
        """Return all clusters; with `status`, whether each is ready, too."""
        path = "api/clusters?status=1" if status else "api/clusters"
        return self._call("GET", path, list[schema.ClusterInfo])

    def create_cluster(
        self, name: str, linger: float | msgspec.UnsetType | None = msgspec.UNSET
    ) -> schema.ClusterInfo:
        """Return the cluster of a name; it is made, or goes on, if need be."""
        request = schema.ClusterCreate(name=name, linger=linger)
        return self._call("POST", "api/clusters", schema.ClusterInfo, request, repeat=True)

    def view_cluster(self, key: str) -> schema.ClusterInfo:
        """Return what is known of a cluster as a whole."""
        return self._call("GET", of_cluster(key), schema.ClusterInfo)

    def update_cluster(
        self,
        key: str,
        *,
        name: str | msgspec.UnsetType = msgspec.UNSET,
        linger: float | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> schema.ClusterInfo:
        """Change the name that people see, or how long it lingers; what is not given stays."""
        request = schema.ClusterUpdate(name=name, linger=linger)
        return self._call("PATCH", of_cluster(key), schema.ClusterInfo, request, repeat=True)

    def delete_cluster(self, key: str) -> None:
        """End a cluster and forget it, with its output."""
        self._call("DELETE", of_cluster(key), None)

    def cluster_reset(self, key: str) -> schema.ClusterInfo:
        """Forget lost nodes, and place again what ran there."""
        return self._call("POST", of_cluster(key, "reset"), schema.ClusterInfo)

    def cluster_status(self, key: str) -> schema.ClusterStatus:
        """Return what there is of a cluster and what is missing."""
        return self._call("GET", of_cluster(key, "status"), schema.ClusterStatus)

    def lease(
        self,
        key: str,
        holder: str,
        ttl: float = 30.0,
        *,
        linger: float | msgspec.UnsetType | None = msgspec.UNSET,
        revive: bool = True,
    ) -> schema.LeaseReply:
        """Keep a cluster alive for `ttl` seconds from now.

        One that has ended goes on, unless `revive` is false: then that is `Refused`.
        """
        lease = schema.Lease(holder=holder, ttl=ttl, linger=linger, revive=revive)
        return self._lease(key, lease)

    def release(self, key: str, holder: str) -> schema.LeaseReply:
        """Give a lease back."""
        return self._lease(key, schema.Lease(holder=holder, release=True))

    def end_cluster(self, key: str, holder: str = "user") -> schema.LeaseReply:
        """Let a cluster end now, whoever holds it; what it wrote stays."""
        return self._lease(key, schema.Lease(holder=holder, end=True))

    def _lease(self, key: str, lease: schema.Lease) -> schema.LeaseReply:
        return self._call("POST", of_cluster(key, "lease"), schema.LeaseReply, lease, repeat=True)
