"""Who waits for a change of a cluster, and is woken by it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable

__all__ = ["Signals"]

#: A cluster, and what of it.
_Subject = tuple[str, str]


class Signals:
    """Wakes those who wait for a change of a cluster; belongs to the event loop.

    Nobody is woken for what he does not wait for: of a thousand nodes each tells its samples once
    a second, while each waits for another plan.
    """

    def __init__(self) -> None:
        self._versions: dict[_Subject, int] = defaultdict(int)
        self._waiters: dict[_Subject, set[asyncio.Future[None]]] = {}
        self._closed = False

    def notify(self, cluster: str, *topics: str) -> None:
        """Say that something of a cluster is different."""
        for topic in topics:
            self._versions[cluster, topic] += 1
            self._wake((cluster, topic))

    def _wake(self, subject: _Subject) -> None:
        for waiter in self._waiters.pop(subject, ()):
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Wake all, now and ever after."""
        self._closed = True
        for subject in list(self._waiters):
            self._wake(subject)

    def waiting(self, cluster: str, topic: str) -> int:
        """Return how many wait for a change."""
        return len(self._waiters.get((cluster, topic), ()))

    @property
    def closed(self) -> bool:
        """Whether the registry is about to end."""
        return self._closed

    def versions(self, cluster: str, topics: Iterable[str]) -> dict[str, int]:
        """Return a ticket for `wait`: take it before looking, so that no change is missed."""
        return {topic: self._versions[cluster, topic] for topic in topics}

    async def wait(
        self,
        cluster: str,
        ticket: dict[str, int],
        within: float | None,
        gone: asyncio.Future[None] | None = None,
    ) -> bool:
        """Wait until something has changed since the ticket; say whether it has.

        It is over as well when ``gone`` is: nobody wants to know any more.
        """
        if self._closed or self.versions(cluster, ticket) != ticket:
            return True
        waiter = asyncio.get_running_loop().create_future()
        subjects = [(cluster, topic) for topic in ticket]
        for subject in subjects:
            self._waiters.setdefault(subject, set()).add(waiter)
        try:
            await asyncio.wait([waiter] if gone is None else [waiter, gone], timeout=within,
                               return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        finally:
            self._forget(waiter, subjects)
        return self.closed or self.versions(cluster, ticket) != ticket

    def _forget(self, waiter: asyncio.Future[None], subjects: Collection[_Subject]) -> None:
        for subject in subjects:
            waiters = self._waiters.get(subject)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[subject]
