"""How far a job is, and what each worker did of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from palm.clients.outcomes import Chunk

__all__ = ["Progress", "Share", "Tally"]


class Progress(NamedTuple):
    """How far a job is.

    ``done`` messages have an outcome, ``failed`` of them no result, ``retried`` of them one that
    took more than one start; ``rate`` is outcomes a second so far, ``remaining`` the seconds
    left at that rate. None: not known.
    """

    done: int
    failed: int
    retried: int
    total: int | None
    rate: float
    remaining: float | None


@dataclass(slots=True)
class Share:
    """What one worker did of a job: outcomes, those without a result, seconds its calls took."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0


class Tally:
    """Counts what the outcomes of a job tell; not thread-safe by itself."""

    __slots__ = ("_failed", "_retried", "_shares")

    def __init__(self) -> None:
        self._failed = 0
        self._retried = 0
        self._shares: dict[str, Share] = {}

    def count(self, chunk: Chunk) -> None:
        """Count outcomes that have come."""
        share = self._shares.setdefault(chunk.outcome.worker, Share())
        failed = chunk.failed
        self._failed += failed
        if chunk.outcome.attempt > 1:
            self._retried += chunk.n
        share.done += chunk.n
        share.failed += failed
        share.seconds += sum(memoryview(chunk.outcome.durations).cast("f"))

    def progress(self, done: int, total: int | None, seconds: float) -> Progress:
        """Return how far a job is that has ``done`` outcomes after so many seconds."""
        rate = done / max(seconds, 1e-9)
        left = None if total is None or not rate else max(total - done, 0) / rate
        return Progress(done, self._failed, self._retried, total, rate, left)

    def shares(self) -> dict[str, Share]:
        """Return what each worker has done, by the worker's name, as it is now."""
        return {name: replace(share) for name, share in self._shares.items()}
