"""Signals for processes, until it is known what became of them, and a while longer."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from palm_registry.models import signals
from palm_registry.store.database import fetch_all

__all__ = [
    "SignalRow",
    "add_signal",
    "end_signal",
    "forget_signals",
    "get_signals",
    "open_signals",
    "old_signals",
]


class SignalRow(msgspec.Struct, kw_only=True, frozen=True):
    """A signal for one process. ``done``: its runner has said what became of it, or it is old."""

    cluster: str
    id: str
    name: str
    component: str
    node: str
    instance: str
    signal: str
    created: float
    done: bool = False


def add_signal(connection: Connection, row: SignalRow) -> None:
    """Store a signal that is to be sent."""
    connection.execute(insert(signals).values(**msgspec.structs.asdict(row)))


def get_signals(connection: Connection, key: str, request: str) -> list[SignalRow]:
    """Return the signals of one request."""
    query = select(signals).where(signals.c.cluster == key, signals.c.id == request)
    query = query.order_by(signals.c.created, signals.c.name)
    return [SignalRow(**row) for row in fetch_all(connection, query)]


def open_signals(connection: Connection, key: str, node: str | None = None) -> list[SignalRow]:
    """Return those of which nothing is known yet, the oldest first: of a cluster, or of a node."""
    query = select(signals).where(signals.c.cluster == key, ~signals.c.done)
    query = query.order_by(signals.c.created, signals.c.id, signals.c.name)
    if node is not None:
        query = query.where(signals.c.node == node)
    return [SignalRow(**row) for row in fetch_all(connection, query)]


def old_signals(connection: Connection, before: float) -> list[SignalRow]:
    """Return those of all clusters that were to be sent before, and of which nothing is known."""
    query = select(signals).where(signals.c.created < before, ~signals.c.done)
    return [SignalRow(**row) for row in fetch_all(connection, query)]


def end_signal(connection: Connection, row: SignalRow) -> None:
    """Note that it is known what became of a signal."""
    same = (signals.c.cluster == row.cluster, signals.c.id == row.id, signals.c.name == row.name)
    connection.execute(update(signals).where(*same).values(done=True))


def forget_signals(connection: Connection, before: float) -> None:
    """Forget those of which everything was known before."""
    connection.execute(delete(signals).where(signals.c.created < before, signals.c.done))
