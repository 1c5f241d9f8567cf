"""What a session asks of its master and is sent until it is answered.

Cache operations are carried out once; questions may be answered again and again.
"""

from __future__ import annotations

from palm.errors import PalmError
from palm.protocol.cache import REPLIES, error_of, name_of
from palm.protocol.effects import Answered, Effect, Reply, Send
from palm.protocol.events import Asked, Wanted
from palm.wire.batch import Batch
from palm.wire.message import Answer, Ask, Kept

__all__ = ["Questions", "Requests"]


class Requests:
    """The operations of one session; effects are added to the list of the machine it serves."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._open: dict[int, Wanted] = {}
        self._next = 1
        #: The latest operation that was sent over this link.
        self._sent = 0

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, wanted: Wanted, link: int) -> None:
        """Take an operation; ``link`` is 0 while there is none."""
        op, self._next = self._next, self._next + 1
        wanted.request.op = op
        self._open[op] = wanted
        if link:
            self._send(link)

    def resend(self, link: int) -> None:
        """Send those that are open again, over a new link."""
        self._sent = 0
        self._send(link)

    def answered(self, kept: Kept, batch: Batch | None) -> None:
        """Take an answer; one that was given before is ignored."""
        found = self._open.pop(kept.op, None)
        if found is not None:
            error = error_of(kept, batch)
            self._effects.append(
                Reply(found.reply, kept.found, kept.key, kept.codec, batch, error, kept.count)
            )
            self._send(kept.link)

    def fail(self, error: PalmError) -> None:
        """Let all that is open end with an error."""
        for wanted in self._open.values():
            key = name_of(wanted.request)
            self._effects.append(Reply(wanted.reply, False, key, 0, None, error))
        self._open.clear()

    def _send(self, link: int) -> None:
        """Send what was not sent yet, as far as the master will remember its answers."""
        oldest = next(iter(self._open), self._next)
        for op in range(max(oldest, self._sent + 1), min(oldest + REPLIES, self._next)):
            if op in self._open:  # some in between may have been answered before
                wanted = self._open[op]
                wanted.request.link = link
                self._effects.append(Send(b"", wanted.request, wanted.batch))
            self._sent = op


class Questions:
    """The questions of one session; effects are added to the list of the machine it serves."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._open: dict[int, Asked] = {}
        self._next = 1

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, asked: Asked, link: int) -> None:
        """Take a question; ``link`` is 0 while there is none."""
        op, self._next = self._next, self._next + 1
        self._open[op] = asked
        if link:
            self._send(op, asked, link)

    def resend(self, link: int) -> None:
        """Send those that are open again, over a new link."""
        for op, asked in self._open.items():
            self._send(op, asked, link)

    def answered(self, answer: Answer) -> None:
        """Take an answer; one to nothing that is open is ignored."""
        asked = self._open.pop(answer.op, None)
        if asked is not None:
            self._effects.append(Answered(asked.call, answer))

    def fail(self, error: PalmError) -> None:
        """Let all that is open end with an error."""
        for asked in self._open.values():
            self._effects.append(Answered(asked.call, None, error))
        self._open.clear()

    def _send(self, op: int, asked: Asked, link: int) -> None:
        self._effects.append(Send(b"", Ask(link, op, asked.workers, asked.job, asked.take)))
