"""A connection within one process: a component's own worker, in a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from palm.transport.base import Arrived, Buffer, Down, TransportEvent, Up

__all__ = ["INNER", "InnerConnector"]

#: What the listener knows of who sends.
INNER = "inner"


class InnerConnector:
    """The connecting end; ``deliver`` takes what is sent to the listener, from any thread."""

    def __init__(self, peer: bytes, deliver: Callable[[Arrived], None]) -> None:
        self._peer = peer
        self._deliver = deliver
        self._events: deque[TransportEvent] = deque([Up()])
        self._ready = threading.Event()

    def put(self, event: TransportEvent) -> None:
        """Let something happen here; any thread may call it."""
        self._events.append(event)
        self._ready.set()

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames to the listener."""
        self._deliver(Arrived(self._peer, frames, INNER, True))

    def probe(self, peer: bytes) -> None:
        """Do nothing: both ends are one process."""

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """See `palm.transport.base.Transport`."""
        if not self._events:
            self._ready.wait(timeout)
        self._ready.clear()
        events = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def wake(self) -> None:
        """End the wait of `receive`, now or the next one; any thread may call it."""
        self._ready.set()

    def close(self) -> None:
        """Note that nothing more comes."""
        self.put(Down())
