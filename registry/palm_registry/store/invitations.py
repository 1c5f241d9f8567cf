"""Invitations of nodes: of their secrets only hashes."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from palm_registry.models import invitations
from palm_registry.store.database import fetch_one

__all__ = [
    "InvitationRow",
    "add_invitation",
    "count_invitations",
    "drop_invitations",
    "get_invitation",
    "use_invitation",
]


class InvitationRow(msgspec.Struct, kw_only=True):
    """One invitation, as it is stored."""

    hash: str
    cluster: str
    owner: str
    created: float
    expires: float
    node: str = ""
    used: float | None = None
    creator: str = ""


def add_invitation(connection: Connection, row: InvitationRow) -> None:
    """Store a new one."""
    connection.execute(insert(invitations).values(**msgspec.structs.asdict(row)))


def get_invitation(connection: Connection, digest: str) -> InvitationRow | None:
    """Return the one of a secret, also if it was used, or is too old."""
    row = fetch_one(connection, select(invitations).where(invitations.c.hash == digest))
    return None if row is None else InvitationRow(**row)


def use_invitation(connection: Connection, digest: str, now: float) -> None:
    """Note that somebody came by it."""
    connection.execute(update(invitations).where(invitations.c.hash == digest).values(used=now))


def count_invitations(connection: Connection, key: str) -> int:
    """Return how many of a cluster are known."""
    query = select(func.count()).select_from(invitations).where(invitations.c.cluster == key)
    return int(connection.scalar(query) or 0)


def drop_invitations(connection: Connection, before: float) -> None:
    """Forget those that were over before a time."""
    connection.execute(delete(invitations).where(invitations.c.expires < before))
