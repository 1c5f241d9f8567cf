"""What a master knows of one job in its journal, beyond what it knows of every job."""

from __future__ import annotations

from collections import deque
from typing import Final

from palm.protocol.timers import Timer
from palm.wire.batch import Batch

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Ledger"]

#: Messages of one job, and bytes of them, that are in memory to be run; the rest is on disk.
#: As many outcomes may be on their way to its client.
MAX_MESSAGES: Final = 32_768
MAX_BYTES: Final = 16 * 1024 * 1024


class Ledger:
    """Counts of one job.

    Its messages are numbered without gaps. Those before ``accepted`` are in the journal, those
    before ``admitted`` were in memory as well; ``held`` of these have no outcome yet.
    """

    __slots__ = (
        "_held_bytes",
        "_under_way",
        "_under_way_bytes",
        "_under_way_messages",
        "accepted",
        "admitted",
        "began",
        "client",
        "expiry",
        "failed",
        "full",
        "held",
        "loading",
        "number",
        "outcomes",
        "owner",
        "reading",
        "recorded",
        "sent",
    )

    def __init__(self, client: str, began: float, owner: bytes = b"") -> None:
        #: Who had it first, and when it began.
        self.client = client
        self.began = began
        #: Session of the client that it belongs to, also while that is away; b"": not known.
        self.owner = owner
        #: Number of the message by which that client took it.
        self.number = 0
        self.accepted = 0
        self.admitted = 0
        self.held = 0
        self._held_bytes = 0
        #: Messages are being read back.
        self.loading = False
        #: Entries with outcomes: given to the journal, and known to be in it.
        self.recorded = 0
        self.outcomes = 0
        #: Messages whose outcome is no result.
        self.failed = 0
        #: Position of the next outcome for its client.
        self.sent = 0
        #: Outcomes are being read back.
        self.reading = False
        #: Its client has room for nothing, and will say when it has.
        self.full = False
        #: Position, messages and bytes of what the client was sent and has not made room for.
        self._under_way: deque[tuple[int, int, int]] = deque()
        self._under_way_messages = 0
        self._under_way_bytes = 0
        #: Runs while no client has it.
        self.expiry: Timer | None = None

    # Messages

    @property
    def has_room(self) -> bool:
        """Whether more messages may be in memory."""
        return self.held < MAX_MESSAGES and self._held_bytes < MAX_BYTES

    @property
    def is_low(self) -> bool:
        """Whether messages that are on disk only should be read back."""
        low = self.held <= MAX_MESSAGES // 2 and self._held_bytes <= MAX_BYTES // 2
        return low and not self.loading and self.admitted < self.accepted

    def admit(self, upto: int, n: int, size: int) -> None:
        """Note that messages before ``upto`` are in memory, ``n`` more without an outcome."""
        self.admitted = upto
        self.held += n
        self._held_bytes += size if n else 0

    def done(self, first: int, stop: int) -> None:
        """Note that messages have an outcome."""
        n = min(stop, self.admitted) - first
        if n > 0:
            self._held_bytes -= self._held_bytes * n // max(self.held, n)
            self.held -= n

    # Outcomes

    @property
    def may_send(self) -> bool:
        """Whether the client has room for more outcomes."""
        return not self.full and (
            not self._under_way
            or (self._under_way_messages < MAX_MESSAGES and self._under_way_bytes < MAX_BYTES)
        )

    def send(self, batch: Batch) -> None:
        """Note that the next outcomes were sent."""
        self._under_way.append((self.sent, batch.n, batch.size))
        self._under_way_messages += batch.n
        self._under_way_bytes += batch.size
        self.sent += 1

    def taken(self, position: int) -> None:
        """Note that the client has room for more than the outcomes before ``position``."""
        self.full = False
        while self._under_way and self._under_way[0][0] < position:
            _, n, size = self._under_way.popleft()
            self._under_way_messages -= n
            self._under_way_bytes -= size

    def rewind(self, position: int, *, full: bool) -> None:
        """Note that a client wants the outcomes from ``position`` on."""
        self.sent, self.full = position, full
        self._under_way.clear()
        self._under_way_messages = self._under_way_bytes = 0
