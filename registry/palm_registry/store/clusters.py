"""Clusters, their files, their components and where these are placed, and their leases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from palm.registry_api.schema import ClusterState
from palm.spec.component import ComponentSpec
from palm.spec.plan import Replica
from palm_registry.keys import owner_of
from palm_registry.models import clusters, components, leases, nodes, placements
from palm_registry.scopes import OWNER
from palm_registry.store.database import fetch_all, fetch_one

__all__ = [
    "ClusterRow",
    "ComponentRow",
    "add_cluster",
    "all_clusters",
    "all_components",
    "bump",
    "count_parts",
    "delete_cluster",
    "delete_component",
    "delete_lease",
    "delete_placements",
    "get_cluster",
    "get_component",
    "get_leases",
    "get_placements",
    "put_component",
    "put_lease",
    "put_placements",
    "update_cluster",
]


class ClusterRow(msgspec.Struct, kw_only=True):
    """One cluster, as it is stored."""

    key: str
    name: str
    created: float
    updated: float
    config_version: int = 0
    generation: int = 0
    state: ClusterState = "alive"
    linger: float | None = None
    held: bool = False
    purge: bool = False
    owner: str = OWNER


class ComponentRow(msgspec.Struct, kw_only=True):
    """One component, as it is stored."""

    spec: ComponentSpec
    running: bool = True
    released: bool = False
    stop_grace: float | None = None

    @property
    def desired(self) -> int:
        """Replicas that are wanted now."""
        return self.spec.replicas if self.running else 0


def all_clusters(connection: Connection, owner: str | None = None) -> list[ClusterRow]:
    """Return every cluster, or every one of a user, by key."""
    query = select(clusters).order_by(clusters.c.key)
    if owner is not None:
        query = query.where(clusters.c.owner == owner)
    return [ClusterRow(**row) for row in fetch_all(connection, query)]


def get_cluster(connection: Connection, key: str) -> ClusterRow | None:
    """Return a cluster, if it is there, and if it is of the user whose a `Key` is."""
    query = select(clusters).where(clusters.c.key == key)
    owner = owner_of(key)
    if owner is not None:
        query = query.where(clusters.c.owner == owner)
    row = fetch_one(connection, query)
    return None if row is None else ClusterRow(**row)


def add_cluster(connection: Connection, row: ClusterRow) -> None:
    """Store a new cluster."""
    connection.execute(insert(clusters).values(**msgspec.structs.asdict(row)))


def update_cluster(connection: Connection, key: str, **values: Any) -> None:
    """Change columns of a cluster."""
    connection.execute(update(clusters).where(clusters.c.key == key).values(**values))


def delete_cluster(connection: Connection, key: str) -> None:
    """Delete a cluster and all that belongs to it."""
    connection.execute(delete(clusters).where(clusters.c.key == key))


def bump(connection: Connection, key: str) -> int:
    """Count a change of what is to run, and return the new generation."""
    update_cluster(connection, key, generation=clusters.c.generation + 1)
    query = select(clusters.c.generation).where(clusters.c.key == key)
    return int(connection.scalar(query) or 0)


def count_parts(connection: Connection, key: str) -> tuple[int, int]:
    """Return how many nodes and components a cluster has."""
    found = select(func.count()).select_from(nodes)
    found = found.where(nodes.c.cluster == key, ~nodes.c.removed)
    parts = select(func.count()).select_from(components).where(components.c.cluster == key)
    return int(connection.scalar(found) or 0), int(connection.scalar(parts) or 0)


def all_components(connection: Connection, key: str) -> dict[str, ComponentRow]:
    """Return the components of a cluster by name."""
    query = select(components).where(components.c.cluster == key).order_by(components.c.name)
    return {row["name"]: _component(row) for row in fetch_all(connection, query)}


def get_component(connection: Connection, key: str, name: str) -> ComponentRow | None:
    """Return a component, if it is there."""
    query = select(components).where(components.c.cluster == key, components.c.name == name)
    row = fetch_one(connection, query)
    return None if row is None else _component(row)


def _component(row: dict[str, Any]) -> ComponentRow:
    return ComponentRow(
        spec=msgspec.convert(row["spec"], ComponentSpec),
        running=row["running"],
        released=row["released"],
        stop_grace=row["stop_grace"],
    )


def put_component(connection: Connection, key: str, row: ComponentRow) -> None:
    """Store a component, in the place of any other of its name."""
    delete_component(connection, key, row.spec.name)
    connection.execute(
        insert(components).values(
            cluster=key,
            name=row.spec.name,
            spec=msgspec.to_builtins(row.spec),
            running=row.running,
            released=row.released,
            stop_grace=row.stop_grace,
        )
    )


def delete_component(connection: Connection, key: str, name: str) -> None:
    """Forget a component; its placements stay."""
    query = delete(components).where(components.c.cluster == key, components.c.name == name)
    connection.execute(query)


def get_placements(connection: Connection, key: str) -> dict[tuple[str, int], str]:
    """Return the node of each placed replica by component and number."""
    rows = fetch_all(connection, select(placements).where(placements.c.cluster == key))
    return {(row["component"], row["replica"]): row["node"] for row in rows}


def put_placements(connection: Connection, key: str, found: Mapping[Replica, str | None]) -> None:
    """Say which node runs each of these replicas, in the place of any other; None: none."""
    if not found:
        return
    same = (
        placements.c.cluster == key,
        placements.c.component == bindparam("one"),
        placements.c.replica == bindparam("number"),
    )
    old = [{"one": component, "number": number} for component, number in found]
    connection.execute(delete(placements).where(*same), old)
    rows = [
        {"cluster": key, "component": component, "replica": number, "node": node}
        for (component, number), node in found.items()
        if node is not None
    ]
    if rows:
        connection.execute(insert(placements), rows)


def delete_placements(connection: Connection, key: str) -> None:
    """Forget where all replicas are placed."""
    connection.execute(delete(placements).where(placements.c.cluster == key))


def get_leases(connection: Connection) -> list[tuple[str, str, float]]:
    """Return cluster, holder and ttl of every lease."""
    rows = fetch_all(connection, select(leases))
    return [(row["cluster"], row["holder"], row["ttl"]) for row in rows]


def put_lease(connection: Connection, key: str, holder: str, ttl: float) -> None:
    """Store a lease."""
    delete_lease(connection, key, holder)
    connection.execute(insert(leases).values(cluster=key, holder=holder, ttl=ttl))


def delete_lease(connection: Connection, key: str, holder: str | None = None) -> None:
    """Forget the lease of a holder, or all of a cluster."""
    query = delete(leases).where(leases.c.cluster == key)
    if holder is not None:
        query = query.where(leases.c.holder == holder)
    connection.execute(query)
