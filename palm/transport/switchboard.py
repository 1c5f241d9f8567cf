"""One transport of several: a listener, connections to other listeners, and workers inside.

Each connection has a peer of its own that no routing id of a listener can be: those of ZeroMQ have
five bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from palm.spec.endpoint import Endpoint
from palm.transport.base import Arrived, Buffer, TransportEvent
from palm.transport.inner import InnerConnector
from palm.transport.zmq import ZmqConnector, ZmqListener

__all__ = ["Switchboard"]


class Switchboard:
    """A `Transport`; it is used by one thread, but for the ends of its inner connections."""

    def __init__(self, listener: ZmqListener) -> None:
        self.listener = listener
        self._connectors: dict[bytes, ZmqConnector] = {}
        self._inside: dict[bytes, InnerConnector] = {}
        self._arrived: deque[Arrived] = deque()

    def connect(self, peer: bytes, connector: ZmqConnector) -> None:
        """Take a connection to another listener."""
        self._connectors[peer] = connector
        connector.end_waits_of(self.listener)

    def connect_inside(self, peer: bytes) -> InnerConnector:
        """Return the connecting end of a connection within this process."""
        connector = self._inside[peer] = InnerConnector(peer, self._deliver)
        return connector

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """See `palm.transport.base.Transport`."""
        if peer in self._connectors:
            self._connectors[peer].send(b"", frames)
        elif peer in self._inside:
            self._inside[peer].put(Arrived(b"", frames))
        else:
            self.listener.send(peer, frames)

    def probe(self, peer: bytes) -> None:
        """See `palm.transport.base.Transport`."""
        if peer not in self._connectors and peer not in self._inside:
            self.listener.probe(peer)

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """See `palm.transport.base.Transport`."""
        events = self._gather()
        if events:
            return events + self.listener.receive(0.0)
        for connector in self._connectors.values():
            timeout = connector.patience(timeout)
        events = self.listener.receive(timeout)
        return self._gather() + events

    def wake(self) -> None:
        """End the wait of `receive`, now or the next one; any thread may call it."""
        self.listener.wake()

    def close(self) -> None:
        """Let go of all sockets."""
        for end in self._inside.values():
            end.close()
        for connector in self._connectors.values():
            connector.close()
        self.listener.close()

    def bound_to(self) -> list[Endpoint]:
        """Return where it listens."""
        return self.listener.bound_to()

    def _deliver(self, arrived: Arrived) -> None:
        self._arrived.append(arrived)
        self.listener.wake()

    def _gather(self) -> list[TransportEvent]:
        """Take what came by connections and from inside."""
        events: list[TransportEvent] = []
        while self._arrived:
            events.append(self._arrived.popleft())
        for peer, connector in self._connectors.items():
            for event in connector.receive(0.0):
                event.peer = peer
                events.append(event)
        return events
