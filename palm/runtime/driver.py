"""The shell around a machine: frames become events, effects are performed. It holds no rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from palm.errors import WireError
from palm.protocol import events
from palm.protocol.effects import Effect, Probe, Send
from palm.transport.base import Arrived, Denied, Down, Full, Gone, Transport, TransportEvent, Up
from palm.transport.security import allowed_roles
from palm.wire import framing

__all__ = ["Driver", "Machine"]

#: Longest wait for events, seconds: no wait is for ever.
MAX_WAIT = 60.0


class Machine(Protocol):
    """What a driver needs of a machine."""

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""

    def handle(self, event: events.Event, now: float) -> list[Effect]:
        """React to an event."""


class Driver:
    """One machine and its transport.

    Parameters
    ----------
    perform
        What to do for each kind of effect, beyond sending and probing.
    """

    def __init__(
        self,
        machine: Machine,
        transport: Transport,
        perform: Mapping[type, Callable[[Any], None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        #: Events that the machine has had.
        self.events = 0
        self._machine = machine
        self._transport = transport
        self._perform: dict[type, Callable[[Any], None]] = {
            Send: self._send,
            Probe: self._probe,
            **perform,
        }

    def step(self, timeout: float = MAX_WAIT) -> None:
        """Wait up to ``timeout`` seconds for something to happen, and handle it."""
        due = self._machine.next_deadline
        if due is not None:
            timeout = max(0.0, min(timeout, due - self.clock()))
        for event in self._transport.receive(timeout):
            self.handle(_translated(event))
        due = self._machine.next_deadline
        if due is not None and due <= self.clock():
            self.handle(events.Tick())

    def handle(self, event: events.Event) -> None:
        """Let the machine react to an event."""
        self.events += 1
        self.perform(self._machine.handle(event, self.clock()))

    def perform(self, effects: list[Effect]) -> None:
        """Do what a machine wants done."""
        for effect in effects:
            self._perform[type(effect)](effect)

    def _send(self, effect: Send) -> None:
        self._transport.send(effect.peer, framing.pack(effect.message, effect.batch))

    def _probe(self, effect: Probe) -> None:
        self._transport.probe(effect.peer)


def _translated(event: TransportEvent) -> events.Event:
    if isinstance(event, Arrived):
        try:
            message, batch = framing.unpack(event.frames)
        except WireError as error:
            return events.Garbled(event.peer, str(error))
        return events.Received(event.peer, message, batch, allowed_roles(event.user), event.local)
    return _SIMPLE[type(event)](event)


_SIMPLE: dict[type, Callable[[Any], events.Event]] = {
    Gone: lambda event: events.PeerLost(event.peer),
    Up: lambda event: events.Connected(event.peer),
    Down: lambda event: events.Disconnected(event.peer),
    Denied: lambda event: events.Refused(event.reason, event.peer),
    Full: lambda event: events.TurnedAway(event.reason, event.peer),
}
