"""The jobs of a client that have not ended, and what happens to them."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from palm.clients.feeder import Feeder
from palm.clients.job import Job
from palm.clients.outcomes import Chunk
from palm.clients.questions import Questions
from palm.protocol.effects import Accepted, Deliver, Expired, Fail, Note, Ready
from palm.runtime.logs import is_interactive
from palm.runtime.shared import SharedValues

__all__ = ["RunningJobs"]

#: Jobs that `Client.jobs` remembers.
REMEMBERED: Final = 16


class RunningJobs:
    """Performs what a client's machine says of its jobs, in the thread of the connection.

    Parameters
    ----------
    name, uuid
        Of the master as the client calls it, and of the client.
    values, questions
        Who fails, too, when the client does as a whole.
    """

    def __init__(
        self,
        name: str,
        uuid: str,
        values: SharedValues,
        questions: Questions,
        logger: logging.Logger,
    ) -> None:
        self._name = name
        self._uuid = uuid
        self._values = values
        self._questions = questions
        self._logger = logger
        self._lock = threading.Lock()
        self._active: dict[bytes, tuple[Job, Feeder]] = {}
        self._recent: deque[Job] = deque(maxlen=REMEMBERED)
        self._warned = False
        self._notes: deque[str] = deque(maxlen=16)

    def keep_in(self, active: dict[bytes, tuple[Job, Feeder]]) -> None:
        """Keep them in the `active` of the connection, whose thread so holds them and us."""
        self._active = active

    @property
    def recent(self) -> list[Job]:
        """The last 16, the latest last, also those that have ended."""
        return list(self._recent)

    @property
    def all(self) -> list[tuple[Job, Feeder]]:
        """Those that have not ended, each with its feeder."""
        with self._lock:
            return list(self._active.values())

    def find(self, key: bytes) -> tuple[Job, Feeder] | None:
        """Return one, with its feeder, if it has not ended."""
        return self._active.get(key)

    def add(self, job: Job, feeder: Feeder) -> None:
        """Let what happens from now on reach a job."""
        with self._lock:
            self._active[job.key] = (job, feeder)
            self._recent.append(job)
        while self._notes:
            job.note(self._notes.popleft())

    def drop(self, key: bytes) -> None:
        """Let nothing reach a job any more."""
        with self._lock:
            self._active.pop(key, None)

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """Return what to do for each effect, as a `Connection` wants it."""
        me = weakref.WeakMethod  # the connection's thread must not keep the client alive
        handlers: dict[type, weakref.WeakMethod[Any]] = {
            Accepted: me(self._accepted),
            Deliver: me(self._deliver),
            Expired: me(self._expired),
            Fail: me(self.fail),
            Note: me(self._note),
            Ready: me(self._ready),
        }
        return {kind: _weakly(method) for kind, method in handlers.items()}

    def idle(self) -> Callable[[], bool | None]:
        """Return what is to be called before each wait, likewise."""
        return _weakly(weakref.WeakMethod(self._idle))  # type: ignore[no-any-return]

    # In the connection's thread

    def fail(self, effect: Fail) -> None:
        """Let a job fail; without one all of them, and all who wait for something else."""
        with self._lock:
            active = list(self._active.items())
        for key, (job, _) in active:
            if effect.job in (None, key):
                job.fail(effect.error)
                self.drop(key)
        if effect.job is None:
            self._values.close(effect.error)
            self._questions.close(effect.error)

    def _deliver(self, effect: Deliver) -> None:
        found = self._active.get(effect.job)
        if found is None:
            return
        job = found[0]
        job.deliver(Chunk(job.function, effect.outcome, effect.batch, effect.inputs))
        self._drop_if_over(job)

    def _accepted(self, effect: Accepted) -> None:
        found = self._active.get(effect.job)
        if found is not None:
            found[0].accept(effect.upto, closed=effect.closed)

    def _drop_if_over(self, job: Job) -> None:
        if job.has_ended:
            self.drop(job.key)

    def _expired(self, effect: Expired) -> None:
        found = self._active.get(effect.job)
        if found is not None:
            found[1].expire()
            self._drop_if_over(found[0])

    def _note(self, effect: Note) -> None:
        with self._lock:
            active = list(self._active.items())
        for key, (job, _) in active:
            if effect.job in (None, key):
                job.note(effect.text)
        if not active:
            self._notes.append(effect.text)

    def _ready(self, effect: Ready) -> None:
        if not is_interactive():
            self._logger.info("CLIENT %s connected to %s", self._uuid, effect.name)
        if effect.name != self._name and not self._warned:
            self._warned = True
            self._logger.warning(
                "the master at this address is called '%s', not '%s'; the address decides",
                effect.name,
                self._name,
            )

    def _idle(self) -> bool:
        again = False
        for _, feeder in list(self._active.values()):
            if feeder.has_pending:
                feeder.flush_stale()
                again = True
        return again


def _weakly(method: weakref.WeakMethod[Any]) -> Any:
    def call(*args: Any) -> Any:
        strong = method()
        return strong(*args) if strong is not None else None

    return call
