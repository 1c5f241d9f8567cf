"""The shared values of a master, for its sessions: each operation once, and ends kept in time."""

from __future__ import annotations

import logging
from typing import Final

from palm.errors import CacheFull
from palm.protocol.cache import Operation, answer, failure_in, name_of
from palm.protocol.effects import Effect, Log, Send
from palm.protocol.jobs import ClientSession
from palm.protocol.pool import WorkerSession
from palm.protocol.shown import LINE, shown
from palm.protocol.store import Store
from palm.wire.batch import Batch
from palm.wire.message import Kept
from palm.wire.outcome import Failure, describe

__all__ = ["Values"]

#: Seconds for which answers are remembered of a session that the master has given up.
REMEMBER_FOR: Final = 60.0

_FULL: Final = CacheFull.__name__


class Values:
    """Answers what sessions ask; effects are added to the list of the machine it serves."""

    def __init__(self, store: Store, effects: list[Effect]) -> None:
        self.store = store
        self._effects = effects
        #: When a session last asked, and what it was answered, the latest last.
        self._asked: dict[bytes, tuple[float, dict[int, tuple[Kept, Batch | None]]]] = {}

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do; None: never."""
        with self.store.lock:
            return self.store.next_expiry

    def handle(
        self,
        session: ClientSession | WorkerSession,
        request: Operation,
        batch: Batch | None,
        now: float,
    ) -> None:
        """Carry out an operation, unless it was before, and answer."""
        self._remember(session, now)
        kept, value = answer(self.store, session.replies, request, batch, now)
        failure = failure_in(kept, value)
        if failure is not None:
            self._log(request, failure)
        kept.link = session.link
        if session.peer is not None:
            self._effects.append(Send(session.peer, kept, value))

    def expire(self, now: float) -> None:
        """Give back the memory of what is over."""
        try:
            with self.store.lock:
                self.store.expire(now)
        except Exception as error:  # noqa: BLE001 - the mapping is the user's
            text = shown(f"{type(error).__name__}: {describe(error)}", LINE)
            self._effects.append(Log(logging.ERROR, f"the cache cannot forget: {text}"))

    def _remember(self, session: ClientSession | WorkerSession, now: float) -> None:
        """Let a session that was given up meanwhile, and is back, have its earlier answers."""
        known = self._asked.pop(session.id, None)
        if known is not None and not session.replies:
            session.replies = known[1]
        self._asked[session.id] = (now, session.replies)
        while (oldest := next(iter(self._asked.items())))[1][0] < now - REMEMBER_FOR:
            del self._asked[oldest[0]]

    def _log(self, request: Operation, failure: Failure) -> None:
        if failure.type == _FULL:
            return  # its caller is told, and may try often
        text = shown(f"{failure.type}: {failure.text}", LINE)
        text = f"the cache failed at {shown(name_of(request))}: {text}"
        self._effects.append(Log(logging.ERROR, text))
