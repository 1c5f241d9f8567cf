"""A master's view of workers: what they serve, what they hold, how much they can take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Final

from palm.errors import PalmError
from palm.protocol.jobs import Fate, JobState, Piece
from palm.protocol.meter import EdgeCounts
from palm.protocol.timers import Timer
from palm.wire.batch import MAX_MESSAGES, Batch
from palm.wire.message import Kept

__all__ = ["LOST", "Lease", "Pool", "WorkerSession", "asked_seconds"]

#: Of a worker that ran messages which may not run again.
LOST: Final = Fate(died=True)

#: Work in one lease, seconds: little enough that nobody hoards or waits long for a turn, enough to
#: pay for its handling, which takes a few hundred microseconds of all processes together. A worker
#: whose leases cost more may ask for longer ones, up to a bound: a new job waits for their ends.
LEASE_SECONDS: Final = 0.020
MOST_SECONDS: Final = 0.200

#: Who has less work than this, seconds, may have a lease more: it covers the way to the master and
#: back. Calls that take longer are handed out one by one.
AHEAD_SECONDS: Final = 0.020

#: Parts of the work of a lease that are not shared among workers with room: splitting them would
#: cost more.
WORTH: Final = 1 / 4

#: Parts of it that are one lease also near the end of a job, and the first of one, where leases are
#: small; and bytes: what a call takes does not tell how long it takes to carry its message.
LEAST: Final = 1 / 20
LEAST_BYTES: Final = 64 * 1024

#: Most leases that a worker holds.
MAX_LEASES: Final = 8

#: A lease may be this many times the size of the largest one before; the first of a job as many
#: times this many messages, if calls of its function were quick before.
GROWTH: Final = 4
FIRST: Final = 16

#: Weight of a new measurement in the mean time a message takes.
WEIGHT: Final = 0.3


@dataclass(slots=True)
class Lease:
    """Messages that a worker holds; it answers them in order, ``done`` counts those answered.

    ``attempt`` counts their starts including this one; see `Piece` for ``fates``, ``alone`` and
    ``raised``.
    """

    id: int
    job: JobState
    first: int
    batch: Batch
    codec: int
    attempt: int
    fates: tuple[Fate, ...]
    alone: bool
    raised: int = 0
    partition: int = -1
    done: int = 0
    #: Nobody wants it any more; the worker has still to let it go.
    revoked: bool = False
    #: It was asked back, for an idle worker.
    recalled: bool = False
    #: Its worker said after a greeting that it still had it: an answer may have been lost before.
    kept: bool = False

    @property
    def left(self) -> int:
        """Messages not answered yet."""
        return self.batch.n - self.done

    def rest(self, fate: Fate | None) -> list[Piece]:
        """Return what is left as pieces to queue again.

        When the worker was lost while it ran them, and may have died of them (``fate``), each
        message becomes a piece of its own, to be run alone: only then is it known which of them
        kills. Messages that may not run twice stay together.
        """
        n = self.batch.n
        if fate is None:
            return [self._piece(self.done, n, self.attempt - 1, self.fates, self.alone)]
        if self.job.terms.at_most_once:
            return [self._piece(self.done, n, self.attempt, (fate,), False)]
        fates = (*self.fates, fate) if self.alone else self.fates
        return [self._piece(at, at + 1, self.attempt, fates, True) for at in range(self.done, n)]

    def again(self, start: int, stop: int) -> Piece:
        """Return messages ``start .. stop-1``, whose function raised, to be tried again."""
        piece = self._piece(start - self.first, stop - self.first, self.attempt, (), False)
        piece.raised += 1
        return piece

    def missed(self, n: int) -> Piece:
        """Return the next ``n`` messages, whose answers were lost on their way."""
        fates = (LOST,) if self.job.terms.at_most_once else ()
        return self._piece(self.done, self.done + n, self.attempt, fates, False)

    def _piece(self, a: int, b: int, attempts: int, fates: tuple[Fate, ...], alone: bool) -> Piece:
        first, batch = self.first + a, self.batch.cut(a, b)
        return Piece(
            first, batch, self.codec, 0, attempts, fates, alone, self.raised, self.partition
        )


@dataclass(slots=True)
class WorkerSession:
    """A worker; ``leases`` are in the order in which it runs them."""

    id: bytes
    name: str
    functions: tuple[str, ...]
    peer: bytes | None = None
    link: int = 0
    birth: int = 0
    #: When it last answered, or was given something while it had nothing.
    heard: float = 0.0
    #: It has room for more.
    hungry: bool = False
    leases: dict[int, Lease] = field(default_factory=dict)
    #: It takes nothing more before it is idle: messages of this job must run alone.
    clearing: JobState | None = None
    local: bool = True
    #: A call of it took too long and has not ended: it gets nothing more before it answers.
    hung: bool = False
    #: The lease of that call.
    hanging: int = 0
    #: Rotates the order in which its functions are looked through.
    turn: int = 0
    #: Runs while its connection is gone and may come back.
    expiry: Timer | None = None
    replies: dict[int, tuple[Kept, Batch | None]] = field(default_factory=dict)
    #: Work that its leases should hold, seconds.
    lease_seconds: float = LEASE_SECONDS
    #: What it was given.
    edge: EdgeCounts = field(default_factory=EdgeCounts)
    role: str = "worker"
    #: Workers of one process are lost together.
    process: bytes = b""
    #: Another one of its process was lost, and it may be gone as well: it gets nothing.
    doubted: bool = False


class Pool:
    """The workers of a master, and how long their functions take."""

    def __init__(self) -> None:
        self._workers: dict[bytes, WorkerSession] = {}
        self._serving: dict[str, dict[bytes, WorkerSession]] = {}
        self._hungry: dict[str, dict[bytes, WorkerSession]] = {}
        self._seconds: dict[str, float] = {}
        #: How many messages run alone in each process of several workers.
        self._alone: Counter[bytes] = Counter()
        self._size = 0
        #: Functions that were served at some time.
        self.served: set[str] = set()

    @property
    def size(self) -> int:
        """Count of the workers, but for one that serves hooks only."""
        return self._size

    def workers(self) -> list[WorkerSession]:
        """Return all of them."""
        return list(self._workers.values())

    def add(self, worker: WorkerSession) -> None:
        """Let it be given work."""
        self._workers[worker.id] = worker
        self._size += not _serves_hooks(worker)
        for function in worker.functions:
            self._serving.setdefault(function, {})[worker.id] = worker
            self.served.add(function)

    def remove(self, worker: WorkerSession) -> None:
        """Give it no more work."""
        del self._workers[worker.id]
        self._size -= not _serves_hooks(worker)
        self.set_hungry(worker, False)
        for function in worker.functions:
            serving = self._serving[function]
            del serving[worker.id]
            if not serving:
                del self._serving[function]

    def check(self) -> None:
        """Raise `PalmError` where a process is held to run a message alone that does not."""
        alone = [
            w.process for w in self._workers.values() for lease in w.leases.values() if lease.alone
        ]
        if self._alone != Counter(process for process in alone if process):
            raise PalmError(f"alone are {alone}, not {self._alone}")

    def set_hungry(self, worker: WorkerSession, hungry: bool) -> None:
        """Note whether a worker has room: only those that have are looked at for new work."""
        if worker.hungry is hungry:
            return
        worker.hungry = hungry
        for function in worker.functions:
            if hungry:
                self._hungry.setdefault(function, {})[worker.id] = worker
            else:
                del self._hungry[function][worker.id]

    def hungry(self, function: str) -> list[WorkerSession]:
        """Return the workers with room that serve a function; who has the least comes first."""
        return sorted(self._hungry.get(function, {}).values(), key=_leases)

    def serving(self, function: str) -> list[WorkerSession]:
        """Return the workers that serve a function."""
        return list(self._serving.get(function, {}).values())

    def of_process(self, process: bytes) -> list[WorkerSession]:
        """Return the workers of a process that has several."""
        return [each for each in self._workers.values() if each.process == process]

    def occupy(self, worker: WorkerSession) -> None:
        """Note that a message runs alone on a worker: the others of its process get nothing."""
        if worker.process:
            self._alone[worker.process] += 1

    def vacate(self, worker: WorkerSession) -> bool:
        """Note that it is over; return whether others of its process may be given something."""
        if not worker.process:
            return False
        self._alone[worker.process] -= 1
        if self._alone[worker.process] > 0:
            return False
        del self._alone[worker.process]
        return True

    def is_occupied(self, worker: WorkerSession) -> bool:
        """Whether a message runs alone in the process of a worker, which has several."""
        return worker.process in self._alone

    def is_served(self, function: str) -> bool:
        """Whether a worker that serves the function is there."""
        return function in self._serving

    def functions(self) -> list[str]:
        """Return all that is served now, but for hooks."""
        return [function for function in self._serving if not function.startswith("%")]

    def measured(self, function: str, seconds: float, n: int) -> None:
        """Learn that ``n`` messages took ``seconds`` in all, unless that makes no sense."""
        if not 0 <= seconds < inf:
            return
        mean = seconds / n
        old = self._seconds.get(function)
        self._seconds[function] = mean if old is None else old + WEIGHT * (mean - old)

    def lease_size(self, job: JobState, worker: WorkerSession) -> int:
        """Return how many messages of ``job`` the next lease of a worker may hold; at least 1."""
        seconds = self._seconds.get(job.function)
        if seconds is None:
            return 1
        most = worker.lease_seconds / seconds if seconds > 0 else inf
        size = min(MAX_MESSAGES, GROWTH * job.granted or _first(job, most))
        if seconds > 0:
            share = ceil(job.queued / max(len(self._hungry.get(job.function, ())), 1))
            size = int(min(size, most, max(share, WORTH * most)))
        if job.closed:  # near the end everybody must have something to do
            share = ceil(job.queued / (2 * len(self._serving[job.function])))
            if share < size:
                size = min(size, max(share, _little(job, most)))
        return max(size, 1)

    def has_room(self, worker: WorkerSession) -> bool:
        """Whether a worker should be given more than it has."""
        if not worker.leases:
            return True
        if len(worker.leases) >= MAX_LEASES:
            return False
        ahead = 0.0
        for lease in worker.leases.values():
            seconds = self._seconds.get(lease.job.function)
            if seconds is None or lease.alone or lease.revoked or lease.recalled:
                return False
            if lease.job.terms.at_most_once:  # what lies behind it would be known as not begun
                return False
            ahead += seconds * lease.left
        return ahead < AHEAD_SECONDS


def asked_seconds(seconds: float) -> float:
    """Return the work that the leases of a worker hold that asks for ``seconds`` of it."""
    return min(max(LEASE_SECONDS, seconds), MOST_SECONDS)  # whatever it says: it may be no number


def _little(job: JobState, most: float) -> int:
    """Return how many messages are too little to be shared, where a lease may hold ``most``."""
    return int(min(LEAST * most, LEAST_BYTES / max(job.next_size, 1)))


def _first(job: JobState, most: float) -> int:
    """Return how many messages the first lease of a job may hold."""
    return GROWTH * max(1, min(FIRST, _little(job, most) // GROWTH))


def _leases(worker: WorkerSession) -> int:
    return len(worker.leases)


def _serves_hooks(worker: WorkerSession) -> bool:
    return all(function.startswith("%") for function in worker.functions) and worker.role == "inner"
