"""The master's rules: what clients and workers may say, and what comes of it.

The master never opens a payload. It holds what is queued, leased, or not yet acknowledged by the
client; all of that can be rebuilt from what clients and workers hold, so it may be killed at any
moment. Invariants: a message of a job is queued, leased, or done; `JobState.done` only grows, and
an outcome goes out when, and only when, it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from palm.errors import PalmError
from palm.protocol.admission import pieces
from palm.protocol.cache import Operation
from palm.protocol.dispatch import Dispatcher
from palm.protocol.durability import KEEP_FOR, MAX_JOURNAL, Durability
from palm.protocol.effects import Effect, Send, Stopped
from palm.protocol.entries import Recovered
from palm.protocol.events import (
    Event,
    Garbled,
    InputsLoaded,
    JournalFailed,
    OutcomesLoaded,
    PeerLost,
    Received,
    StopRequested,
    Tick,
    Written,
)
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.meter import Counts, Meter
from palm.protocol.pool import Lease, WorkerSession
from palm.protocol.publishing import Publisher
from palm.protocol.sessions import REMOTE_GRACE, SESSION_TTL, Host, Session, Sessions
from palm.protocol.settlement import Settlement
from palm.protocol.store import Store
from palm.protocol.taps import CLIENTS, WORKERS, ObserverSession, Taps
from palm.protocol.timers import Timer, Timers, earliest
from palm.protocol.values import Values
from palm.wire.batch import Batch
from palm.wire.message import (
    Ack,
    Ask,
    Browse,
    Bye,
    Clear,
    Close,
    Fetch,
    Hello,
    Keep,
    Message,
    Outcome,
    Result,
    Resume,
    Returned,
    Submit,
    Swap,
    Taken,
    Watch,
)

__all__ = ["MasterMachine"]

#: Seconds a job waits for a worker that serves its function before anything is said of it.
FUNCTION_GRACE: Final = 2.0


class MasterMachine:
    """One master; see `handle`.

    Parameters
    ----------
    name, epoch
        Its name, and random bytes that no other start of it shares.
    endpoints
        Where it listens, by the names that components know them by.
    new_link
        Returns random positive integers of up to 63 bits.
    values
        Where the shared values are.
    jitter
        Returns random numbers from 0 to 1.
    recovered
        What an earlier master of this name had in its journal.
    no_journal
        Why this one cannot have a journal, if so.
    """

    def __init__(
        self,
        name: str,
        epoch: bytes,
        endpoints: dict[str, str],
        new_link: Callable[[], int],
        values: Store,
        *,
        jitter: Callable[[], float] = float,
        remote_grace: float = REMOTE_GRACE,
        session_ttl: float = SESSION_TTL,
        function_grace: float = FUNCTION_GRACE,
        recovered: Sequence[Recovered] = (),
        no_journal: str = "",
        keep_for: float = KEEP_FOR,
        max_journal: int = MAX_JOURNAL,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self._effects: list[Effect] = []
        self._values = Values(values, self._effects)
        self._timers = Timers()
        self._clients: dict[bytes, ClientSession] = {}
        self._taps = taps = Taps(name, self._effects)
        self._meter = meter = Meter()
        self._settlement = Settlement(
            self._clients, self._timers, self._effects, self._record, taps, meter
        )
        self._dispatcher = Dispatcher(
            name,
            self._timers,
            self._effects,
            self._settlement.fail,
            function_grace,
            jitter,
            taps,
            meter,
        )
        self._durability = Durability(
            name,
            self._clients,
            self._dispatcher,
            self._settlement,
            self._timers,
            self._effects,
            recovered,
            no_journal,
            keep_for,
            max_journal,
            self._put,
            self._released,
        )
        host = Host(name, epoch, endpoints, new_link, remote_grace, session_ttl)
        self._sessions = Sessions(
            host,
            self._clients,
            self._dispatcher,
            self._timers,
            self._effects,
            self._durability.detach,
            self._taps,
            self._new_publisher(),
        )
        self._stopping: Timer | None = None
        self._started = False
        self._stopped = False
        self._handlers = HANDLERS

    def _new_publisher(self) -> Publisher | None:
        """Return who hands messages to the stages behind this component, if there may be any."""
        return None

    @property
    def late_results(self) -> int:
        """Count of results of messages that had their outcome by then, or nobody to get it."""
        return self._settlement.late_results

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""
        return earliest(self._timers.next_deadline, self._values.next_expiry)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        self._start(now)
        if isinstance(event, Received):
            self._receive(event, now)
        elif isinstance(event, PeerLost):
            self._sessions.lose(event.peer, now)
        elif isinstance(event, Garbled):
            self._sessions.strike(event.peer, event.reason)
        elif isinstance(event, Tick):
            self._timers.run(now)
            self._values.expire(now)
        elif isinstance(event, Written | InputsLoaded | OutcomesLoaded | JournalFailed):
            self._durability.handle(event, now)
        elif isinstance(event, StopRequested):
            self._stop(event.grace, now)
        return self._take_effects(now)

    def start(self, now: float) -> list[Effect]:
        """Go on with what an earlier master left."""
        self._start(now)
        return self._take_effects(now)

    def counts(self) -> Counts:
        """Return what was counted since the start, and what is open at this moment."""
        return self._meter.counts(
            self.name, self._clients.values(), self._sessions.workers.values()
        )

    def _start(self, now: float) -> None:
        self._meter.now = now
        if not self._started:
            self._started = True
            self._settlement.started(now)
            self._durability.start(self._settlement.parks_until(now), now)

    def _take_effects(self, now: float) -> list[Effect]:
        self._durability.go_on(self._dispatcher.pool.size)
        if self._stopping is not None and not self._is_busy():
            self._finish(now)
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def _record(self, job: JobState, outcome: Outcome, batch: Batch) -> None:
        self._durability.record(job, outcome, batch)

    def _receive(self, event: Received, now: float) -> None:
        message = event.message
        if isinstance(message, Hello):
            session = self._sessions.greet(event, message, now)
            if isinstance(session, ClientSession):
                self._settlement.resend(session)
            return
        session = self._sessions.find(event.peer, message)
        if session is None:
            return
        handler = self._handlers.get((session.role, type(message)))
        if handler is None:
            self._sessions.strike(event.peer, f"a {session.role} may not send {_kind(message)}")
            return
        handler(self, session, message, event.batch, now)

    # What clients send

    def _submit(
        self, client: ClientSession, message: Submit, batch: Batch | None, now: float
    ) -> None:
        if message.terms is not None and message.terms.journaled:
            function = self._function(client, message)
            if not self._durability.submit(client, message, batch, function, now):
                self._strike(client, "messages of a job before which some are missing")
            return
        job = client.jobs.get(message.job)
        if job is None:
            function, terms = self._function(client, message), message.terms
            job = JobState(client, message.job, function, terms, message.route)
            job.chain = message.function
            client.jobs[message.job] = job
            if terms is not None and terms.deadline:
                due = now + max(terms.remaining, 0.0)
                job.deadline = self._timers.at(due, self._dispatcher.expire, job)
        job.link = client.link
        job.closed = job.closed or message.last
        if batch is None:
            return
        first = message.first
        for start, stop in job.known.add(first, first + batch.n):
            a, b = start - first, stop - first
            if self._taps.observers:
                self._show_new(client, message, start, batch.cut(a, b))
            self._meter.received(job, start, b - a, batch.size * (b - a) // batch.n)
            for piece in pieces(first, batch, message.codec, message.partitions, a, b):
                self._take(job, message, piece, now)
        self._settlement.unpark(job, now)
        if job.waiting:
            self._dispatcher.enqueue(job, now)
        self._drop_if_finished(job)

    def _show_new(self, client: ClientSession, message: Submit, first: int, batch: Batch) -> None:
        source = CLIENTS if client.role == "client" else client.name
        self._taps.incoming(source, message.function, message.job, first, batch, message.codec)

    def _take(self, job: JobState, message: Submit, piece: Piece, now: float) -> None:
        """Queue new messages, unless they may not run any more."""
        if job.expired:
            self._dispatcher.fail_expired(job, piece)
        elif message.may_have_begun and job.terms.at_most_once:
            job.astray.append(piece)
            due = self._settlement.parks_until(now, message.waited)
            self._timers.at(due, self._settlement.forsake, job, piece)
        else:
            self._put(job, piece, now)

    def _put(self, job: JobState, piece: Piece, now: float) -> None:
        """Queue messages that are to be run."""
        job.put(piece)

    def _function(self, client: ClientSession, submit: Submit) -> str:
        """Return the bare name of a function; one of another server stays as it is."""
        function = submit.function
        server, dot, name = function.partition(".")
        if not dot:
            return function
        return name if server in (self.name, client.alias) else function

    def _ack(self, client: ClientSession, message: Ack, batch: Batch | None, now: float) -> None:
        outcomes = client.outcomes
        while outcomes and outcomes[0][0].serial <= message.serial:
            outcome, _ = outcomes.popleft()
            job = client.jobs.get(outcome.job)
            if job is not None:
                job.unacked -= 1
                self._released(job, outcome.first, outcome.n)
                self._drop_if_finished(job)

    def _released(self, job: JobState, first: int, n: int) -> None:
        """Note that what became of messages is safe with who gave them to us."""

    def _close(
        self, client: ClientSession, message: Close, batch: Batch | None, now: float
    ) -> None:
        if not message.job:
            jobs = [job for job in client.jobs.values() if job.link != client.link]
        else:
            jobs = [client.jobs[message.job]] if message.job in client.jobs else []
            self._durability.close(client, message, now)
        for job in jobs:
            if job.then is None:
                self._dispatcher.close(job)

    def _resume(
        self, client: ClientSession, message: Resume, batch: Batch | None, now: float
    ) -> None:
        self._durability.resume(client, message)

    def _taken(
        self, client: ClientSession, message: Taken, batch: Batch | None, now: float
    ) -> None:
        self._durability.taken(client, message, now)

    def _ask(self, client: ClientSession, message: Ask, batch: Batch | None, now: float) -> None:
        self._durability.ask(client, message, now)

    def _cache(
        self,
        session: ClientSession | WorkerSession,
        message: Operation,
        batch: Batch | None,
        now: float,
    ) -> None:
        self._values.handle(session, message, batch, now)

    def _client_bye(
        self, client: ClientSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        self._sessions.forget_client(client, now)

    # What workers send

    def _result(
        self, worker: WorkerSession, message: Result, batch: Batch | None, now: float
    ) -> None:
        if batch is None:
            return
        lease = worker.leases.get(message.lease)
        if message.n < 1 or (lease is not None and not _fits(message, lease)):
            self._strike(worker, "a result that does not fit its lease")
            return
        worker.heard, worker.hung = now, False
        if self._taps.observers and worker.role == "worker":
            function = lease.job.function if lease is not None else ""
            self._taps.incoming(
                WORKERS, function, message.job, message.first, batch, message.codec,
                message.kinds or bytes(message.n),
            )  # fmt: skip
        if lease is not None:
            missed = message.first - lease.first - lease.done
            if missed:
                self._dispatcher.missed(lease, missed)
            seconds = sum(memoryview(message.durations).cast("f"))
            self._dispatcher.answered(worker, lease, seconds, message.n)
            self._meter.ran(worker, lease.job, message, seconds)
            if missed and lease.job.waiting:
                self._dispatcher.enqueue(lease.job, now)
        late = lease is None or lease.job.dropped
        again = self._settlement.settle(
            message, batch, worker.name, now, late=late, lease=None if late else lease
        )
        if again and lease is not None:
            self._dispatcher.delay(lease.job, again, now)
        if lease is not None and lease.partition >= 0 and lease.job.waiting:
            self._dispatcher.enqueue(lease.job, now)  # its partition may be free now
        self._dispatcher.feed(worker, now)

    def _returned(
        self, worker: WorkerSession, message: Returned, batch: Batch | None, now: float
    ) -> None:
        ids = dict.fromkeys(message.leases)
        worker.hung = worker.hung and worker.hanging not in ids  # the call ended, if without answer
        leases = [worker.leases[lease] for lease in ids if lease in worker.leases]
        for lease in leases:
            self._dispatcher.end(worker, lease)
        unsure = [lease for lease in leases if lease.kept]
        self._dispatcher.requeue(leases, now, unsure=unsure)
        self._dispatcher.feed(worker, now)

    def _worker_bye(
        self, worker: WorkerSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        self._sessions.dismiss_worker(worker, message, now)

    # What observers send

    def _watch(
        self, observer: ObserverSession, message: Watch, batch: Batch | None, now: float
    ) -> None:
        self._taps.watch(observer, message)

    def _observer_bye(
        self, observer: ObserverSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        if observer.peer is not None:
            self._sessions.lose(observer.peer, now)

    def _strike(self, session: Session, reason: str) -> None:
        if session.peer is not None:
            self._sessions.strike(session.peer, reason)

    # The end of jobs, and of the master

    def _drop_if_finished(self, job: JobState) -> None:
        if job.finished:
            self._dispatcher.close(job)

    def _stop(self, grace: float, now: float) -> None:
        if self._stopping is None:
            self._dispatcher.drain(self._sessions.workers.values())
        elif self._stopping.when <= now + grace:
            return
        else:
            self._stopping.cancel()
        self._stopping = self._timers.at(now + grace, self._finish)

    def _is_busy(self) -> bool:
        """Whether others have messages of it that may be answered soon."""
        return self._dispatcher.leased > 0

    def _finish(self, now: float) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._stopping is not None:
            self._stopping.cancel()
        for peer, session in self._sessions.peers.items():
            self._effects.append(Send(peer, Bye(session.link, f"'{self.name}' stops")))
        self._sessions.peers.clear()
        self._effects.append(Stopped())

    def holdings(self) -> dict[str, int]:
        """Return how much is held, by kind, without what is 0; empty when nothing is under way.

        Jobs that are in the journal only are not counted.
        """
        clients = [client for key, client in self._clients.items() if key]
        counts = {
            "jobs": sum(len(client.jobs) for client in clients),
            "unwritten": self._durability.unwritten,
            "outcomes": sum(len(client.outcomes) for client in clients),
            "leases": self._dispatcher.leased,
            "parked": self._settlement.parked,
        }
        return {kind: count for kind, count in counts.items() if count}

    def check_invariants(self) -> None:
        """Raise `PalmError` where a message is lost or doubled; for tests."""
        leased: dict[int, list[tuple[int, int]]] = {}
        for worker in self._sessions.workers.values():
            for lease in worker.leases.values():
                span = (lease.first + lease.done, lease.first + lease.batch.n)
                leased.setdefault(id(lease.job), []).append(span)
        for client in self._clients.values():
            for job in client.jobs.values():
                self._check_job(job, leased.get(id(job), []))
        self._meter.check(self._clients.values())
        self._dispatcher.pool.check()

    def _check_job(self, job: JobState, leased: list[tuple[int, int]]) -> None:
        spans = leased + [(p.first, p.first + p.n) for p in job.held]
        spans += self._durability.spans(job)
        held = [seq for start, stop in spans for seq in range(start, stop)]
        open_ = {seq for start, stop in job.open_ranges() for seq in range(start, stop)}
        if not open_ <= set(held):
            raise PalmError(f"lost: {sorted(open_ - set(held))} of job {job.id!r}")
        if len(held) != len(set(held)):
            raise PalmError(f"held twice: job {job.id!r}")


def _fits(message: Result, lease: Lease) -> bool:
    job = lease.job
    return (
        message.job == job.id
        and message.session == job.home.id
        and lease.first + lease.done <= message.first
        and message.first + message.n <= lease.first + lease.batch.n
    )


def _kind(message: Message) -> str:
    return type(message).__name__.upper()


HANDLERS: dict[tuple[str, type], Callable[..., None]] = {
    ("client", Submit): MasterMachine._submit,
    ("client", Ack): MasterMachine._ack,
    ("client", Close): MasterMachine._close,
    ("client", Resume): MasterMachine._resume,
    ("client", Taken): MasterMachine._taken,
    ("client", Ask): MasterMachine._ask,
    **{("client", kind): MasterMachine._cache for kind in (Keep, Fetch, Swap, Browse, Clear)},
    ("client", Bye): MasterMachine._client_bye,
    ("worker", Result): MasterMachine._result,
    ("worker", Returned): MasterMachine._returned,
    **{("worker", kind): MasterMachine._cache for kind in (Keep, Fetch, Swap, Browse, Clear)},
    ("worker", Bye): MasterMachine._worker_bye,
    ("observer", Watch): MasterMachine._watch,
    ("observer", Bye): MasterMachine._observer_bye,
}
HANDLERS |= {("inner", kind): h for (role, kind), h in HANDLERS.items() if role == "worker"}
