"""Who watches the messages of a component: copies go to observers as far as these have room.

Nothing waits for an observer. What it has no room for is skipped, and it is told how much that was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from palm.protocol.effects import Effect, Send
from palm.protocol.timers import Timer
from palm.wire.batch import Batch
from palm.wire.message import Kept, Seen, Watch

__all__ = ["CLIENTS", "MAX_ROOM", "WORKERS", "ObserverSession", "Taps"]

#: What the other ends are called that are no components of a name.
CLIENTS: Final = "clients"
WORKERS: Final = "workers"

#: Most messages, and bytes of them, that one `Seen` holds: it is for people to look at.
MOST: Final = 64
MOST_BYTES: Final = 64 * 1024

#: Most of them that may be on their way to an observer.
MAX_ROOM: Final = 256


@dataclass(slots=True, eq=False)
class ObserverSession:
    """One observer; ``edges`` are those it watches, as ``SOURCE>TARGET``; none: all."""

    id: bytes
    name: str
    peer: bytes | None = None
    link: int = 0
    birth: int = 0
    expiry: Timer | None = None
    replies: dict[int, tuple[Kept, Batch | None]] = field(default_factory=dict)
    role: str = "observer"
    room: int = 0
    edges: frozenset[str] = frozenset()
    skipped: int = 0


class Taps:
    """The observers of a component; effects are added to the list of the machine it serves."""

    def __init__(self, name: str, effects: list[Effect]) -> None:
        self._name = name
        self._effects = effects
        #: Empty most of the time: nothing is called then.
        self.observers: dict[bytes, ObserverSession] = {}

    def watch(self, observer: ObserverSession, message: Watch) -> None:
        """Note that an observer has room for more, and tell it what it missed."""
        observer.edges = frozenset(message.edges)
        observer.room = min(observer.room + max(message.room, 0), MAX_ROOM)
        if observer.skipped:
            self._send(observer, Seen(0, "", "", "", b"", 0, 0, 0), Batch.pack([]))

    def incoming(
        self, source: str, function: str, job: bytes, first: int, batch: Batch, codec: int,
        kinds: bytes = b"",
    ) -> None:  # fmt: skip
        """Show messages that come from somebody to this component."""
        self._show(source, self._name, function, job, first, batch, codec, kinds)

    def outgoing(
        self, target: str, function: str, job: bytes, first: int, batch: Batch, codec: int,
        kinds: bytes = b"",
    ) -> None:  # fmt: skip
        """Show messages that go from this component to somebody."""
        self._show(self._name, target, function, job, first, batch, codec, kinds)

    def _show(
        self, source: str, target: str, function: str, job: bytes, first: int, batch: Batch,
        codec: int, kinds: bytes,
    ) -> None:  # fmt: skip
        edge = f"{source}>{target}"
        for observer in self.observers.values():
            if observer.edges and edge not in observer.edges:
                continue
            n = _fitting(batch) if observer.room > 0 else 0
            if n:
                seen = Seen(0, source, target, function, job, first, n, codec, kinds[:n])
                self._send(observer, seen, batch.cut(0, n))
            observer.skipped += batch.n - n

    def _send(self, observer: ObserverSession, seen: Seen, batch: Batch) -> None:
        if observer.peer is not None:
            observer.room -= 1
            seen.link, seen.skipped, observer.skipped = observer.link, observer.skipped, 0
            self._effects.append(Send(observer.peer, seen, batch))


def _fitting(batch: Batch) -> int:
    """Return how many messages of a batch are shown."""
    n = min(batch.n, MOST)
    if batch.size <= MOST_BYTES:
        return n
    size = 0
    for at, each in enumerate(batch.sizes[:n]):
        size += each
        if size > MOST_BYTES:
            return at
    return n
