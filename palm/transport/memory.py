"""A network in memory: deterministic, single-threaded, with connections that a test can break."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count

from palm.transport.base import Arrived, Buffer, Down, Gone, TransportEvent, Up

__all__ = ["MemoryConnector", "MemoryListener", "MemoryNetwork"]


class MemoryNetwork:
    """Listeners by address; connections between them and their connectors."""

    def __init__(self) -> None:
        self._listeners: dict[str, MemoryListener] = {}
        self._ids = count(1)

    def listen(self, address: str) -> MemoryListener:
        """Return a listener; connectors that wait for the address are connected."""
        listener = self._listeners[address] = MemoryListener(self, address)
        return listener

    def connector(self, user: str = "local") -> MemoryConnector:
        """Return a connector that is not connected."""
        return MemoryConnector(self, user)

    def find(self, address: str) -> MemoryListener | None:
        """Return who listens at an address."""
        return self._listeners.get(address)

    def forget(self, address: str, listener: MemoryListener) -> None:
        """Take a listener off the network."""
        if self._listeners.get(address) is listener:
            del self._listeners[address]

    def new_id(self) -> bytes:
        """Return a routing id that was never used."""
        return next(self._ids).to_bytes(5, "big")


class _Endpoint:
    def __init__(self) -> None:
        self._events: deque[TransportEvent] = deque()

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return what happened; never waits."""
        events = list(self._events)
        self._events.clear()
        return events

    def put(self, event: TransportEvent) -> None:
        """Let something happen here."""
        self._events.append(event)

    def wake(self) -> None:
        """Do nothing: `receive` never waits."""


class MemoryListener(_Endpoint):
    """The listening end."""

    def __init__(self, network: MemoryNetwork, address: str) -> None:
        super().__init__()
        self._network = network
        self._address = address
        self._peers: dict[bytes, MemoryConnector] = {}

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames to a peer; to one that is gone, nothing happens."""
        connector = self._peers.get(peer)
        if connector is not None:
            connector.put(Arrived(b"", [bytes(frame) for frame in frames]))

    def probe(self, peer: bytes) -> None:
        """Report a peer that is gone."""
        if peer not in self._peers:
            self.put(Gone(peer))

    def accept(self, connector: MemoryConnector) -> bytes:
        """Take a connection; return its routing id."""
        peer = self._network.new_id()
        self._peers[peer] = connector
        return peer

    def drop(self, peer: bytes) -> None:
        """Lose a connection."""
        if self._peers.pop(peer, None) is not None:
            self.put(Gone(peer))

    def close(self) -> None:
        """Break all connections."""
        self._network.forget(self._address, self)
        for connector in list(self._peers.values()):
            connector.break_off()


class MemoryConnector(_Endpoint):
    """The connecting end; `connect` tries once."""

    def __init__(self, network: MemoryNetwork, user: str) -> None:
        super().__init__()
        self._network = network
        self._user = user
        self._listener: MemoryListener | None = None
        self._peer = b""

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._listener is not None

    def connect(self, address: str, server_key: str = "") -> None:
        """Connect to who listens at ``address``, if somebody does."""
        listener = self._network.find(address)
        if listener is None or listener is self._listener:
            return
        self.break_off()
        self._listener, self._peer = listener, listener.accept(self)
        self.put(Up())

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames to the listener; without a connection they are lost."""
        if self._listener is not None:
            copies = [bytes(frame) for frame in frames]
            self._listener.put(Arrived(self._peer, copies, self._user))

    def probe(self, peer: bytes) -> None:
        """Do nothing: `Down` is reported when it happens."""

    def break_off(self) -> None:
        """Break the connection: both ends learn of it; what is on its way to us is lost."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            self._events.clear()
            listener.drop(self._peer)
            self.put(Down())

    def close(self) -> None:
        """Break the connection."""
        self.break_off()
