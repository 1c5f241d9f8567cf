"""What every transport does: carry frames between a listener and its connectors.

Frames of one connection arrive whole and in order, or the connection breaks; after a break the
peer has a new routing id. Transports know nothing of what the frames mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

__all__ = [
    "Arrived",
    "Buffer",
    "Denied",
    "Down",
    "Full",
    "Gone",
    "Transport",
    "TransportEvent",
    "Up",
]

#: What a frame may be: anything with the buffer protocol.
Buffer = Any


class Arrived(msgspec.Struct):
    """Frames from ``peer`` (b"" at a connector).

    ``user`` is what the transport has proven of the sender (its key's role, or ``local``; empty
    at a connector), ``local`` whether it is on this host.
    """

    peer: bytes
    frames: Sequence[Buffer]
    user: str = ""
    local: bool = True


class Gone(msgspec.Struct):
    """At a listener: the connection of ``peer`` is no more."""

    peer: bytes


class Up(msgspec.Struct):
    """At a connector: the connection stands, authentication included."""

    peer: bytes = b""


class Down(msgspec.Struct):
    """At a connector: the connection broke; the transport goes on trying."""

    peer: bytes = b""


class Denied(msgspec.Struct):
    """At a connector: the listener refuses us, or is not the one that we know."""

    reason: str
    peer: bytes = b""


class Full(msgspec.Struct):
    """At a connector: the listener has no room for us; the transport tries again, less often."""

    reason: str
    peer: bytes = b""


TransportEvent = Arrived | Gone | Up | Down | Denied | Full


class Transport(Protocol):
    """A listener or a connector, used by one thread at a time; only `wake` may be called by any."""

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames; if the peer is gone, `Gone` or `Down` follows (or came before)."""

    def probe(self, peer: bytes) -> None:
        """See whether a peer is there; `Gone` follows if not."""

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return what happened; wait up to ``timeout`` seconds (None: for ever) for something.

        The list is empty after the time, or after `wake`.
        """

    def wake(self) -> None:
        """End the wait of `receive`, now or the next one."""

    def close(self) -> None:
        """Let go of all sockets; what was sent before has a short time to leave."""
