"""What is in the files of components, by its SHA-256."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from palm.registry_api.schema import Code
from palm_registry.models import code, components, configs
from palm_registry.store.database import fetch_all

__all__ = ["add_code", "drop_code", "get_code", "known_code", "named_code", "size_of_code"]

#: Rows that one statement names at most.
_AT_ONCE = 500


def known_code(connection: Connection, key: str, digests: Collection[str]) -> set[str]:
    """Return which of these contents a cluster has."""
    wanted, found = sorted(set(digests)), set[str]()
    for at in range(0, len(wanted), _AT_ONCE):
        part = wanted[at : at + _AT_ONCE]
        query = select(code.c.sha256).where(code.c.cluster == key, code.c.sha256.in_(part))
        found.update(connection.scalars(query))
    return found


def add_code(connection: Connection, key: str, digest: str, data: bytes, now: float) -> None:
    """Store a content that the cluster does not have yet."""
    values = {"sha256": digest, "size": len(data), "stored": now, "data": data}
    connection.execute(insert(code).values(cluster=key, **values))


def get_code(connection: Connection, key: str, digest: str) -> bytes | None:
    """Return a content, if the cluster has it."""
    query = select(code.c.data).where(code.c.cluster == key, code.c.sha256 == digest)
    found = connection.scalar(query)
    return None if found is None else bytes(found)


def size_of_code(connection: Connection, key: str) -> int:
    """Return how many bytes a cluster has of it."""
    query = select(func.sum(code.c.size)).where(code.c.cluster == key)
    return int(connection.scalar(query) or 0)


def named_code(connection: Connection, key: str) -> set[str]:
    """Return the contents that a version of the file, or a component, names."""
    found = set[str]()
    versions = select(configs.c.code).where(configs.c.cluster == key)
    for each in fetch_all(connection, versions):
        for one in msgspec.convert(each["code"], dict[str, Code]).values():
            found.update(file.sha256 for file in one.files.values())
    specs = select(components.c.spec).where(components.c.cluster == key)
    for each in fetch_all(connection, specs):
        declared = msgspec.convert(each["spec"].get("code"), Code | None)
        if declared is not None:
            found.update(file.sha256 for file in declared.files.values())
    return found


def drop_code(connection: Connection, before: float, key: str | None = None) -> int:
    """Forget what nothing names, of all clusters or one, and was stored before a time: how many."""
    query = select(code.c.cluster, code.c.sha256).where(code.c.stored < before)
    if key is not None:
        query = query.where(code.c.cluster == key)
    old: dict[str, set[str]] = {}
    for row in connection.execute(query):
        old.setdefault(row.cluster, set()).add(row.sha256)
    dropped = 0
    for cluster, digests in old.items():
        for digest in digests - named_code(connection, cluster):
            same = (code.c.cluster == cluster, code.c.sha256 == digest)
            dropped += connection.execute(delete(code).where(*same)).rowcount
    return dropped
