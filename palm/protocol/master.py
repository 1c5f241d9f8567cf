"""The master's rules: who may connect, what clients and workers may say, what comes of it.

The master never opens a payload. It holds what is queued, leased, or not yet acknowledged by the
client; all of that can be rebuilt from what clients and workers hold, so it may be killed at any
moment. Invariants: a message of a job is queued, leased, or done; `JobState.done` only grows, and
an outcome goes out when, and only when, it grows.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final

from palm.errors import ConfigError, PalmError
from palm.protocol import cache
from palm.protocol.dispatch import Dispatcher
from palm.protocol.effects import Effect, Log, Send, Stopped
from palm.protocol.events import Event, Garbled, PeerLost, Received, StopRequested, Tick
from palm.protocol.jobs import ClientSession, Fate, JobState, Piece
from palm.protocol.pool import Lease, WorkerSession
from palm.protocol.settlement import Settlement
from palm.protocol.shown import LINE, shown
from palm.protocol.timers import Timer, Timers
from palm.spec.names import check_name
from palm.wire.batch import Batch
from palm.wire.message import (
    VERSION,
    Ack,
    Bye,
    Close,
    Fault,
    Fetch,
    Hello,
    Keep,
    Message,
    Reset,
    Result,
    Returned,
    Submit,
    Welcome,
)

__all__ = ["MasterMachine"]

#: Seconds a job waits for a worker that serves its function before anything is said of it.
FUNCTION_GRACE: Final = 2.0

#: Seconds for which a client that vanished is remembered.
SESSION_TTL: Final = 60.0

#: Seconds for which a worker on another host may be away before its work is given to others.
REMOTE_GRACE: Final = 2.0

#: Seconds for which a worker on this host may be away before it counts as dead. Its work goes to
#: others at once.
RETURN_WITHIN: Final = 2.0

#: Broken messages after which a peer is not listened to before it greets again.
MAX_STRIKES: Final = 3

Session = ClientSession | WorkerSession


@dataclass(slots=True)
class _Absence:
    """A worker that is away, with what it was running; it died, or it comes back."""

    worker: WorkerSession
    lease: Lease | None
    fate: Fate
    expiry: Timer | None = None


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
        The cache; see `palm.protocol.cache`.
    """

    def __init__(
        self,
        name: str,
        epoch: bytes,
        endpoints: dict[str, str],
        new_link: Callable[[], int],
        values: MutableMapping[str, bytes],
        *,
        remote_grace: float = REMOTE_GRACE,
        session_ttl: float = SESSION_TTL,
        function_grace: float = FUNCTION_GRACE,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.endpoints = endpoints
        self._new_link = new_link
        self._values = values
        self._remote_grace = remote_grace
        self._session_ttl = session_ttl
        self._effects: list[Effect] = []
        self._timers = Timers()
        self._clients: dict[bytes, ClientSession] = {}
        self._settlement = Settlement(self._clients, self._timers, self._effects)
        self._dispatcher = Dispatcher(
            name, self._timers, self._effects, self._settlement.fail, function_grace
        )
        self._pool = self._dispatcher.pool
        self._workers: dict[bytes, WorkerSession] = {}
        self._absent: dict[bytes, _Absence] = {}
        self._peers: dict[bytes, Session] = {}
        self._strangers: dict[bytes, int] = {}
        self._stopping: Timer | None = None

    @property
    def late_results(self) -> int:
        """Count of results of messages that had their outcome by then, or nobody to get it."""
        return self._settlement.late_results

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""
        return self._timers.next_deadline

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        self._settlement.started(now)
        if isinstance(event, Received):
            self._receive(event, now)
        elif isinstance(event, PeerLost):
            self._lose(event.peer, now)
        elif isinstance(event, Garbled):
            self._strike(event.peer, event.reason)
        elif isinstance(event, Tick):
            self._timers.run(now)
        elif isinstance(event, StopRequested):
            self._stop(event.grace, now)
        effects = self._effects[:]
        self._effects.clear()
        return effects

    # Peers: greetings, strangers, losses

    def _receive(self, event: Received, now: float) -> None:
        message = event.message
        if isinstance(message, Hello):
            self._greet(event, message, now)
            return
        session = self._peers.get(event.peer)
        if session is None or message.link != session.link:
            self._reset(event.peer, message.link)
            return
        handler = _HANDLERS.get((session.role, type(message)))
        if handler is None:
            self._strike(event.peer, f"a {session.role} may not send {_kind(message)}")
            return
        handler(self, session, message, event.batch, now)

    def _greet(self, event: Received, hello: Hello, now: float) -> None:
        refusal = self._refusal(event, hello)
        if refusal is not None:
            self._send(event.peer, refusal)
            return
        self._strangers.pop(event.peer, None)
        session = self._session(hello, now)
        if self._peers.get(event.peer, session) is not session:
            self._lose(event.peer, now)  # a session has a connection of its own
        if session.peer is not None:
            self._peers.pop(session.peer, None)
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        session.peer, session.link, session.strikes = event.peer, self._new_link(), 0
        self._peers[event.peer] = session
        if isinstance(session, WorkerSession):
            self._welcome_worker(session, hello, event.local, now)
        else:
            self._welcome_client(session)

    def _refusal(self, event: Received, hello: Hello) -> Fault | None:
        if hello.version != VERSION:
            text = f"'{self.name}' speaks version {VERSION} of the protocol, you {hello.version}"
            return Fault(0, "version", text)
        if hello.role not in ("client", "worker") or hello.role not in event.roles:
            text = f"your key does not allow you to be a {shown(hello.role)} here"
            return Fault(0, "role", text)
        if not _is_name(hello.name):
            text = f"'{shown(hello.name)}' cannot be the name of a {hello.role}"
            return Fault(0, "name", text)
        workers = hello.session in self._workers or hello.session in self._absent
        if workers if hello.role == "client" else hello.session in self._clients:
            return Fault(0, "role", "this session has another role")
        return None

    def _session(self, hello: Hello, now: float) -> Session:
        if hello.role == "client":
            client = self._clients.get(hello.session)
            if client is None:
                client = ClientSession(hello.session, hello.name, hello.server)
                self._clients[hello.session] = client
            return client
        worker = self._workers.get(hello.session)
        if worker is None and hello.session in self._absent:
            return self._take_back(self._absent[hello.session], hello, now)
        if worker is None:
            for absence in [a for a in self._absent.values() if a.worker.name == hello.name]:
                self._give_up(absence, now)  # it was started anew
            functions = tuple(dict.fromkeys(hello.functions))
            worker = WorkerSession(hello.session, hello.name, functions)
            self._workers[hello.session] = worker
            self._pool.add(worker)
            served = shown(", ".join(functions), LINE) or "nothing"
            self._log(logging.INFO, f"worker {worker.name} joined, serves {served}")
        return worker

    def _welcome(self, session: Session, keep: list[int]) -> None:
        if session.peer is not None:
            self._send(
                session.peer,
                Welcome(session.link, VERSION, self.epoch, self.name, self.endpoints, keep),
            )

    def _welcome_worker(self, worker: WorkerSession, hello: Hello, local: bool, now: float) -> None:
        worker.local = local
        self._dispatcher.workers_changed(now)
        held = set(hello.holds) if hello.epoch == self.epoch else set()
        leases = worker.leases.values()
        keep = [lease.id for lease in leases if lease.id in held and not lease.job.dropped]
        self._welcome(worker, keep)
        # What was on its way when the connection broke never began.
        lost = [lease for lease in leases if lease.id not in keep]
        for lease in lost:
            self._dispatcher.end(worker, lease)
        self._dispatcher.requeue(lost, now)
        self._dispatcher.resumed(worker, now)
        self._dispatcher.feed(worker, now)
        self._dispatcher.fate_known(now)

    def _welcome_client(self, client: ClientSession) -> None:
        self._welcome(client, [])
        self._settlement.resend(client)

    def _reset(self, peer: bytes, link: int) -> None:
        if self._strangers.get(peer) != link:
            self._strangers[peer] = link
            self._send(peer, Reset(link))

    def _strike(self, peer: bytes, reason: str) -> None:
        reason = shown(reason, LINE)
        self._send(peer, Fault(0, "broken", reason))
        session = self._peers.get(peer)
        name = session.name if session is not None else "a stranger"
        self._log(logging.WARNING, f"broken message from {name}: {reason}")
        if session is not None:
            session.strikes += 1
            if session.strikes >= MAX_STRIKES:
                session.link = self._new_link()  # what follows is a stranger's

    def _lose(self, peer: bytes, now: float) -> None:
        self._strangers.pop(peer, None)
        session = self._peers.pop(peer, None)
        if session is None:
            return
        session.peer = None
        if isinstance(session, ClientSession):
            expiry = now + self._session_ttl
            session.expiry = self._timers.at(expiry, self._forget_client, session)
        elif session.local or not self._remote_grace:
            self._miss_worker(session, now)
        else:
            self._pool.set_hungry(session, False)
            expiry = now + self._remote_grace
            session.expiry = self._timers.at(expiry, self._lose_worker, session)

    def _miss_worker(self, worker: WorkerSession, now: float) -> None:
        """Give the work of a worker to others at once; whether it died is known later."""
        lease = next(iter(worker.leases.values()), None)
        absence = _Absence(worker, lease, Fate())
        self._absent[worker.id] = absence
        absence.expiry = self._timers.at(now + RETURN_WITHIN, self._give_up, absence)
        self._lose_worker(worker, now, absence.fate)

    def _lose_worker(self, worker: WorkerSession, now: float, fate: Fate | None = None) -> None:
        leases = self._remove_worker(worker)
        left = sum(lease.left for lease in leases)
        what = f"; {left} of its messages go to others" if left else ""
        self._log(logging.WARNING, f"worker {worker.name} was lost{what}")
        self._dispatcher.requeue(leases[1:], now)
        self._dispatcher.requeue(leases[:1], now, fate or Fate(died=True))
        self._dispatcher.workers_changed(now)
        self._finish_if_drained(now)

    def _give_up(self, absence: _Absence, now: float) -> None:
        """Take a worker that is away for dead."""
        self._end_absence(absence, died=True)
        self._dispatcher.fate_known(now)

    def _take_back(self, absence: _Absence, hello: Hello, now: float) -> WorkerSession:
        """Let a worker that did not die go on where it was."""
        self._end_absence(absence, died=False)
        worker, lease = absence.worker, absence.lease
        self._workers[worker.id] = worker
        self._pool.add(worker)
        self._log(logging.INFO, f"worker {worker.name} is back")
        if lease is not None and lease.id in hello.holds and hello.epoch == self.epoch:
            self._dispatcher.restore(worker, lease, now)
        return worker

    def _end_absence(self, absence: _Absence, *, died: bool) -> None:
        absence.fate.died = died
        del self._absent[absence.worker.id]
        if absence.expiry is not None:
            absence.expiry.cancel()

    def _remove_worker(self, worker: WorkerSession) -> list[Lease]:
        del self._workers[worker.id]
        self._pool.remove(worker)
        if worker.peer is not None:
            self._peers.pop(worker.peer, None)
        if worker.expiry is not None:
            worker.expiry.cancel()
        return self._dispatcher.end_all(worker)

    def _forget_client(self, client: ClientSession, now: float) -> None:
        self._clients.pop(client.id, None)
        if client.peer is not None:
            self._peers.pop(client.peer, None)
        for job in list(client.jobs.values()):
            self._close_job(job)

    # What clients send

    def _submit(
        self, client: ClientSession, message: Submit, batch: Batch | None, now: float
    ) -> None:
        job = client.jobs.get(message.job)
        if job is None:
            function = self._function(client, message.function)
            job = client.jobs[message.job] = JobState(client, message.job, function)
        job.link = client.link
        job.closed = job.closed or message.last
        if batch is None:
            return
        first = message.first
        for start, stop in job.known.add(first, first + batch.n):
            job.put(Piece(start, batch.cut(start - first, stop - first), message.codec))
        self._settlement.unpark(job, now)
        if job.waiting:
            self._dispatcher.enqueue(job, now)
        self._drop_if_finished(job)

    def _function(self, client: ClientSession, function: str) -> str:
        """Return the bare name of a function; one of another server stays as it is."""
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
                self._drop_if_finished(job)

    def _close(
        self, client: ClientSession, message: Close, batch: Batch | None, now: float
    ) -> None:
        if not message.job:
            jobs = [job for job in client.jobs.values() if job.link != client.link]
        else:
            jobs = [client.jobs[message.job]] if message.job in client.jobs else []
        for job in jobs:
            self._close_job(job)

    def _close_job(self, job: JobState) -> None:
        session = job.session
        session.jobs.pop(job.id, None)
        job.clear()
        self._dispatcher.forget(job)
        session.outcomes = deque(pair for pair in session.outcomes if pair[0].job != job.id)
        job.dropped = True
        if job.open:
            self._dispatcher.revoke(job)

    def _cache(
        self, session: Session, message: Keep | Fetch, batch: Batch | None, now: float
    ) -> None:
        kept, value = cache.answer(self._values, session.replies, message, batch)
        failure = cache.failure_in(kept, value)
        if failure is not None:
            text = f"{failure.type}: {failure.text}"
            self._log(logging.ERROR, f"the cache failed at {shown(kept.key)}: {shown(text, LINE)}")
        kept.link = session.link
        if session.peer is not None:
            self._effects.append(Send(session.peer, kept, value))

    def _client_bye(
        self, client: ClientSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        self._forget_client(client, now)

    # What workers send

    def _result(
        self, worker: WorkerSession, message: Result, batch: Batch | None, now: float
    ) -> None:
        if batch is None:
            return
        lease = worker.leases.get(message.lease)
        if message.n < 1 or (lease is not None and not _fits(message, lease)):
            if worker.peer is not None:
                self._strike(worker.peer, "a result that does not fit its lease")
            return
        worker.heard = now
        if lease is not None:
            missed = message.first - lease.first - lease.done
            if missed:
                self._dispatcher.missed(lease, missed)
            seconds = sum(memoryview(message.durations).cast("f"))
            self._dispatcher.answered(worker, lease, seconds, message.n)
            if missed and lease.job.waiting:
                self._dispatcher.enqueue(lease.job, now)
        late = lease is None or lease.job.dropped
        self._settlement.settle(message, batch, worker.name, now, late=late)
        self._dispatcher.feed(worker, now)
        self._finish_if_drained(now)

    def _returned(
        self, worker: WorkerSession, message: Returned, batch: Batch | None, now: float
    ) -> None:
        ids = dict.fromkeys(message.leases)
        leases = [worker.leases[lease] for lease in ids if lease in worker.leases]
        for lease in leases:
            self._dispatcher.end(worker, lease)
        self._dispatcher.requeue(leases, now)
        self._dispatcher.feed(worker, now)
        self._finish_if_drained(now)

    def _worker_bye(
        self, worker: WorkerSession, message: Bye, batch: Batch | None, now: float
    ) -> None:
        leases = self._remove_worker(worker)
        self._log(logging.INFO, f"worker {worker.name} left: {shown(message.reason, LINE)}")
        self._dispatcher.requeue(leases, now)
        self._dispatcher.workers_changed(now)
        self._finish_if_drained(now)

    # The end of jobs, and of the master

    def _drop_if_finished(self, job: JobState) -> None:
        if job.finished:
            job.clear()
            self._dispatcher.forget(job)
            job.session.jobs.pop(job.id, None)

    def _stop(self, grace: float, now: float) -> None:
        if self._stopping is None:
            self._dispatcher.drain(self._workers.values())
        elif self._stopping.when <= now + grace:
            return
        else:
            self._stopping.cancel()
        self._stopping = self._timers.at(now + grace, self._finish)
        self._finish_if_drained(now)

    def _finish_if_drained(self, now: float) -> None:
        if self._stopping is not None and not self._dispatcher.leased:
            self._finish(now)

    def _finish(self, now: float) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
        for peer, session in self._peers.items():
            self._send(peer, Bye(session.link, f"'{self.name}' stops"))
        self._peers.clear()
        self._effects.append(Stopped())

    def _send(self, peer: bytes, message: Message) -> None:
        self._effects.append(Send(peer, message))

    def _log(self, level: int, text: str) -> None:
        self._effects.append(Log(level, text))

    def holdings(self) -> dict[str, int]:
        """Return how much is held, by kind, without what is 0; empty when nothing is under way."""
        clients = self._clients.values()
        counts = {
            "jobs": sum(len(client.jobs) for client in clients),
            "outcomes": sum(len(client.outcomes) for client in clients),
            "leases": self._dispatcher.leased,
            "parked": self._settlement.parked,
        }
        return {kind: count for kind, count in counts.items() if count}

    def check_invariants(self) -> None:
        """Raise `PalmError` where a message is lost or doubled; for tests."""
        leased: dict[int, list[tuple[int, int]]] = {}
        for worker in self._workers.values():
            for lease in worker.leases.values():
                span = (lease.first + lease.done, lease.first + lease.batch.n)
                leased.setdefault(id(lease.job), []).append(span)
        for client in self._clients.values():
            for job in client.jobs.values():
                self._check_job(job, leased.get(id(job), []))

    def _check_job(self, job: JobState, leased: list[tuple[int, int]]) -> None:
        spans = leased + [
            (p.first, p.first + p.n) for p in (*job.queue, *job.suspects, *job.doubtful)
        ]
        held = [seq for start, stop in spans for seq in range(start, stop)]
        open_ = {
            seq
            for start, stop in job.known.ranges()
            for seq in range(start, stop)
            if seq not in job.done
        }
        if not open_ <= set(held):
            raise PalmError(f"lost: {sorted(open_ - set(held))} of job {job.id!r}")
        if len(held) != len(set(held)):
            raise PalmError(f"held twice: job {job.id!r}")


def _fits(message: Result, lease: Lease) -> bool:
    job = lease.job
    return (
        message.job == job.id
        and message.session == job.session.id
        and lease.first + lease.done <= message.first
        and message.first + message.n <= lease.first + lease.batch.n
    )


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except ConfigError:
        return False
    return True


def _kind(message: Message) -> str:
    return type(message).__name__.upper()


_HANDLERS: dict[tuple[str, type], Callable[..., None]] = {
    ("client", Submit): MasterMachine._submit,
    ("client", Ack): MasterMachine._ack,
    ("client", Close): MasterMachine._close,
    ("client", Keep): MasterMachine._cache,
    ("client", Fetch): MasterMachine._cache,
    ("client", Bye): MasterMachine._client_bye,
    ("worker", Result): MasterMachine._result,
    ("worker", Returned): MasterMachine._returned,
    ("worker", Keep): MasterMachine._cache,
    ("worker", Fetch): MasterMachine._cache,
    ("worker", Bye): MasterMachine._worker_bye,
}
