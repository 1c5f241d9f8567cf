"""Clusters: each as a whole, how it is, and who keeps it alive."""

from __future__ import annotations

from typing import Literal

import msgspec

from palm.registry_api.schema.base import Value
from palm.registry_api.schema.components import ComponentStatus, Missing
from palm.registry_api.schema.nodes import NodeInfo

__all__ = [
    "ClusterCreate",
    "ClusterInfo",
    "ClusterState",
    "ClusterStatus",
    "ClusterUpdate",
    "Lease",
    "LeaseReply",
]

#: "ending": its nodes are told to stop; "ended": they have.
ClusterState = Literal["alive", "ending", "ended"]


class ClusterInfo(Value):
    """One cluster. ``linger`` None: it never ends by itself; ``holders`` keep it alive.

    ``lease_until`` is when the last lease ends, None if nobody holds one. ``owner`` is the user
    whose it is. Only who asks with ``status=1`` is told whether it is ``ready`` and how many
    processes are ``missing``; None: not asked for.
    """

    key: str
    name: str
    created: float
    updated: float
    config_version: int = 0
    generation: int = 0
    state: ClusterState = "alive"
    linger: float | None = None
    lease_until: float | None = None
    holders: list[str] = []
    nodes: int = 0
    components: int = 0
    owner: str = "owner"
    ready: bool | None = None
    missing: int | None = None


class ClusterCreate(Value):
    """POST api/clusters; asking again for one that is there returns it."""

    name: str
    linger: float | msgspec.UnsetType | None = msgspec.UNSET


class ClusterUpdate(Value):
    """PATCH api/clusters/{key}: what is left out stays. ``name`` is for people; the key stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    linger: float | msgspec.UnsetType | None = msgspec.UNSET


class ClusterStatus(Value):
    """The whole cluster at one moment; ``cursor`` is where a live feed goes on from here."""

    cluster: str
    ready: bool
    state: ClusterState = "alive"
    missing: list[Missing] = []
    components: list[ComponentStatus] = []
    nodes: list[NodeInfo] = []
    generation: int = 0
    cursor: str = ""
    time: float = 0.0


class Lease(Value):
    """POST api/clusters/{key}/lease: ``holder`` keeps the cluster alive for ``ttl`` seconds.

    ``release`` gives the lease back. ``linger`` (left out: as it is) is how long the cluster
    goes on after its last lease, None for ever. ``end`` ends the cluster now, whoever holds it.
    A cluster that has ended goes on, unless ``revive`` is false: then it is 409 "cluster-ended".
    """

    holder: str
    ttl: float = 30.0
    release: bool = False
    linger: float | msgspec.UnsetType | None = msgspec.UNSET
    end: bool = False
    revive: bool = True


class LeaseReply(Value):
    """When the last lease ends, None if nobody holds one."""

    lease_until: float | None
    linger: float | None = None
    holders: list[str] = []
