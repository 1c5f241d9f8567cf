"""Signals that a runner is asked to send: each once at most, whatever dies on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from palm.files import privatefile
from palm.registry_api.schema import SignalDone, SignalOrder

__all__ = ["SignalBook"]

#: Seconds for which an order is known after it was taken; a registry repeats it far shorter.
KEPT = 3600.0
_MAX_FILE = 1024 * 1024
#: Answers that are kept; a registry asks again for those that it did not hear.
_MOST = 1000

#: Id and name of the process.
_Key = tuple[str, str]


class SignalBook:
    """The orders that were taken, in a file: the next runner of the node takes them no more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: dict[str, float] | None = None
        #: What became of those that this runner has sent.
        self._done: dict[_Key, SignalDone] = {}

    def take(
        self, orders: Iterable[SignalOrder], send: Callable[[SignalOrder], str]
    ) -> list[SignalDone]:
        """Send what was not taken before, and return what became of all of them.

        `send` says why it cannot, or "". It is all written down first: better never than twice.

        Raises
        ------
        OSError, PalmError
            That was not possible, and nothing was sent.
        """
        asked = {(order.id, order.name): order for order in orders}
        new = self._enter(asked) if asked else []
        for key in new:
            reason = send(asked[key])
            done = SignalDone(id=key[0], name=key[1], sent=not reason, reason=reason)
            self._done[key] = done
        while len(self._done) > _MOST:
            del self._done[next(iter(self._done))]
        return [self._done.get(key) or _unsure(key) for key in asked]

    def _enter(self, asked: Collection[_Key]) -> list[_Key]:
        """Write down those that were asked for; return those that were not there before."""
        taken = self._read()
        # Without the list nobody knows which were taken: then none is sent.
        new = [] if taken is None else [key for key in asked if "/".join(key) not in taken]
        if new or taken is None:
            now = time.time()
            kept = {key: at for key, at in (taken or {}).items() if abs(now - at) < KEPT}
            taken = kept | dict.fromkeys(map("/".join, asked), now)
            privatefile.replace(self._path, msgspec.json.encode(taken))
            self._taken = taken
        return new

    def _read(self) -> dict[str, float] | None:
        """Return what was taken, None if the list is damaged."""
        if self._taken is None and not self._path.exists():
            self._taken = {}
        if self._taken is None:
            data = privatefile.read(self._path, "list of signals", _MAX_FILE)
            with suppress(*privatefile.UNREADABLE):
                self._taken = msgspec.json.decode(data, type=dict[str, float])
        return self._taken


def _unsure(key: _Key) -> SignalDone:
    """What is said of one that an earlier runner took."""
    reason = "or its runner was killed at that moment"
    return SignalDone(id=key[0], name=key[1], reason=reason)
