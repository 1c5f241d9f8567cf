"""Nodes, and what their runners have reported."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from palm.registry_api.schema import ReplicaStatus
from palm_registry.models import nodes, replicas
from palm_registry.store.database import fetch_all, fetch_one

__all__ = [
    "NodeRow",
    "all_nodes",
    "delete_replica",
    "get_node",
    "get_replicas",
    "put_node",
    "put_replica",
    "update_node",
]


class NodeRow(msgspec.Struct, kw_only=True):
    """One node, as it is stored."""

    cluster: str
    id: str
    name: str
    address: str = ""
    cores: int = 0
    labels: dict[str, str] = {}
    session: str = ""
    alive: bool = True
    removed: bool = False
    seen: float = 0.0


def all_nodes(connection: Connection, key: str | None = None) -> list[NodeRow]:
    """Return the nodes of a cluster, or of all clusters, that were not removed."""
    query = select(nodes).where(~nodes.c.removed).order_by(nodes.c.id)
    if key is not None:
        query = query.where(nodes.c.cluster == key)
    return [NodeRow(**row) for row in fetch_all(connection, query)]


def get_node(connection: Connection, key: str, node: str) -> NodeRow | None:
    """Return a node, also one that was removed."""
    query = select(nodes).where(nodes.c.cluster == key, nodes.c.id == node)
    row = fetch_one(connection, query)
    return None if row is None else NodeRow(**row)


def put_node(connection: Connection, row: NodeRow) -> None:
    """Store a node, in the place of any other of its id."""
    same = (nodes.c.cluster == row.cluster, nodes.c.id == row.id)
    connection.execute(delete(nodes).where(*same))
    connection.execute(insert(nodes).values(**msgspec.structs.asdict(row)))


def update_node(connection: Connection, key: str, node: str, **values: Any) -> None:
    """Change columns of a node."""
    same = (nodes.c.cluster == key, nodes.c.id == node)
    connection.execute(update(nodes).where(*same).values(**values))


def get_replicas(connection: Connection, key: str) -> dict[str, ReplicaStatus]:
    """Return what was reported last of each replica, by its name."""
    query = select(replicas).where(replicas.c.cluster == key).order_by(replicas.c.name)
    rows = fetch_all(connection, query)
    return {row["name"]: msgspec.convert(row["status"], ReplicaStatus) for row in rows}


def put_replica(connection: Connection, key: str, status: ReplicaStatus) -> None:
    """Store what was reported of a replica."""
    delete_replica(connection, key, status.name)
    values = {"name": status.name, "node": status.node, "status": msgspec.to_builtins(status)}
    connection.execute(insert(replicas).values(cluster=key, **values))


def delete_replica(connection: Connection, key: str, name: str) -> None:
    """Forget what was reported of a replica."""
    same = (replicas.c.cluster == key, replicas.c.name == name)
    connection.execute(delete(replicas).where(*same))
