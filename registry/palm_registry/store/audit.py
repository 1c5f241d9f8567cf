"""The audit list: rows that are only added, and that go with their age."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from palm.registry_api.schema import AuditEntry
from palm_registry.models import audit
from palm_registry.store.database import fetch_all

__all__ = ["Entries", "add_entries", "delete_before", "entries_after", "latest_entries"]


@dataclass(frozen=True)
class Entries:
    """Which entries are meant: those before a number, of a token, of a cluster, only refusals."""

    before: int | None = None
    token: str = ""
    cluster: str = ""
    refused: bool = False


#: From this status of an answer on, nothing was done.
_REFUSED = 400


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
    return [_entry(row) for row in fetch_all(connection, query)]


def latest_entries(connection: Connection, wanted: Entries, limit: int) -> list[AuditEntry]:
    """Return the last of the entries that are meant, in order."""
    query = select(audit)
    if wanted.before is not None:
        query = query.where(audit.c.seq < wanted.before)
    if wanted.token:
        query = query.where(audit.c.token == wanted.token)
    if wanted.cluster:
        query = query.where(audit.c.cluster == wanted.cluster)
    if wanted.refused:
        query = query.where(audit.c.status >= _REFUSED)
    rows = fetch_all(connection, query.order_by(audit.c.seq.desc()).limit(limit))
    return [_entry(row) for row in reversed(rows)]


def _entry(row: dict[str, Any]) -> AuditEntry:
    row["user"] = row.pop("owner")
    return AuditEntry(**row)


def delete_before(connection: Connection, time: float) -> int:
    """Forget entries that are older than a time; return how many there were."""
    return int(connection.execute(delete(audit).where(audit.c.time < time)).rowcount)
