"""One computation of a cluster's status for all who follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from palm.registry_api.schema import ClusterInfo, ClusterStatus
from palm_registry.failures import NotFound
from palm_registry.keys import owner_of
from palm_registry.signals import Signals

__all__ = ["SharedStatus"]

#: A cluster, and whose it has to be.
_Asked = tuple[str, str | None]

#: Clusters whose latest status is kept; of more, those computed longest ago are not.
_KEPT = 16


class SharedStatus:
    """Gives the status of a cluster, computed anew only when the cluster has changed.

    The cursor, the time and the last signs of life in it are those of its computation.

    Parameters
    ----------
    compute
        Reads and computes a status; what it raises goes to all who wait for that computation.
    """

    def __init__(
        self, signals: Signals, compute: Callable[[str], Awaitable[ClusterStatus]]
    ) -> None:
        self._signals = signals
        self._compute = compute
        self._latest: dict[_Asked, tuple[int, asyncio.Future[ClusterStatus]]] = {}

    async def __call__(self, key: str) -> ClusterStatus:
        """Return the status as it is by now, or became since the last change."""
        # Counted before the look: a change during it makes the next caller look again.
        version = self._signals.versions(key, ["status"])["status"]
        asked = (str(key), owner_of(key))  # who may not see a cluster gets no other's look at it
        known = self._latest.get(asked)
        if known is None or known[0] != version or _is_of_no_use(known[1]):
            known = (version, asyncio.ensure_future(self._compute(key)))
            self._latest.pop(asked, None)
            self._latest[asked] = known
            if len(self._latest) > _KEPT:
                del self._latest[next(iter(self._latest))]
            known[1].add_done_callback(lambda done: self._forget_failed(asked, done))
        # Who goes away takes it from nobody else.
        return await asyncio.shield(known[1])

    async def add_to(self, found: Iterable[ClusterInfo]) -> None:
        """Say of clusters whether they are ready; one that has just gone stays as it is."""
        for info in found:
            try:
                status = await self(info.key)
            except NotFound:
                continue
            info.ready = status.ready
            info.missing = sum(each.count for each in status.missing)

    def _forget_failed(self, asked: _Asked, done: asyncio.Future[ClusterStatus]) -> None:
        if _is_of_no_use(done) and self._latest.get(asked, (0, None))[1] is done:
            del self._latest[asked]


def _is_of_no_use(done: asyncio.Future[ClusterStatus]) -> bool:
    return done.done() and (done.cancelled() or done.exception() is not None)
