"""A master's view of clients: their sessions, their jobs, and what of a job waits to be leased."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Final

from palm.protocol.ledger import Ledger
from palm.protocol.meter import Arrivals, EdgeCounts, FunctionCounts
from palm.protocol.partitions import Partitions
from palm.protocol.ranges import RangeSet
from palm.protocol.timers import Timer
from palm.wire.batch import Batch
from palm.wire.message import Kept, Outcome, Route, Terms

if TYPE_CHECKING:
    from palm.protocol.passage import Passage

__all__ = ["PLAIN", "ClientSession", "Fate", "JobState", "Piece", "blank_piece"]

#: The terms of a job that has none.
PLAIN: Final = Terms()


@dataclass(slots=True)
class Fate:
    """What became of a worker whose connection broke: ``died`` is None until that is known."""

    died: bool | None = None


@dataclass(slots=True)
class Piece:
    """Messages of a job that wait: those of ``batch`` from ``start`` on, the first is ``first``.

    ``attempts`` counts their starts so far, ``raised`` how often their function raised; ``fates``
    are those of the workers that were lost while they ran alone; pieces to be run ``alone`` hold
    one message. ``partition`` is that of their keys, -1 without.
    """

    first: int
    batch: Batch
    codec: int
    start: int = 0
    attempts: int = 0
    fates: tuple[Fate, ...] = ()
    alone: bool = False
    raised: int = 0
    partition: int = -1

    @property
    def n(self) -> int:
        """Messages left."""
        return self.batch.n - self.start

    @property
    def deaths(self) -> int:
        """Workers that died while they ran alone."""
        return sum(fate.died is True for fate in self.fates)

    @property
    def doubts(self) -> int:
        """Workers that may have died so, or may come back."""
        return sum(fate.died is None for fate in self.fates)

    def split(self, n: int) -> Piece:
        """Take the first ``n`` messages off."""
        stop = self.start + n
        head = Piece(
            self.first,
            self.batch.cut(self.start, stop),
            self.codec,
            attempts=self.attempts,
            fates=self.fates,
            alone=self.alone,
            raised=self.raised,
            partition=self.partition,
        )
        self.first += n
        self.start = stop
        return head


def blank_piece(start: int, stop: int) -> Piece:
    """Return messages ``start .. stop-1`` without their payloads: they are not to be run."""
    n = stop - start
    return Piece(start, Batch(n, bytes(4 * n), b"", []), 0)


class JobState:
    """One job: ``session`` gets its outcomes, ``home`` lists it, and lends it its id on the wire.

    The two differ for a job in the journal, which outlives the clients that have it.
    """

    __slots__ = (
        "arrivals",
        "astray",
        "blocked",
        "chain",
        "closed",
        "counts",
        "deadline",
        "delayed",
        "done",
        "doubtful",
        "dropped",
        "expired",
        "function",
        "granted",
        "home",
        "id",
        "kept",
        "known",
        "late",
        "ledger",
        "link",
        "listed",
        "partitions",
        "passage",
        "queue",
        "queued",
        "released",
        "route",
        "session",
        "suspects",
        "terms",
        "then",
        "told",
        "unacked",
        "unknown",
        "wait",
    )

    def __init__(
        self,
        session: ClientSession,
        job: bytes,
        function: str,
        terms: Terms | None = None,
        route: Route | None = None,
    ) -> None:
        self.session = self.home = session
        self.id = job
        self.route = route
        #: The functions of all stages, as the client named them.
        self.chain = function
        #: The way of its messages through this component, if that is more than one step.
        self.passage: Passage | None = None
        #: So much came of it that nothing more is run for now.
        self.blocked = False
        #: Takes its outcomes, if it is such a step.
        self.then: Callable[[Outcome, Batch], None] | None = None
        #: Outcomes that a stage before this one has not released.
        self.kept: deque[tuple[Outcome, Batch]] = deque()
        #: Messages whose outcomes it has released.
        self.released = RangeSet()
        #: Of a job in the journal.
        self.ledger: Ledger | None = None
        self.function = function
        self.terms = terms or PLAIN
        #: The client's link over which it was submitted last.
        self.link = session.link
        #: When its messages came, unless it is a step of another one.
        self.arrivals: Arrivals | None = None
        #: Those of its function, once it is known to be counted.
        self.counts: FunctionCounts | None = None
        self.known = RangeSet()
        self.done = RangeSet()
        self.queue: deque[Piece] = deque()
        self.suspects: deque[Piece] = deque()
        #: What waits in the place of the two when the job has keys.
        self.partitions: Partitions | None = None
        #: Those that must not run before the fates of more workers are known.
        self.doubtful: list[Piece] = []
        #: Those that are tried again after a while.
        self.delayed: dict[int, tuple[Piece, Timer]] = {}
        #: Messages in the queue; suspects are not counted.
        self.queued = 0
        #: The client has said that no more will come.
        self.closed = False
        #: Messages that an earlier master may have leased, and that may not run twice.
        self.astray: list[Piece] = []
        #: Runs while it has time left.
        self.deadline: Timer | None = None
        #: Its time is over: nothing of it is leased any more.
        self.expired = False
        #: Nobody is interested in it any more.
        self.dropped = False
        #: A result came for messages that were queued again: the queue must be looked through.
        self.late = False
        #: It is in its function's line of jobs that have something to lease.
        self.listed = False
        #: Size of the largest lease so far, messages.
        self.granted = 0
        #: Outcomes that the client has not acknowledged.
        self.unacked = 0
        #: Runs while no worker serves the function.
        self.wait: Timer | None = None
        #: The person who waits knows that no worker serves the function.
        self.told = False
        #: Messages of it failed since workers are there and none serves the function.
        self.unknown = False

    @property
    def open(self) -> int:
        """Messages without an outcome."""
        return self.known.total - self.done.total

    @property
    def finished(self) -> bool:
        """Nothing will ever happen to it again."""
        return self.closed and not self.open and not self.unacked and self.ledger is None

    def open_ranges(self) -> list[tuple[int, int]]:
        """Return the messages without an outcome, as ranges."""
        return [
            open_ for start, stop in self.known.ranges() for open_ in self.done.missing(start, stop)
        ]

    @property
    def must_be_alone(self) -> bool:
        """Whether a worker that runs something of it next may have nothing else meanwhile.

        So it is known which messages end a worker, and which may have begun when it was lost.
        """
        if self.terms.at_most_once:
            return self.waiting
        return bool(self.suspects or (self.partitions and self.partitions.next_is_alone))

    @property
    def held(self) -> list[Piece]:
        """All that is neither leased nor done."""
        delayed = [piece for piece, _ in self.delayed.values()]
        keyed = self.partitions.pieces if self.partitions is not None else []
        return [*self.queue, *self.suspects, *self.doubtful, *delayed, *self.astray, *keyed]

    @property
    def waiting(self) -> bool:
        """Whether something of it could be leased."""
        return bool(self.queue or self.suspects or self.partitions) and not self.blocked

    @property
    def next_size(self) -> float:
        """Bytes of a message that is next in the queue, on average; of those with keys: inf."""
        if not self.queue:
            return inf
        batch = self.queue[0].batch
        return batch.size / max(batch.n, 1)

    def put(self, piece: Piece) -> None:
        """Queue messages behind the others."""
        self.queued += piece.n
        if piece.partition < 0:
            self.queue.append(piece)
        else:
            if self.partitions is None:
                self.partitions = Partitions()
            self.partitions.put(piece)

    def put_back(self, piece: Piece) -> None:
        """Queue messages before the others; those to run alone apart from them."""
        if self.partitions is not None and piece.partition >= 0:
            self.partitions.put(piece)
            self.queued += piece.n
        elif piece.alone:
            self.suspects.appendleft(piece)
        else:
            self.queue.appendleft(piece)
            self.queued += piece.n

    def take(self, limit: int) -> Piece | None:
        """Take up to ``limit`` messages off the queue."""
        if self.partitions is not None:
            return self._take_keyed(limit)
        if self.late:
            self._drop_done()
        if not self.queue:
            return None
        piece = self.queue[0]
        if piece.n > limit:
            head = piece.split(limit)
        else:
            self.queue.popleft()
            head = piece.split(piece.n) if piece.start else piece
        self.queued -= head.n
        return head

    def _take_keyed(self, limit: int) -> Piece | None:
        partitions = self.partitions
        if self.terms.retries:
            limit = 1  # those behind one that is tried again wait for it
        while partitions:
            piece = partitions.take(limit)
            self.queued -= piece.n
            missing = self.done.missing(piece.first, piece.first + piece.n)
            if missing == [(piece.first, piece.first + piece.n)]:
                return piece
            for start, stop in missing:
                at = piece.start + start - piece.first
                part = piece.batch.cut(at, at + stop - start)
                self.put(replace(piece, first=start, batch=part, start=0))
            partitions.release(piece.partition)
        return None

    def hold(self, partition: int) -> None:
        """Give out nothing of a partition before `release`; -1 is none."""
        if partition >= 0 and self.partitions is not None:
            self.partitions.hold(partition)

    def is_out(self, partition: int) -> bool:
        """Whether something of a partition is out; of -1, nothing ever is."""
        return self.partitions is not None and self.partitions.is_out(partition)

    def release(self, partition: int) -> None:
        """Note that something of a partition, -1 for none, is not out any more."""
        if partition >= 0 and self.partitions is not None:
            self.partitions.release(partition)

    def take_suspect(self) -> Piece | None:
        """Take a message that must run alone."""
        while self.suspects:
            piece = self.suspects.popleft()
            if piece.first not in self.done:
                return piece
        return None

    def take_alone(self, first: int, stop: int) -> list[Piece]:
        """Take what is open of messages ``first .. stop-1``; nothing unless all of it is here.

        They are those that were given to one worker, and are to be run alone since it was lost.
        """
        wanted = {seq for a, b in self.done.missing(first, stop) for seq in range(a, b)}
        keyed = self.partitions.pieces if self.partitions is not None else []
        pieces = [
            p for p in (*self.suspects, *self.doubtful, *keyed) if p.alone and p.first in wanted
        ]
        if len(pieces) < len(wanted):
            return []
        for piece in pieces:
            if self.partitions is not None:
                self._take_out(piece)
        self.suspects = deque(p for p in self.suspects if p.first not in wanted)
        self.doubtful = [p for p in self.doubtful if p.first not in wanted]
        return pieces

    def _take_out(self, piece: Piece) -> None:
        """Take a piece of a job with keys out of where it waits; its partition is free then."""
        if self.partitions is None or piece in self.doubtful:
            self.release(piece.partition)
        else:
            self.partitions.remove(piece)
            self.queued -= piece.n

    def take_begun(self, first: int) -> Piece | None:
        """Take messages that one worker may have begun, from the first on, if they are here."""
        for at, piece in enumerate(self.doubtful):
            if piece.first == first:
                self.release(piece.partition)
                return self.doubtful.pop(at)
        return None

    def clear(self) -> None:
        """Forget all that waits, in the queue or for a time."""
        self.queue.clear()
        self.suspects.clear()
        self.doubtful.clear()
        for _, timer in self.delayed.values():
            timer.cancel()
        self.delayed.clear()
        self.astray.clear()
        self.partitions = None
        self.queued = 0
        if self.wait is not None:
            self.wait.cancel()
            self.wait = None
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def _drop_done(self) -> None:
        """Take what has an outcome by now out of the queue."""
        self.late = False
        kept: deque[Piece] = deque()
        for piece in self.queue:
            for start, stop in self.done.missing(piece.first, piece.first + piece.n):
                at = piece.start + start - piece.first
                part = piece.batch.cut(at, at + stop - start)
                kept.append(
                    Piece(start, part, piece.codec, attempts=piece.attempts, raised=piece.raised)
                )
        self.queue = kept
        self.queued = sum(piece.n for piece in kept)


@dataclass(slots=True)
class ClientSession:
    """A client; it outlives its connection by the master's ``session_ttl``.

    ``alias`` is the name by which the client knows the master, ``birth`` its first link.
    """

    id: bytes
    name: str
    alias: str
    peer: bytes | None = None
    link: int = 0
    birth: int = 0
    jobs: dict[bytes, JobState] = field(default_factory=dict)
    #: Outcomes not acknowledged yet, oldest first.
    outcomes: deque[tuple[Outcome, Batch]] = field(default_factory=deque)
    serial: int = 0
    expiry: Timer | None = None
    #: The last answers to cache operations: a repeated one is not carried out twice.
    replies: dict[int, tuple[Kept, Batch | None]] = field(default_factory=dict)
    #: What it gave, if that is counted apart from what clients did.
    edge: EdgeCounts | None = None
    role: str = "client"
    #: Of a stage before this one: the links over which its present life has greeted us.
    links: set[int] = field(default_factory=set)
