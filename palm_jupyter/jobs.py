"""Watches a job for its card, from a thread of its own, until it has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from palm.clients import Job

__all__ = ["JobWatch", "describe"]

#: Seconds between two updates of a card.
PERIOD = 0.25

Told = Callable[[Mapping[str, Any]], None]


def describe(job: Job, recent: float | None = None) -> dict[str, Any]:
    """How far a job is, as plain values; ``recent`` is its rate of late."""
    progress = job.progress
    error = job.error
    return {
        "id": job.id,
        "function": job.function,
        "state": job.state,
        "live": not job.has_ended,
        "time": time.time(),
        "done": progress.done,
        "failed": progress.failed,
        "retried": progress.retried,
        "total": progress.total,
        "rate": progress.rate,
        "recent": recent,
        "remaining": progress.remaining,
        "elapsed": job.elapsed,
        "error": "" if error is None else f"{type(error).__name__}: {error}".splitlines()[0],
        "workers": [
            {"name": name, "done": each.done, "failed": each.failed, "seconds": each.seconds}
            for name, each in sorted(job.shares.items())
            if name
        ],
    }


class JobWatch:
    """Tells somebody how far a job is whenever that has changed, and at its end."""

    def __init__(self, job: Job, tell: Told) -> None:
        self.job = job
        self._tell = tell
        self._awake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="palm-job", daemon=True)

    def start(self) -> None:
        """Begin."""
        self.job.add_done_callback(lambda _job: self._awake.set())
        self._thread.start()

    def close(self) -> None:
        """Tell no more. Idempotent."""
        self._closed = True
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        told, done, at = "", self.job.progress.done, time.monotonic()
        while not self._closed:
            over = self.job.has_ended
            now = time.monotonic()
            count = self.job.progress.done
            recent = (count - done) / (now - at) if now > at else None
            done, at = count, now
            state = f"{count} {self.job.state}"
            if state != told or over:
                told = state
                self._tell(describe(self.job, recent))
            if over:
                return
            self._awake.wait(PERIOD)
