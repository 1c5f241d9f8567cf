"""Nodes, what their runners have reported, and what may still run where it should not."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from palm.registry_api.schema import ReplicaStatus
from palm_registry.models import nodes, replicas, strays
from palm_registry.store.database import fetch_all, fetch_one

__all__ = [
    "NodeRow",
    "Stray",
    "all_nodes",
    "delete_node",
    "delete_replica",
    "delete_strays",
    "get_node",
    "get_replicas",
    "get_sessions",
    "get_strays",
    "put_node",
    "put_replica",
    "put_stray",
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
    overdue: bool = False
    places: int = 0


class Stray(NamedTuple):
    """A process that runs, or may run, on a node that is not to run it any more."""

    node: str
    name: str
    component: str


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


def get_sessions(connection: Connection, key: str) -> dict[str, str]:
    """Return the session of each node of a cluster that was not removed."""
    query = select(nodes.c.id, nodes.c.session).where(nodes.c.cluster == key, ~nodes.c.removed)
    return {row["id"]: row["session"] for row in fetch_all(connection, query)}


def put_node(connection: Connection, row: NodeRow) -> None:
    """Store a node, in the place of any other of its id."""
    same = (nodes.c.cluster == row.cluster, nodes.c.id == row.id)
    connection.execute(delete(nodes).where(*same))
    connection.execute(insert(nodes).values(**msgspec.structs.asdict(row)))


def update_node(connection: Connection, key: str, node: str, **values: Any) -> None:
    """Change columns of a node."""
    same = (nodes.c.cluster == key, nodes.c.id == node)
    connection.execute(update(nodes).where(*same).values(**values))


def delete_node(connection: Connection, key: str, node: str) -> None:
    """Forget a node, as if there never had been one of that name."""
    connection.execute(delete(nodes).where(nodes.c.cluster == key, nodes.c.id == node))


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


def get_strays(connection: Connection, key: str) -> set[Stray]:
    """Return what may still run on nodes that are not to run it."""
    query = select(strays.c.node, strays.c.name, strays.c.component).where(strays.c.cluster == key)
    return {Stray(**row) for row in fetch_all(connection, query)}


def put_stray(connection: Connection, key: str, stray: Stray) -> None:
    """Note a process that may still run on a node that is not to run it."""
    delete_strays(connection, key, stray.node, stray.name)
    connection.execute(insert(strays).values(cluster=key, **stray._asdict()))


def delete_strays(connection: Connection, key: str, node: str, name: str | None = None) -> None:
    """Forget a stray of a node that is gone by now, or all of that node."""
    query = delete(strays).where(strays.c.cluster == key, strays.c.node == node)
    if name is not None:
        query = query.where(strays.c.name == name)
    connection.execute(query)
