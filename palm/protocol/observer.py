"""The observer's rules: say how much there is room for, show what comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from palm.protocol.effects import Effect, Send, Show, Stopped
from palm.protocol.events import Event, Garbled, Received, StopRequested, Tick
from palm.protocol.link import Identity, Link, State
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.message import Bye, Seen, Watch

__all__ = ["ObserverMachine"]

#: Messages that may be on their way to us; more are asked for when half of them have come.
ROOM: Final = 64


class ObserverMachine:
    """One observer of one component; see `handle`. ``edges`` are those it watches; none: all."""

    def __init__(self, identity: Identity, edges: Iterable[str] = ()) -> None:
        self._effects: list[Effect] = []
        self._timers = Timers()
        self._edges = list(edges)
        self._taken = 0
        self.link = Link(identity, self._timers, self._effects)
        self._failed = False

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""
        return self._timers.next_deadline

    def start(self, now: float) -> list[Effect]:
        """Begin to look for the component."""
        self.link.start(now)
        return self._take_effects()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        if isinstance(event, Tick):
            self._timers.run(now)
        elif isinstance(event, StopRequested):
            if self.link.up:
                self._effects.append(Send(b"", Bye(self.link.id, "it has seen enough")))
            self._effects.append(Stopped())
        elif not isinstance(event, Garbled):
            self._link_event(event, now)
        if self.link.state is State.FAILED and not self._failed:
            self._failed = True
            self._effects.append(Stopped(self.link.error))
        return self._take_effects()

    def _take_effects(self) -> list[Effect]:
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def _link_event(self, event: Event, now: float) -> None:
        if self.link.handle(event, [], now) is not None:
            self._taken = 0
            self._ask(ROOM)
        elif isinstance(event, Received) and event.message.link == self.link.id:
            message = event.message
            if isinstance(message, Seen) and self.link.up:
                self._show(message, event.batch or Batch.pack([]))

    def _show(self, seen: Seen, batch: Batch) -> None:
        self._effects.append(Show(seen, batch))
        self._taken += 1
        if self._taken >= ROOM // 2:
            self._ask(self._taken)
            self._taken = 0

    def _ask(self, room: int) -> None:
        self._effects.append(Send(b"", Watch(self.link.id, room, self._edges)))
