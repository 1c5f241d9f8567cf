"""Who gets which messages: the part of a master's rules between queues and workers.

A message of a job is in its queue, in one lease, or done. Workers get leases of about
`palm.protocol.pool.LEASE_SECONDS` of work, idle workers first; messages whose worker died on
them run alone; what a busy worker has not begun is recalled for an idle one.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import inf
from typing import Final

from palm.protocol.effects import DeadLetter, Effect, Log, Probe, Send
from palm.protocol.jobs import Fate, JobState, Piece, blank_piece
from palm.protocol.lines import Lines
from palm.protocol.meter import Meter
from palm.protocol.pool import LOST, Lease, Pool, WorkerSession
from palm.protocol.retries import back_off
from palm.protocol.shown import LINE, shown
from palm.protocol.taps import WORKERS, Taps
from palm.protocol.timers import Timers
from palm.wire.message import Notice, Recall, Revoke, Task
from palm.wire.outcome import Failure, Kind

__all__ = ["Dispatcher"]

#: Deaths of workers that ran a message alone, after which it is not run again.
MAX_DEATHS: Final = 3

#: Seconds a busy worker may be silent before an idle one is given what it has not begun.
RECALL_AFTER: Final = 0.01

#: Seconds beyond its time limit after which a call is not waited for, should its worker not end it.
HUNG_AFTER: Final = 5.0

#: Seconds between two looks at the peers that hold work: the backstop of the monitor.
SWEEP_EVERY: Final = 5.0


class Dispatcher:
    """The leases of a master.

    ``fail(job, piece, kind, failure)`` is called to give waiting messages an outcome.
    """

    def __init__(
        self,
        name: str,
        timers: Timers,
        effects: list[Effect],
        fail: Callable[[JobState, Piece, Kind, Failure], None],
        function_grace: float,
        jitter: Callable[[], float],
        taps: Taps,
        meter: Meter,
    ) -> None:
        self.pool = Pool()
        #: Count of the leases out.
        self.leased = 0
        #: Is told of a job with a way through this component when nobody wants it any more.
        self.leave: Callable[[JobState], None] = _stay
        #: Nothing is leased any more: the master stops.
        self.draining = False
        self._name = name
        self._timers = timers
        self._effects = effects
        self._fail = fail
        self._function_grace = function_grace
        self._jitter = jitter
        self._taps = taps
        self._meter = meter
        #: Jobs with something to lease.
        self._waiting = Lines()
        #: Jobs with messages that wait for the fates of workers.
        self._doubtful: dict[JobState, None] = {}
        #: Workers with something they cannot have begun.
        self._loaded: dict[bytes, WorkerSession] = {}
        self._next_lease = 1
        self._balancing = False
        self._sweeping = False

    def enqueue(self, job: JobState, now: float) -> None:
        """Give what waits of a job to workers that have room; let the rest wait."""
        self._list(job, now)
        self.feed_function(job.function, now)

    def feed_function(self, function: str, now: float) -> None:
        """Give waiting messages of a function away: a lease to each worker with room, and again."""
        given = -1
        while function in self._waiting and given != self._next_lease:
            given = self._next_lease
            for worker in self.pool.hungry(function):
                self.feed(worker, now, once=True)
                if function not in self._waiting:
                    break

    def feed(self, worker: WorkerSession, now: float, *, once: bool = False) -> None:
        """Give a worker what waits for it, as far as it has room; ``once``: one lease at most."""
        room = self._can_take(worker)
        while room:
            job = self._next_job(worker)
            if job is None:
                break
            room = self._lease(worker, job, now) and self._can_take(worker)
            if once:
                break
        self.pool.set_hungry(worker, room)
        if room and not worker.leases and self._loaded:
            self._start_balancing(now)

    def missed(self, lease: Lease, n: int) -> None:
        """Note that the answers of the next ``n`` messages of a lease were lost on their way."""
        piece = lease.missed(n)
        lease.done += n
        if not lease.job.dropped:
            self._put_back(lease.job, piece)

    def delay(self, job: JobState, pieces: Iterable[Piece], now: float) -> None:
        """Try messages again whose function raised, after a while."""
        for piece in pieces:
            due = now + back_off(piece.raised, self._jitter())
            timer = self._timers.at(due, self._try_again, job, piece)
            job.delayed[piece.first] = (piece, timer)
            job.hold(piece.partition)

    def _try_again(self, job: JobState, piece: Piece, now: float) -> None:
        del job.delayed[piece.first]
        job.release(piece.partition)
        self._put_back(job, piece)
        if job.waiting:
            self.enqueue(job, now)

    def forget(self, job: JobState) -> None:
        """Take a job of which nothing waits any more out of its line."""
        self._waiting.remove(job)

    def workers_changed(self, now: float) -> None:
        """Look after the jobs whose function nobody serves: a worker came or left."""
        for function, jobs in self._waiting:
            if not self.pool.is_served(function):
                for job in jobs:
                    self._await_worker(job, now)

    def answered(self, worker: WorkerSession, lease: Lease, seconds: float, n: int) -> None:
        """Note that a worker answered the next ``n`` messages of a lease."""
        lease.done += n
        self.pool.measured(lease.job.function, seconds, n)
        if lease.left <= 0:
            self.end(worker, lease)

    def end(self, worker: WorkerSession, lease: Lease) -> None:
        """Take a lease from a worker."""
        if worker.leases.pop(lease.id, None) is not None:
            self.leased -= 1
            lease.job.release(lease.partition)
            if lease.alone and self.pool.vacate(worker):
                self._timers.at(-inf, self._feed_process, worker.process)
        if len(worker.leases) < 2:
            self._loaded.pop(worker.id, None)

    def end_all(self, worker: WorkerSession) -> list[Lease]:
        """Take all leases from a worker; return them in the order it ran them."""
        leases = list(worker.leases.values())
        for lease in leases:
            self.end(worker, lease)
        return leases

    def requeue(
        self,
        leases: Iterable[Lease],
        now: float,
        fate: Fate | None = None,
        unsure: Sequence[Lease] = (),
    ) -> None:
        """Queue what is left of leases again; ``fate`` is that of who was lost running the first.

        Without one nobody is blamed. Of those that are ``unsure`` something may have run all the
        same, which matters to messages that may not run twice. All are back before any is given
        away: of one partition those of a later lease may not overtake.
        """
        jobs = {}
        for at, lease in reversed(list(enumerate(leases))):
            job = lease.job
            if job.dropped:
                continue
            begun = fate if at == 0 else None
            if begun is None and job.terms.at_most_once and lease in unsure:
                begun = LOST
            for piece in reversed(lease.rest(begun)):
                self._put_back(job, piece)
            jobs[id(job)] = job
        for job in jobs.values():
            if job.waiting:
                self.enqueue(job, now)

    def restore(self, worker: WorkerSession, lease: Lease, now: float) -> None:
        """Let a worker that is back go on with a lease, unless others were given some of it."""
        job = lease.job
        if job.dropped or job.expired:
            return
        if job.terms.at_most_once:
            piece = job.take_begun(lease.first + lease.done)
            if piece is not None and job.is_out(lease.partition):
                self._put_back(job, piece)
            elif piece is not None:
                self._give_back(worker, lease, now)
            return
        pieces = job.take_alone(lease.first + lease.done, lease.first + lease.batch.n)
        if pieces and job.is_out(lease.partition):
            for piece in reversed(pieces):  # others were given something else of these keys
                self._put_back(job, piece)
            return
        if lease.alone and pieces:
            lease.fates = pieces[0].fates
        elif not pieces or any(piece.deaths or piece.doubts for piece in pieces):
            for piece in reversed(pieces):  # others were lost running one of them alone
                self._put_back(job, piece)
            return
        self._give_back(worker, lease, now)

    def _give_back(self, worker: WorkerSession, lease: Lease, now: float) -> None:
        lease.recalled = False
        lease.job.hold(lease.partition)
        worker.leases[lease.id] = lease
        worker.heard = now
        self.leased += 1
        if lease.alone:
            self.pool.occupy(worker)
        self._start_sweep(now)

    def fate_known(self, now: float) -> None:
        """Look at what waits for the fates of workers again: one of them is known."""
        doubtful, self._doubtful = self._doubtful, {}
        for job in doubtful:
            pieces, job.doubtful = job.doubtful, []
            for piece in reversed(pieces):
                job.release(piece.partition)
                self._put_back(job, piece)
            if job.waiting:
                self.enqueue(job, now)

    def close(self, job: JobState) -> None:
        """Let go of a job that nobody wants any more, and of what became of it."""
        home = job.home
        home.jobs.pop(job.id, None)
        if job.open and not job.dropped:
            self._meter.dropped(job)
        job.clear()
        self.forget(job)
        if job.unacked:
            home.outcomes = deque(pair for pair in home.outcomes if pair[0].job != job.id)
        job.dropped = True
        if job.passage is not None:
            self.leave(job)
        if job.open:
            self.revoke(job)

    def revoke(self, job: JobState) -> None:
        """Tell workers that nobody wants a job any more."""
        for worker in self.pool.serving(job.function):
            ids = [lease.id for lease in worker.leases.values() if lease.job is job]
            for lease in ids:
                worker.leases[lease].revoked = True
            if ids and worker.peer is not None:
                self._effects.append(Send(worker.peer, Revoke(worker.link, ids)))

    def drain(self, workers: Iterable[WorkerSession]) -> None:
        """Lease nothing more and ask back what was not begun."""
        self.draining = True
        for worker in workers:
            self._recall(worker, list(worker.leases.values())[1:])

    def resumed(self, worker: WorkerSession, now: float) -> None:
        """Note that a worker has a new link: what it was asked over the old one may be lost."""
        worker.hung = False
        for lease in worker.leases.values():
            lease.recalled = False
        if self.draining:
            self._recall(worker, list(worker.leases.values())[1:])
        elif self._loaded:
            self._start_balancing(now)

    # Leasing

    def _list(self, job: JobState, now: float) -> None:
        self._waiting.add(job)
        if not self.pool.is_served(job.function):
            if job.unknown and self._is_unknown(job.function):
                self._fail_unknown(job)
            else:
                self._await_worker(job, now)

    def _can_take(self, worker: WorkerSession) -> bool:
        if worker.peer is None or self.draining or worker.hung or worker.doubted:
            return False
        if worker.process and self.pool.is_occupied(worker):
            return False
        if worker.clearing and worker.leases:
            return False
        return self.pool.has_room(worker)

    def _next_job(self, worker: WorkerSession) -> JobState | None:
        cleared, worker.clearing = worker.clearing, None
        functions = worker.functions
        best: JobState | None = None
        for i in range(len(functions)):
            turn = (worker.turn + i) % len(functions)
            job = self._waiting.first(functions[turn])
            if job is not None and (best is None or job.terms.priority > best.terms.priority):
                best, next_turn = job, turn + 1
                if self._waiting.plain:
                    break
        if cleared is not None and cleared.must_be_alone and not _is_before(best, cleared):
            return cleared
        if best is not None:
            worker.turn = next_turn
            self._waiting.served(best)
        return best

    def _lease(self, worker: WorkerSession, job: JobState, now: float) -> bool:
        """Lease something of a job; False: what it has must run alone, and this worker is busy."""
        if job.must_be_alone and worker.leases:
            worker.clearing = job
            return False
        if job.suspects:
            piece = job.take_suspect() or job.take(1)
        else:
            piece = job.take(self.pool.lease_size(job, worker))
        if piece is None:
            return True
        job.granted = max(job.granted, piece.n)
        job.told = job.unknown = False
        lease = self._new_lease(worker, job, piece, now)
        edge = worker.edge
        edge.messages += lease.batch.n
        edge.size += lease.batch.size
        task = Task(
            worker.link,
            lease.id,
            job.home.id,
            job.id,
            lease.first,
            piece.n,
            lease.attempt,
            job.function,
            piece.codec,
            job.terms.timeout,
            job.route,
            job.terms.at_most_once,
            lease.alone,
        )
        if worker.peer is not None:
            self._effects.append(Send(worker.peer, task, piece.batch))
        if self._taps.observers and worker.role == "worker":
            self._taps.outgoing(
                WORKERS, job.function, job.id, piece.first, piece.batch, piece.codec
            )
        if job.terms.timeout:
            self._timers.at(now + job.terms.timeout + HUNG_AFTER, self._mind, worker, lease)
        self._start_sweep(now)
        return True

    def _new_lease(self, worker: WorkerSession, job: JobState, piece: Piece, now: float) -> Lease:
        lease = Lease(
            self._next_lease,
            job,
            piece.first,
            piece.batch,
            piece.codec,
            piece.attempts + 1,
            piece.fates,
            piece.alone,
            piece.raised,
            piece.partition,
        )
        self._next_lease += 1
        self.leased += 1
        if not worker.leases:
            worker.heard = now
        worker.leases[lease.id] = lease
        if lease.alone:
            self.pool.occupy(worker)
        if len(worker.leases) == 2:
            self._loaded[worker.id] = worker
        return lease

    def _feed_process(self, process: bytes, now: float) -> None:
        for worker in self.pool.of_process(process):
            self.feed(worker, now)

    def _put_back(self, job: JobState, piece: Piece) -> None:
        if not job.done.missing(piece.first, piece.first + piece.n):
            return
        if job.terms.at_most_once and piece.fates:
            self._put_begun(job, piece)
        elif piece.alone and piece.deaths >= MAX_DEATHS:
            self._bury(job, piece)
        elif piece.alone and piece.deaths + piece.doubts >= MAX_DEATHS:
            job.doubtful.insert(0, piece)
            job.hold(piece.partition)
            self._doubtful[job] = None
        else:
            job.late = job.late or job.done.total > 0
            job.put_back(piece)

    def _bury(self, job: JobState, piece: Piece) -> None:
        """Give up a message that ends its workers, and have it kept."""
        text = f"it ended {piece.deaths} workers that ran it alone"
        self._effects.append(
            DeadLetter(
                job.function,
                job.id,
                piece.first,
                piece.attempts,
                piece.codec,
                piece.batch,
                job.session.name,
                text,
            )
        )
        self._fail(job, piece, Kind.POISON_TASK, Failure("PoisonTask", text))

    def _put_begun(self, job: JobState, piece: Piece) -> None:
        """Keep messages that may not run twice until it is known whether their worker died."""
        if piece.doubts:
            job.doubtful.insert(0, piece)
            job.hold(piece.partition)
            self._doubtful[job] = None
        else:
            text = "its worker was lost and may have run it, and it may not run twice"
            self._fail(job, piece, Kind.WORKER_LOST, Failure("WorkerLost", text))

    # Time limits

    def expire(self, job: JobState, now: float) -> None:
        """End a job whose time is over: what has no outcome by now gets none from a worker."""
        job.expired = True
        pieces = job.held
        for worker in self.pool.serving(job.function):
            for lease in worker.leases.values():
                if lease.job is job and lease.left > 0:
                    pieces += [replace(p, attempts=lease.attempt) for p in lease.rest(None)]
        for piece in pieces:
            self.fail_expired(job, piece)
        for start, stop in job.open_ranges():  # what is on disk only
            self.fail_expired(job, blank_piece(start, stop))
        job.clear()
        self.forget(job)
        self.revoke(job)
        if job.passage is not None:
            self.leave(job)

    def fail_expired(self, job: JobState, piece: Piece) -> None:
        """Give messages of a job whose time is over their outcome."""
        text = f"no outcome within the {job.terms.deadline:g} s of its job"
        self._fail(job, piece, Kind.DEADLINE_EXCEEDED, Failure("DeadlineExceeded", text))

    def blame_hung(self, worker: WorkerSession, leases: list[Lease], now: float) -> None:
        """Give the message that a lost worker ran its outcome, if it ran for longer than it may.

        A worker may have to end itself to end a call. Of several that have no answer nobody knows
        which one it was: each is run again, alone.
        """
        if leases and leases[0].left == 1:
            limit = leases[0].job.terms.timeout
            if limit and now - worker.heard >= limit:
                self._fail_hung(leases[0])

    def _fail_hung(self, lease: Lease) -> None:
        if lease.job.dropped:
            return
        at, limit = lease.done, lease.job.terms.timeout
        first, batch = lease.first + at, lease.batch.cut(at, at + 1)
        piece = Piece(first, batch, lease.codec, attempts=lease.attempt)
        failure = Failure("DeadlineExceeded", f"its call took more than {limit:g} s")
        self._fail(lease.job, piece, Kind.DEADLINE_EXCEEDED, failure)

    def _mind(self, worker: WorkerSession, lease: Lease, now: float) -> None:
        """Look whether a call hangs that its worker did not end: it is not waited for."""
        if worker.leases.get(lease.id) is not lease or lease.revoked:
            return
        limit = lease.job.terms.timeout + HUNG_AFTER
        began = worker.heard if next(iter(worker.leases)) == lease.id else now
        if now < began + limit:
            self._timers.at(began + limit, self._mind, worker, lease)
            return
        self._fail_hung(lease)
        worker.hung, worker.hanging = True, lease.id
        self.pool.set_hungry(worker, False)
        leases = self.end_all(worker)
        if worker.peer is not None:
            ids = [lease.id for lease in leases]
            self._effects.append(Send(worker.peer, Revoke(worker.link, ids)))
        self.requeue(leases, now, unsure=leases)

    # Balance: work that is leased but not begun, while others have nothing

    def _start_balancing(self, now: float) -> None:
        if not self._balancing:
            self._balancing = True
            self._timers.at(now + RECALL_AFTER, self._balance)

    def _balance(self, now: float) -> None:
        self._balancing = False
        again = False
        for worker in [w for w in self._loaded.values() if w.peer is not None]:
            leases = [lease for lease in list(worker.leases.values())[1:] if not lease.recalled]
            wanted = [lease for lease in leases if self._has_taker(lease.job.function)]
            if wanted and now - worker.heard >= RECALL_AFTER:
                self._recall(worker, wanted[len(wanted) // 2 :])
            again = again or bool(wanted)
        if again:
            self._start_balancing(now)

    def _has_taker(self, function: str) -> bool:
        idle = self.pool.hungry(function)[:1]
        return bool(idle) and not idle[0].leases

    def _recall(self, worker: WorkerSession, leases: list[Lease]) -> None:
        if leases and worker.peer is not None:
            for lease in leases:
                lease.recalled = True
            ids = [lease.id for lease in leases]
            self._effects.append(Send(worker.peer, Recall(worker.link, ids)))

    # Functions that nobody serves

    def _await_worker(self, job: JobState, now: float) -> None:
        if job.wait is None:
            due = now + self._function_grace
            job.wait = self._timers.at(due, self._nobody_serves, job)

    def _is_unknown(self, function: str) -> bool:
        """Whether there is no point in waiting: it is another master's, or a mistake."""
        return "." in function or (self.pool.size > 0 and function not in self.pool.served)

    def _nobody_serves(self, job: JobState, now: float) -> None:
        job.wait = None
        function = job.function
        if not job.waiting or self.pool.is_served(function):
            return
        if self._is_unknown(function):
            self._fail_unknown(job)
            return
        if job.told:
            return
        job.told = True
        text = f"no worker of '{self._name}' serves '{shown(function)}' yet; waiting for one"
        self._effects.append(Log(logging.WARNING, text))
        client = job.session
        if client.peer is not None:
            self._effects.append(Send(client.peer, Notice(client.link, job.id, text)))

    def _fail_unknown(self, job: JobState) -> None:
        function, served = job.function, sorted(self.pool.functions())
        text = f"no worker of '{self._name}' serves '{shown(function)}'"
        near = get_close_matches(function.rpartition(".")[2], served, n=1)
        if near:
            text += f"; did you mean '{shown(near[0])}'?"
        text += f" (served: {shown(', '.join(served), LINE) or 'nothing'})"
        while (piece := job.take_suspect() or job.take(1 << 30)) is not None:
            self._fail(job, piece, Kind.FUNCTION_NOT_FOUND, Failure("FunctionNotFound", text))
            job.release(piece.partition)
        job.unknown = True
        self.forget(job)

    # The backstop: a peer whose end nothing reported

    def _start_sweep(self, now: float) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._timers.at(now + SWEEP_EVERY, self._sweep)

    def _sweep(self, now: float) -> None:
        self._sweeping = False
        busy = [w.peer for w in self.pool.workers() if w.leases and w.peer is not None]
        self._effects.extend(Probe(peer) for peer in busy)
        if busy:
            self._start_sweep(now)


def _stay(job: JobState) -> None:
    """Do nothing: a plain job takes one step."""


def _is_before(job: JobState | None, other: JobState) -> bool:
    return job is not None and job.terms.priority > other.terms.priority
