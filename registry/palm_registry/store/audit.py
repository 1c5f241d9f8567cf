"""The audit list: rows that are only added, and that go with their age."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, delete, insert, select

from palm.registry_api.schema import AuditEntry
from palm_registry.models import audit
from palm_registry.store.database import fetch_all

__all__ = ["add_entries", "delete_before", "entries_after"]


def add_entries(connection: Connection, entries: Iterable[AuditEntry]) -> None:
    """Store entries; their numbers are given here."""
    for entry in entries:
        values = msgspec.structs.asdict(entry)
        del values["seq"]
        values["owner"] = values.pop("user")
        connection.execute(insert(audit).values(**values))


def entries_after(connection: Connection, after: int, limit: int) -> list[AuditEntry]:
    """Return entries after a number, in order."""
    query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    rows = fetch_all(connection, query)
    for row in rows:
        row["user"] = row.pop("owner")
    return [AuditEntry(**row) for row in rows]


def delete_before(connection: Connection, time: float) -> int:
    """Forget entries that are older than a time; return how many there were."""
    return int(connection.execute(delete(audit).where(audit.c.time < time)).rowcount)
