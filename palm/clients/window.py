"""How much of a job may be under way: the bound of everybody's memory."""

from __future__ import annotations

from typing import Final

from palm.wire.batch import MAX_MESSAGES as FULL_BATCH

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "MIN_IN_FLIGHT", "JournaledWindow", "Window"]

#: Messages of a job that may be in flight or wait for their caller: sixteen full batches.
MAX_MESSAGES: Final = 65_536

#: Bytes of the same; one larger message is allowed alone.
MAX_BYTES: Final = 16 * 1024 * 1024

#: Messages that may be in flight however large their results are expected to be: with fewer,
#: large results would be computed one after the other.
MIN_IN_FLIGHT: Final = 16

#: Messages that may be under way before a result has shown how large results are.
FIRST: Final = 64

#: How often as many messages may be under way as have an outcome, until the window is reached.
GROWTH: Final = 8


class Window:
    """Counts what a job has under way; not thread-safe by itself.

    A message takes its place when it is submitted and leaves it when its outcome is consumed;
    the room for its result is reserved by the mean size of the results so far. Before there are
    any, little is submitted: thousands of large results would be on their way at once.
    """

    def __init__(self) -> None:
        self.submitted = 0
        self.answered = 0
        self.consumed = 0
        self._input_bytes = 0
        self._result_bytes = 0
        self._held_bytes = 0
        #: Outcomes are kept for a caller who wants them all: they do not count.
        self.collecting = False

    @property
    def in_flight(self) -> int:
        """Messages without an outcome."""
        return self.submitted - self.answered

    @property
    def room(self) -> int:
        """How many messages may be submitted now, as far as their sizes allow."""
        in_flight = self.in_flight
        waiting = 0 if self.collecting else self.answered - self.consumed
        room = max(0, self._most - in_flight - waiting)
        if not in_flight and not waiting:
            return max(room, 1)
        held = 0 if self.collecting else self._held_bytes
        free = MAX_BYTES - self._input_bytes - held
        if free <= 0 or not self._result_bytes:
            return room if free > 0 else 0
        mean = self._result_bytes / self.answered
        return min(room, max(int(free / mean), MIN_IN_FLIGHT) - in_flight)

    @property
    def has_room(self) -> bool:
        """Whether more may be submitted."""
        return self.room > 0  # it is negative when results turn out larger than expected

    @property
    def is_low(self) -> bool:
        """Whether so much has left that filling it up again is worth a wake-up.

        A full batch is: who waited for half a window left the workers without work at its end.
        """
        if not self.has_room:
            return False
        waiting = 0 if self.collecting else self.answered - self.consumed
        in_flight, most = self.in_flight, self._most
        return in_flight <= FIRST or in_flight + waiting <= most - min(FULL_BATCH, most // 2)

    @property
    def is_roomy(self) -> bool:
        """Whether more outcomes may come, of those that a journal has in store."""
        if self.collecting:
            return True
        waiting = self.answered - self.consumed
        return waiting <= MAX_MESSAGES // 2 and self._held_bytes <= MAX_BYTES // 2

    @property
    def _most(self) -> int:
        return min(MAX_MESSAGES, FIRST + GROWTH * self.answered)

    def submit(self, n: int, size: int) -> None:
        """Note that ``n`` messages of ``size`` bytes were submitted."""
        self.submitted += n
        self._input_bytes += size

    def answer(self, n: int, size: int) -> None:
        """Note that ``n`` outcomes of ``size`` bytes came."""
        in_flight = self.in_flight
        self._input_bytes -= self._input_bytes * n // in_flight if in_flight else 0
        self.answered += n
        self._result_bytes += size
        self._held_bytes += size

    def consume(self, n: int, size: int) -> None:
        """Note that the caller took ``n`` outcomes of ``size`` bytes."""
        self.consumed += n
        self._held_bytes -= size


class JournaledWindow(Window):
    """Of a job in the journal: a message leaves when it is accepted there.

    Outcomes have a window of their own, at the master: what the caller does not take stays in the
    journal, and holds nothing up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0

    @property
    def in_flight(self) -> int:
        """Messages that are not accepted yet."""
        return self.submitted - self.accepted

    @property
    def room(self) -> int:
        """How many messages may be submitted now, as far as their sizes allow."""
        if not self.in_flight:
            return MAX_MESSAGES
        return max(0, MAX_MESSAGES - self.in_flight) if self._input_bytes < MAX_BYTES else 0

    @property
    def is_low(self) -> bool:
        """Whether so much was accepted that submitting more is worth a wake-up."""
        return self.has_room and self.in_flight <= MAX_MESSAGES // 2

    def accept(self, upto: int) -> None:
        """Note that messages before ``upto`` were accepted."""
        n, in_flight = upto - self.accepted, self.in_flight
        if n > 0:
            self._input_bytes -= self._input_bytes * n // max(in_flight, n)
            self.accepted = upto

    def answer(self, n: int, size: int) -> None:
        """Note that ``n`` outcomes of ``size`` bytes came."""
        self.answered += n
        self._held_bytes += size
