"""Several connectors that one thread waits for together."""

from __future__ import annotations

from palm.transport.zmq.connector import ZmqConnector
from palm.transport.zmq.waits import WaitsForZmq

__all__ = ["Fan"]


class Fan(WaitsForZmq):
    """Connectors that are read when they have something, however many there are.

    Who sends by one, or has waited for it, reads it to the end before the next wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connectors: set[ZmqConnector] = set()

    def add(self, connector: ZmqConnector) -> None:
        """Take a connector."""
        connector.end_waits_of(self)
        self._connectors.add(connector)

    def remove(self, connector: ZmqConnector) -> None:
        """Wait for a connector no longer, before it is closed."""
        self._connectors.discard(connector)
        connector.leave(self)

    def wait(self, timeout: float | None) -> list[ZmqConnector]:
        """Wait up to ``timeout`` seconds, or until `wake`; return those that may have something."""
        found = [c for c in self._connectors if c.patience(None) is not None]
        for connector in found:  # they come back to a listener that had no room
            timeout = connector.patience(timeout)
        ready = self.ready(timeout)
        return [c for c in self._connectors if c in found or c.owns(ready)]

    def close(self) -> None:
        """Let go of what it waits with; the connectors are closed by whoever made them."""
        if not self._closed:
            self._closed = True
            self._close_context()
