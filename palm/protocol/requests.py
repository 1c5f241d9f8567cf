"""Cache operations on their way: each is sent until it is answered, and carried out once."""

from __future__ import annotations

from palm.errors import PalmError
from palm.protocol.cache import REPLIES, error_of
from palm.protocol.effects import Effect, Reply, Send
from palm.protocol.events import Wanted
from palm.wire.batch import Batch
from palm.wire.message import Fetch, Keep, Kept

__all__ = ["Requests"]


class Requests:
    """The operations of one session; effects are added to the list of the machine it serves."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._open: dict[int, tuple[Keep | Fetch, Wanted]] = {}
        self._next = 1
        #: The latest operation that was sent over this link.
        self._sent = 0

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, wanted: Wanted, link: int) -> None:
        """Take an operation; ``link`` is 0 while there is none."""
        op, self._next = self._next, self._next + 1
        request: Keep | Fetch
        if wanted.batch is not None:
            request = Keep(0, op, wanted.key, wanted.codec)
        else:
            request = Fetch(0, op, wanted.key, wanted.delete)
        self._open[op] = (request, wanted)
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
            reply, error = found[1].reply, error_of(kept, batch)
            self._effects.append(Reply(reply, kept.found, kept.key, kept.codec, batch, error))
            self._send(kept.link)

    def fail(self, error: PalmError) -> None:
        """Let all that is open end with an error."""
        for request, wanted in self._open.values():
            self._effects.append(Reply(wanted.reply, False, request.key, 0, None, error))
        self._open.clear()

    def _send(self, link: int) -> None:
        """Send what was not sent yet, as far as the master will remember its answers."""
        oldest = next(iter(self._open), self._next)
        for op in range(max(oldest, self._sent + 1), min(oldest + REPLIES, self._next)):
            if op in self._open:  # some in between may have been answered before
                request, wanted = self._open[op]
                request.link = link
                self._effects.append(Send(b"", request, wanted.batch))
            self._sent = op
