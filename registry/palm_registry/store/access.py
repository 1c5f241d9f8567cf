"""Tokens and sessions, by their hashes."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from palm_registry.models import sessions, tokens
from palm_registry.store.database import fetch_all

__all__ = ["add_session", "all_sessions", "all_tokens", "delete_session", "put_token"]


def all_tokens(connection: Connection) -> dict[str, str]:
    """Return the role of each token by its hash."""
    return {row["hash"]: row["role"] for row in fetch_all(connection, select(tokens))}


def put_token(connection: Connection, digest: str, name: str, role: str, now: float) -> None:
    """Store the one token of a name; another one of that name is gone, with its sessions."""
    same = connection.scalar(select(tokens.c.hash).where(tokens.c.name == name))
    if same == digest:
        return
    connection.execute(delete(tokens).where(tokens.c.name == name))
    values = {"hash": digest, "name": name, "role": role, "created": now}
    connection.execute(insert(tokens).values(**values))


def all_sessions(connection: Connection, now: float) -> dict[str, tuple[str, float]]:
    """Return token and end of each session by its hash; those that are over are deleted."""
    connection.execute(delete(sessions).where(sessions.c.expires <= now))
    rows = fetch_all(connection, select(sessions))
    return {row["hash"]: (row["token"], row["expires"]) for row in rows}


def add_session(connection: Connection, digest: str, token: str, expires: float) -> None:
    """Store a session of a token."""
    connection.execute(insert(sessions).values(hash=digest, token=token, expires=expires))


def delete_session(connection: Connection, digest: str) -> None:
    """End a session."""
    connection.execute(delete(sessions).where(sessions.c.hash == digest))
