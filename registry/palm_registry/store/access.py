"""Users, tokens and sessions; of the latter two only hashes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from palm.registry_api.schema import Scope
from palm_registry.models import clusters, sessions, tokens, users
from palm_registry.store.database import fetch_all, fetch_one

__all__ = [
    "TokenRow",
    "UserRow",
    "add_session",
    "add_token",
    "add_user",
    "all_sessions",
    "all_tokens",
    "all_users",
    "clusters_of",
    "delete_session",
    "delete_sessions",
    "delete_token",
    "delete_tokens_of",
    "delete_user",
    "get_user",
    "limit_token",
    "set_used",
]


class TokenRow(msgspec.Struct, kw_only=True):
    """One token, as it is stored."""

    hash: str
    name: str
    scope: Scope
    created: float
    owner: str
    cluster: str = ""
    expires: float | None = None
    used: float | None = None
    creator: str = ""
    node: str = ""


class UserRow(msgspec.Struct, kw_only=True):
    """One user, as it is stored."""

    name: str
    created: float
    creator: str = ""


# ---- tokens


def all_tokens(connection: Connection) -> list[TokenRow]:
    """Return every token by name."""
    rows = fetch_all(connection, select(tokens).order_by(tokens.c.name))
    return [TokenRow(**row) for row in rows]


def add_token(connection: Connection, row: TokenRow) -> None:
    """Store a new token."""
    connection.execute(insert(tokens).values(**msgspec.structs.asdict(row)))


def delete_token(connection: Connection, digest: str) -> None:
    """Forget a token, and its sessions with it."""
    connection.execute(delete(tokens).where(tokens.c.hash == digest))


def delete_tokens_of(connection: Connection, owner: str) -> None:
    """Forget all tokens of a user, and their sessions with them."""
    connection.execute(delete(tokens).where(tokens.c.owner == owner))


def limit_token(connection: Connection, digest: str, expires: float) -> None:
    """Say until when a token is good."""
    connection.execute(update(tokens).where(tokens.c.hash == digest).values(expires=expires))


def set_used(connection: Connection, used: Mapping[str, float]) -> None:
    """Say when tokens were used last, by their hashes."""
    for digest, time in used.items():
        connection.execute(update(tokens).where(tokens.c.hash == digest).values(used=time))


# ---- users


def all_users(connection: Connection) -> list[UserRow]:
    """Return every user by name."""
    rows = fetch_all(connection, select(users).order_by(users.c.name))
    return [UserRow(**row) for row in rows]


def get_user(connection: Connection, name: str) -> UserRow | None:
    """Return a user, if there is one of that name."""
    row = fetch_one(connection, select(users).where(users.c.name == name))
    return None if row is None else UserRow(**row)


def add_user(connection: Connection, row: UserRow) -> None:
    """Store a new user."""
    connection.execute(insert(users).values(**msgspec.structs.asdict(row)))


def delete_user(connection: Connection, name: str) -> None:
    """Forget a user."""
    connection.execute(delete(users).where(users.c.name == name))


def clusters_of(connection: Connection, owner: str) -> list[str]:
    """Return the keys of a user's clusters, also of those that are being deleted."""
    query = select(clusters.c.key).where(clusters.c.owner == owner).order_by(clusters.c.key)
    return [str(key) for key in connection.scalars(query)]


# ---- sessions


def all_sessions(connection: Connection) -> dict[str, tuple[str, float]]:
    """Return token and end of each session by its hash."""
    rows = fetch_all(connection, select(sessions))
    return {row["hash"]: (row["token"], row["expires"]) for row in rows}


def add_session(connection: Connection, digest: str, token: str, expires: float) -> None:
    """Store a session of a token."""
    connection.execute(insert(sessions).values(hash=digest, token=token, expires=expires))


def delete_session(connection: Connection, digest: str) -> None:
    """End a session."""
    connection.execute(delete(sessions).where(sessions.c.hash == digest))


def delete_sessions(connection: Connection, now: float) -> None:
    """Forget the sessions that are over."""
    connection.execute(delete(sessions).where(sessions.c.expires <= now))
