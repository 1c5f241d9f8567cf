"""What a client acknowledges, and when: an `Ack` is cumulative, so one can stand for many."""

from __future__ import annotations

from typing import Final

from palm.protocol.effects import Effect, Send
from palm.protocol.link import Link
from palm.protocol.timers import Timers
from palm.wire.message import Ack

__all__ = ["ACK_AFTER", "ACK_SIZE", "ACK_WITHIN", "Acks"]

#: Seconds within which an outcome is acknowledged, whatever else comes.
ACK_WITHIN: Final = 0.02

#: Outcomes, and bytes of them, that are acknowledged at once: the master keeps them until then.
ACK_AFTER: Final = 16
ACK_SIZE: Final = 64 * 1024


class Acks:
    """The outcomes that were not acknowledged yet.

    A small one waits a little: who calls a function with one message after the other would
    otherwise share the processor, at each, with the master that takes note of the last.
    """

    def __init__(self, link: Link, timers: Timers, effects: list[Effect]) -> None:
        self._link = link
        self._timers = timers
        self._effects = effects
        self._owed_to = 0
        self._serial = 0
        self._owed = 0
        self._size = 0
        self._is_timed = False

    def owe(self, serial: int, size: int, now: float) -> None:
        """Note that an outcome of ``size`` bytes came; the serials of a link only grow."""
        if self._owed_to != self._link.id:  # what is not acknowledged is sent again over a new one
            self._owed_to, self._owed, self._size = self._link.id, 0, 0
        self._serial = serial
        self._owed += 1
        self._size += size
        if self._owed >= ACK_AFTER or self._size >= ACK_SIZE:
            self._settle()
        elif not self._is_timed:
            self._is_timed = True
            self._timers.at(now + ACK_WITHIN, self._due)

    def _due(self, now: float) -> None:
        self._is_timed = False
        if self._owed and self._link.up and self._owed_to == self._link.id:
            self._settle()

    def _settle(self) -> None:
        self._effects.append(Send(b"", Ack(self._owed_to, self._serial)))
        self._owed = self._size = 0
