"""Cache operations on their way: each is sent until it is answered, and carried out once."""

from __future__ import annotations

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
            self._send(request, wanted.batch, link)

    def resend(self, link: int) -> None:
        """Send all that are open, over a new link."""
        for request, wanted in self._open.values():
            self._send(request, wanted.batch, link)

    def answered(self, kept: Kept, batch: Batch | None) -> None:
        """Take an answer; one that was given before is ignored."""
        found = self._open.pop(kept.op, None)
        if found is not None:
            reply = found[1].reply
            self._effects.append(Reply(reply, kept.found, kept.key, kept.codec, batch))

    def clear(self) -> None:
        """Forget what is open."""
        self._open.clear()

    def _send(self, request: Keep | Fetch, batch: Batch | None, link: int) -> None:
        request.link = link
        self._effects.append(Send(b"", request, batch))
