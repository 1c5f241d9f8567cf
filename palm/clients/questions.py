"""Questions to a master, from the side of the thread that waits for the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from palm.errors import PalmError
from palm.protocol.effects import Answered
from palm.protocol.events import Asked, Event
from palm.wire.message import Answer

__all__ = ["Questions"]


class _Waiting:
    """Takes the answer to the thread that waits for it."""

    __slots__ = ("answer", "done", "error")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: Answer | None = None
        self.error: PalmError | None = None

    def __call__(self, answer: Answer | None, error: PalmError | None) -> None:
        self.answer, self.error = answer, error
        self.done.set()


class Questions:
    """Asks; ``post`` lets an event happen in the client's machine."""

    def __init__(self, post: Callable[[Event], None]) -> None:
        self._post = post
        self._open: set[_Waiting] = set()
        self._closed: PalmError | None = None

    def ask(
        self,
        *,
        workers: int = 0,
        job: bytes = b"",
        take: bool = False,
        timeout: float | None = None,
    ) -> Answer | None:
        """Return the answer (see `palm.wire.message.Ask`); None: not within ``timeout`` seconds.

        Raises
        ------
        ConnectTimeout
            There is no master that could answer.
        """
        waiting = _Waiting()
        self._open.add(waiting)
        try:
            if self._closed is not None:  # looked at after the question can be found by `close`
                raise self._closed
            self._post(Asked(waiting, workers, job, take))
            if not waiting.done.wait(timeout):
                return None
        finally:
            self._open.discard(waiting)
        if waiting.error is not None:
            raise waiting.error
        return waiting.answer

    def close(self, error: PalmError) -> None:
        """Let all that wait fail, and all that will ask: nobody answers any more."""
        self._closed = error  # in this order: see `ask`
        for waiting in list(self._open):
            waiting(None, error)

    @staticmethod
    def perform(effect: Answered) -> None:
        """Hand an answer over."""
        effect.call(effect.answer, effect.error)
