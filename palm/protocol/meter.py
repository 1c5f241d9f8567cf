"""What a component counts of its messages: by function, and by edge to those around it.

Batches are counted, not messages: a few additions each. What is queued, running or open is not
counted at all, but read from the state of the machine when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from math import frexp, inf
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from palm.errors import PalmError
from palm.wire.outcome import Kind

if TYPE_CHECKING:
    from palm.protocol.jobs import ClientSession, JobState
    from palm.protocol.pool import WorkerSession
    from palm.protocol.ranges import RangeSet
    from palm.wire.message import Outcome, Result

__all__ = [
    "Arrivals",
    "Counts",
    "EdgeCounts",
    "FunctionCounts",
    "Meter",
    "bounds",
    "ended",
    "failures",
    "merged",
]

#: Seconds; upper bound of the first bucket of a latency histogram. Each other bucket ends at twice
#: the bound of the one before, and the last has none: so they reach to 105 s.
LEAST: Final = 1e-4
PER_LEAST: Final = 1 / LEAST
BUCKETS: Final = 22

#: Functions that are counted by themselves, and characters of their names. Clients choose these:
#: there could be any number, of any length.
MAX_FUNCTIONS: Final = 256
MAX_NAME: Final = 200
OTHERS: Final = "(others)"

#: Seconds within which messages of a job count as having come at once.
AT_ONCE: Final = 5e-5

#: Times of arrival that are kept of one job.
MAX_ARRIVALS: Final = 4096

#: Names of hooks begin with it.
HOOK: Final = "%"


class FunctionCounts(msgspec.Struct):
    """Messages of one function.

    ``received`` are all that came: each is ``done``, ``failed``, ``dropped`` (nobody wanted it any
    more), or open. Of the open ones ``queued`` wait here and ``running`` are at workers; the rest
    is at other components. ``seconds`` is the time that functions took, ``latency`` a histogram of
    the time from arrival to outcome, see `bounds`.
    """

    received: int = 0
    done: int = 0
    failed: int = 0
    dropped: int = 0
    queued: int = 0
    running: int = 0
    seconds: float = 0.0
    latency: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)

    def waited(self, seconds: float, n: int) -> None:
        """Note that ``n`` messages had their outcome after so long."""
        at = frexp(seconds * PER_LEAST)[1] if seconds > LEAST else 0
        self.latency[at if at < BUCKETS else BUCKETS - 1] += n

    def answered(self, n: int, kinds: bytes) -> None:
        """Note the outcomes of ``n`` messages."""
        failed = failures(kinds) if kinds else 0
        self.done += n - failed
        self.failed += failed


class EdgeCounts(msgspec.Struct):
    """Messages from one component to the next; ``role`` is that of the one that is not us.

    ``messages`` were handed over, ``size`` bytes in all, and ``open`` of them have no outcome. Of
    a worker it is also known how long its functions took, and how many ``leases`` it has.
    """

    source: str = ""
    target: str = ""
    role: str = ""
    messages: int = 0
    size: int = 0
    done: int = 0
    failed: int = 0
    open: int = 0
    leases: int = 0
    seconds: float = 0.0

    def answered(self, n: int, kinds: bytes) -> None:
        """Note the outcomes of ``n`` messages."""
        failed = failures(kinds) if kinds else 0
        self.done += n - failed
        self.failed += failed


class Counts(msgspec.Struct):
    """All that a component has counted since its start, and what is open at this moment."""

    functions: dict[str, FunctionCounts]
    edges: list[EdgeCounts] = []


class Arrivals:
    """When the messages of one job came: ``times`` of those from each of ``firsts`` on.

    It is a little early where not all times are kept.
    """

    __slots__ = ("firsts", "last", "times")

    def __init__(self, first: int, now: float) -> None:
        self.firsts = [first]
        self.times = [now]
        #: When the last ones came that count by themselves.
        self.last = now

    def __len__(self) -> int:
        return len(self.firsts)

    def add(self, first: int, now: float, done: RangeSet) -> None:
        """Note that messages came, ``first`` and those behind it."""
        firsts = self.firsts
        if first <= firsts[-1]:  # they had not been missing for long
            return
        if len(firsts) >= MAX_ARRIVALS:
            self._thin_out(done.first_missing)
        firsts.append(first)
        self.times.append(now)
        self.last = now

    def of(self, number: int) -> float:
        """Return when a message came; of those before the first it is not known better."""
        return self.times[max(bisect_right(self.firsts, number) - 1, 0)]

    def _thin_out(self, done: int) -> None:
        """Forget when messages came that have an outcome, and every second time if few have."""
        over = max(bisect_right(self.firsts, done) - 1, 0)
        del self.firsts[:over], self.times[:over]
        if len(self.firsts) > MAX_ARRIVALS // 2:
            del self.firsts[1::2], self.times[1::2]


class Meter:
    """The counts of one machine, which sets ``now`` at each event."""

    def __init__(self) -> None:
        self.now = 0.0
        #: All clients together: they come and go.
        self.clients = EdgeCounts()
        self._functions: dict[str, FunctionCounts] = {}

    def function(self, name: str) -> FunctionCounts:
        """Return the counts of a function."""
        counts = self._functions.get(name)
        if counts is None:
            if len(self._functions) >= MAX_FUNCTIONS or not _is_plain(name):
                name = OTHERS
            counts = self._functions.setdefault(name, FunctionCounts())
        return counts

    # What a component with clients counts

    def received(self, job: JobState, first: int, n: int, size: int) -> None:
        """Note that messages came which nobody had sent before."""
        now, counts, arrivals = self.now, job.counts, job.arrivals
        if counts is None:
            counts = job.counts = self.function(job.function)
        counts.received += n
        edge = job.home.edge or self.clients
        edge.messages += n
        edge.size += size
        if arrivals is None:
            job.arrivals = Arrivals(first, now)
        elif now - arrivals.last > AT_ONCE:
            arrivals.add(first, now, job.done)

    def settled(self, job: JobState, outcome: Outcome) -> None:
        """Note that messages of a job, or of a step of one, have an outcome."""
        counts, done = job.counts, outcome.n
        if counts is None:
            if not job.function.startswith(HOOK):  # a step: its job is counted
                return
            counts = job.counts = self.function(job.function)
        edge = job.home.edge or self.clients
        if outcome.kinds:
            failed = failures(outcome.kinds)
            done -= failed
            counts.failed += failed
            if job.then is None:
                edge.failed += failed
        counts.done += done
        arrivals = job.arrivals
        if job.then is None and arrivals is not None:
            edge.done += done
            counts.waited(self.now - arrivals.of(outcome.first), outcome.n)

    def dropped(self, job: JobState) -> None:
        """Note that nobody wants any more what is open of a job."""
        if job.counts is not None and job.then is None:
            job.counts.dropped += job.open

    def ran(self, worker: WorkerSession, job: JobState, result: Result, seconds: float) -> None:
        """Note what a worker made of messages, and how long that took."""
        counts, edge, done = job.counts, worker.edge, result.n
        if result.kinds:
            failed = failures(result.kinds)
            done -= failed
            edge.failed += failed
        edge.done += done
        if 0 <= seconds < inf:
            edge.seconds += seconds
            if counts is None:
                counts = self.function(job.function)
            counts.seconds += seconds

    def counts(
        self, name: str, clients: Iterable[ClientSession], workers: Iterable[WorkerSession]
    ) -> Counts:
        """Return what was counted by the component ``name``, and what is open at this moment."""
        leased: Counter[JobState] = Counter()
        running: Counter[str] = Counter()
        queued: Counter[str] = Counter()
        edges = []
        for worker in workers:
            edges.append(_of_worker(name, worker))
            for lease in worker.leases.values():
                if not lease.job.dropped:
                    leased[lease.job] += lease.left
                    running[lease.job.function] += lease.left
        before: list[EdgeCounts] = []
        at_clients = 0
        for client in clients:
            open_ = 0
            for job in client.jobs.values():
                left = job.known.total - job.done.total  # there may be many thousands of them
                if not left:
                    continue
                if job.then is None:
                    open_ += left
                if job.passage is None:  # else it is its steps that wait
                    queued[job.function] += max(left - leased.get(job, 0), 0)
            if client.edge is None:
                at_clients += open_
            else:
                edge = replace(client.edge, source=client.name, target=name, open=open_)
                before.append(replace(edge, role="stage before"))
        from_clients = replace(self.clients, source="clients", target=name, open=at_clients)
        edges = [replace(from_clients, role="client"), *before, *edges]
        return Counts(self._now_in(queued, running), edges)

    def _now_in(self, queued: Counter[str], running: Counter[str]) -> dict[str, FunctionCounts]:
        for open_ in (queued, running):
            for function in list(open_):
                self.function(function)
                if function not in self._functions:
                    open_[OTHERS] += open_.pop(function)
        found = {}
        for function, counts in list(self._functions.items()):
            now = replace(
                counts,
                queued=queued[function],
                running=running[function],
                latency=counts.latency[:],
            )
            if function.startswith(HOOK):
                now.received = now.done + now.failed + now.queued + now.running
            found[function] = now
        return found

    def check(self, clients: Iterable[ClientSession]) -> None:
        """Raise `PalmError` where the counts do not add up to what is open; for tests."""
        open_ = Counter(dict.fromkeys(self._functions, 0))
        for client in clients:
            for job in client.jobs.values():
                if job.then is None:
                    open_[job.function] += job.open
        for function, each in self._functions.items():
            left = each.received - each.done - each.failed - each.dropped
            if left != open_[function] and function[:1] not in (HOOK, OTHERS[0]):
                raise PalmError(f"{left} of {function!r} counted, {open_[function]} open")

    # What a worker counts

    def held(self, queued: Counter[str], running: Counter[str]) -> Counts:
        """Return what a worker has run, and what it holds; the rest went back to its master."""
        functions = self._now_in(queued, running)
        for counts in functions.values():
            counts.received = counts.done + counts.failed + counts.queued + counts.running
        return Counts(functions)


def merged(parts: Iterable[Counts]) -> Counts:
    """Return what several parts of one component have counted together."""
    functions: dict[str, FunctionCounts] = {}
    for part in parts:
        for name, counts in part.functions.items():
            whole = functions.setdefault(name, FunctionCounts())
            whole.received += counts.received
            whole.done += counts.done
            whole.failed += counts.failed
            whole.dropped += counts.dropped
            whole.queued += counts.queued
            whole.running += counts.running
            whole.seconds += counts.seconds
            whole.latency = [a + b for a, b in zip(whole.latency, counts.latency, strict=True)]
    return Counts(functions)


def ended(counts: Counts) -> Counts:
    """Return what a worker had counted when it ended: what it held is its master's again."""
    for each in counts.functions.values():
        each.received -= each.queued + each.running
        each.queued = each.running = 0
    return counts


def _is_plain(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and name.isprintable()


def failures(kinds: bytes) -> int:
    """Return how many outcomes of these kinds are no results."""
    return len(kinds) - kinds.count(Kind.RESULT) - kinds.count(Kind.MANY)


def bounds() -> list[tuple[float, float]]:
    """Return the seconds, from and up to, of each bucket of a latency histogram."""
    uppers = [LEAST * 2**at for at in range(BUCKETS - 1)]
    return list(zip([0.0, *uppers], [*uppers, inf], strict=True))


def _of_worker(name: str, worker: WorkerSession) -> EdgeCounts:
    inside = worker.role == "inner"
    open_ = sum(lease.left for lease in worker.leases.values() if not lease.job.dropped)
    return replace(
        worker.edge,
        source=name,
        target=f"{name} (inside)" if inside else worker.name,
        role="worker",
        open=open_,
        leases=len(worker.leases),
    )
