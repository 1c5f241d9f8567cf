"""Signals for the processes of components: each is sent once at most, and soon or not at all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from palm.errors import ConfigError
from palm.registry_api.schema import (
    ReplicaStatus,
    SignalDone,
    SignalOrder,
    SignalRequest,
    SignalSent,
)
from palm.spec.signals import parse_signal
from palm_registry.failures import Conflict, Invalid
from palm_registry.service.core import Core, add_event, facts_of, settle
from palm_registry.store import signals as rows
from palm_registry.store.clusters import ComponentRow
from palm_registry.store.signals import SignalRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["EXPIRY", "Signalling", "open_orders", "put_signal", "take_done"]

#: Seconds after which a signal is not sent any more: what it was meant for may be over.
EXPIRY = 60.0
#: Seconds for which a request is known, so that repeating it sends nothing twice.
_KEPT = 3600.0
#: Seconds between two looks for old ones.
_EVERY = 1.0
_MAX_ID = 64


class Signalling:
    """Sees to signals that nobody takes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next = 0.0

    async def sweep(self) -> None:
        """Give up signals that are too old by now, and say so."""
        if self._core.now() < self._next:
            return
        self._next = self._core.now() + _EVERY
        now = time.time()
        old = await self._core.database.read(lambda c: rows.old_signals(c, now - EXPIRY))
        if not old:
            return

        def write(connection: Connection) -> None:
            for row in old:
                rows.end_signal(connection, row)
                text = f"{row.signal} was not sent to {row.name}: its runner was away"
                _add_event(connection, row, text, sent=False)

        await self._core.database.write(write)
        for key in {row.cluster for row in old}:
            self._core.changed(key)


def put_signal(
    connection: Connection, key: str, component: ComponentRow, request: SignalRequest
) -> SignalSent:
    """Store a signal for processes that run; the same request again changes nothing."""
    signal = _checked(request)
    known = rows.get_signals(connection, key, request.id) if request.id else []
    if known:
        names = [row.name for row in known]
        return SignalSent(id=request.id, signal=known[0].signal, processes=names)
    chosen = _chosen(connection, key, component, request.replica)
    number = request.id or secrets.token_hex(8)
    rows.forget_signals(connection, time.time() - _KEPT)
    for status in chosen:
        row = SignalRow(
            cluster=key,
            id=number,
            name=status.name,
            component=status.component,
            node=status.node,
            instance=status.instance,
            signal=signal,
            created=time.time(),
        )
        rows.add_signal(connection, row)
    settle(connection, key, changed=True)
    return SignalSent(id=number, signal=signal, processes=[status.name for status in chosen])


def open_orders(connection: Connection, key: str) -> dict[str, list[SignalOrder]]:
    """Return what each node is to send; it is told again and again until it answers."""
    youngest = time.time() - EXPIRY
    found: dict[str, list[SignalOrder]] = {}
    for row in rows.open_signals(connection, key):
        if row.created >= youngest:
            order = SignalOrder(id=row.id, name=row.name, instance=row.instance, signal=row.signal)
            found.setdefault(row.node, []).append(order)
    return found


def take_done(connection: Connection, key: str, node: str, done: Iterable[SignalDone]) -> None:
    """Note what became of signals."""
    open_ = {(row.id, row.name): row for row in rows.open_signals(connection, key, node)}
    for each in done:
        row = open_.pop((each.id, each.name), None)
        if row is not None:
            rows.end_signal(connection, row)
            text = f"{row.signal} was sent to {row.name}"
            if each.sent:
                text += f", {each.reason}" if each.reason else ""
            else:
                text = f"{row.signal} was not sent to {row.name}: {each.reason or 'nobody knows'}"
            _add_event(connection, row, text, sent=each.sent)


def _checked(request: SignalRequest) -> str:
    if len(request.id) > _MAX_ID or not request.id.isprintable():
        raise Invalid("id", f"an id has at most {_MAX_ID} printable characters")
    try:
        return parse_signal(request.signal)
    except ConfigError as error:
        raise Invalid("signal", str(error.args[0]), error.hint or "") from error


def _chosen(
    connection: Connection, key: str, component: ComponentRow, number: int | None
) -> list[ReplicaStatus]:
    spec, facts = component.spec, facts_of(connection, key)
    running = [
        status
        for status in map(facts.seen, facts.replicas.values())
        if status.component == spec.name and status.pid is not None and status.state != "unknown"
    ]
    chosen = [status for status in running if number in (None, status.replica)]
    if chosen:
        return chosen
    name = spec.name if number is None else spec.replica_name(number)
    some = ", ".join(status.name for status in running)
    hint = f"there is {some}" if some else "palm status says why"
    raise Conflict("not-running", f"no process of {name!r} runs", hint)


def _add_event(connection: Connection, row: SignalRow, text: str, *, sent: bool) -> None:
    add_event(
        connection,
        row.cluster,
        "component.signalled" if sent else "component.not-signalled",
        text,
        component=row.component,
        node=row.node,
        data={"name": row.name, "instance": row.instance, "signal": row.signal, "id": row.id},
    )
