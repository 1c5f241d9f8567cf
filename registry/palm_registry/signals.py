"""Who waits for a change of a cluster, and is woken by it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

__all__ = ["Signals"]


class Signals:
    """Wakes those who wait for a change of a cluster; belongs to the event loop."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], int] = defaultdict(int)
        self._waiters: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._closed = False

    def notify(self, cluster: str, *topics: str) -> None:
        """Say that something of a cluster is different."""
        for topic in topics:
            self._versions[cluster, topic] += 1
        for waiter in self._waiters.pop(cluster, ()):
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Wake all, now and ever after."""
        self._closed = True
        for cluster in list(self._waiters):
            self.notify(cluster)

    @property
    def closed(self) -> bool:
        """Whether the registry is about to end."""
        return self._closed

    def versions(self, cluster: str, topics: Iterable[str]) -> dict[str, int]:
        """Return a ticket for `wait`: take it before looking, so that no change is missed."""
        return {topic: self._versions[cluster, topic] for topic in topics}

    async def wait(self, cluster: str, ticket: dict[str, int], within: float | None) -> bool:
        """Wait until something has changed since the ticket; say whether it has."""
        loop = asyncio.get_running_loop()
        end = None if within is None else loop.time() + within
        while self.versions(cluster, ticket) == ticket and not self._closed:
            left = None if end is None else end - loop.time()
            if left is not None and left <= 0:
                return False
            waiter = loop.create_future()
            self._waiters[cluster].add(waiter)
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                self._waiters[cluster].discard(waiter)
        return True
