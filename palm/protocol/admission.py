"""Messages of jobs in the journal: written first, then accepted, then queued.

No more of a job is in memory than may be run soon. The rest stays on disk and is read back in
its order: so a client may hand over a million messages and leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from palm.protocol.delivery import Delivery
from palm.protocol.dispatch import Dispatcher
from palm.protocol.effects import Effect, LoadInputs, Send
from palm.protocol.entries import Begun, Inputs, JobBegun, Recovered
from palm.protocol.jobs import ClientSession, JobState, Piece, blank_piece
from palm.protocol.journal import Journal
from palm.protocol.ledger import Ledger
from palm.protocol.settlement import Settlement
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.message import Accept, Submit

__all__ = ["Admission", "pieces"]


class Admission:
    """Lets messages in; effects are added to the list of the master it serves."""

    def __init__(
        self,
        keeper: ClientSession,
        journal: Journal,
        delivery: Delivery,
        dispatcher: Dispatcher,
        timers: Timers,
        effects: list[Effect],
        settlement: Settlement,
        put: Callable[[JobState, Piece, float], None],
    ) -> None:
        self._keeper = keeper
        self._journal = journal
        self._delivery = delivery
        self._dispatcher = dispatcher
        self._timers = timers
        self._effects = effects
        self._settlement = settlement
        self._put = put
        #: Jobs that may have too few messages in memory.
        self._drained: dict[bytes, JobState] = {}
        #: Messages that are queued as soon as it is written that they may have begun.
        self._beginning: dict[bytes, list[Inputs]] = {}
        #: The journal is full; what came since.
        self._full = False
        self._held_back: list[tuple[JobState, Submit, Batch]] = []

    # What clients send

    def begin(self, client: ClientSession, submit: Submit, function: str, now: float) -> JobState:
        """Open a job, and give it to its client."""
        terms = submit.terms
        job = JobState(self._keeper, submit.job, function, terms, submit.route)
        job.chain = submit.function
        ledger = job.ledger = Ledger(client.name, now, client.id)
        self._keeper.jobs[job.id] = job
        self._delivery.attach(client, job, ledger)
        self._limit(job, job.terms.remaining, now)
        entry = JobBegun(job.id, function, client.name, job.terms, client.id, job.chain, job.route)
        self._journal.write(entry, sync=False)
        return job

    def submit(self, job: JobState, submit: Submit, batch: Batch) -> bool:
        """Take messages of a job; False: some before them are missing."""
        if self._full:
            self._held_back.append((job, submit, batch))
            return True
        first, stop, known = submit.first, submit.first + batch.n, job.known.total
        if first > known:
            return False
        new = max(stop - known, 0)
        if new or (submit.last and not job.closed):
            at = batch.n - new
            entry = Inputs(
                job.id,
                known,
                batch.cut(at, batch.n),
                submit.codec,
                submit.last,
                submit.partitions[at:],
                submit.kinds[at:],
            )
            job.known.add(known, known + new)
            self._settlement.meter.received(job, known, new, entry.batch.size)
            then = partial(self._written, job, entry)
            self._journal.write(entry, then, sync=job.terms.durable)
        else:
            self.tell(job)  # the answer to an earlier link may be lost
        return True

    def _written(self, job: JobState, entry: Inputs, now: float) -> None:
        ledger = job.ledger
        if ledger is None or job.dropped:
            return
        ledger.accepted += entry.batch.n
        job.closed = job.closed or entry.last
        self.tell(job)
        if job.expired:
            self._dispatcher.fail_expired(job, blank_piece(entry.first, ledger.accepted))
        elif ledger.admitted == entry.first and ledger.has_room:
            self._admit(job, ledger, entry, now)
        else:
            self.look_after(job)

    def set_full(self, full: bool) -> None:
        """Take nothing more before the journal has room again."""
        self._full = full
        held_back, self._held_back = ([], self._held_back) if full else (self._held_back, [])
        for job, submit, batch in held_back:
            if not job.dropped:
                self.submit(job, submit, batch)

    def let_go(self, job: JobState) -> None:
        """Forget what waits of a job for room in the journal: another client has it now."""
        self._held_back = [each for each in self._held_back if each[0] is not job]

    def tell(self, job: JobState) -> None:
        """Tell the client of a job what of it is in the journal, before it hears of outcomes."""
        client = job.session
        if client.peer is not None and job.ledger is not None:
            accept = Accept(client.link, job.id, job.ledger.accepted, job.closed)
            self._effects.append(Send(client.peer, accept))

    # What is to be run

    def load_more(self) -> None:
        """Have messages read back where few are left in memory."""
        for job in self._drained.values():
            ledger = job.ledger
            if ledger is not None and ledger.is_low and not (job.expired or job.dropped):
                ledger.loading = True
                self._effects.append(LoadInputs(job.id, ledger.admitted))
        self._drained.clear()

    def look_after(self, job: JobState) -> None:
        """Note that messages of a job may have to be read back."""
        self._drained[job.id] = job

    def loaded(self, job: JobState, ledger: Ledger, entries: list[Inputs], now: float) -> None:
        """Queue messages that were read back."""
        ledger.loading = False
        for entry in entries:
            if entry.first <= ledger.admitted < entry.first + entry.batch.n:
                self._admit(job, ledger, entry, now)
        self.look_after(job)

    def _admit(self, job: JobState, ledger: Ledger, entry: Inputs, now: float) -> None:
        stop = entry.first + entry.batch.n
        open_ = job.done.missing(ledger.admitted, stop)
        ledger.admit(stop, sum(b - a for a, b in open_), entry.batch.size)
        if not open_:
            return
        if job.terms.at_most_once and not entry.kinds:
            self._beginning.setdefault(job.id, []).append(entry)
            then = partial(self._begin, job, entry)
            self._journal.write(Begun(job.id, stop), then, sync=True)  # it must not run twice
        else:
            self._queue(job, entry, now)

    def _begin(self, job: JobState, entry: Inputs, now: float) -> None:
        waiting = self._beginning[job.id]
        waiting.remove(entry)
        if not waiting:
            del self._beginning[job.id]
        if not job.dropped:
            self._queue(job, entry, now)

    def _queue(self, job: JobState, entry: Inputs, now: float) -> None:
        first, batch = entry.first, entry.batch
        for start, stop in job.done.missing(first, first + batch.n):
            a, b = start - first, stop - first
            if entry.kinds:
                self._settlement.refuse(job, start, entry.kinds[a:b], batch.cut(a, b))
                continue
            for piece in pieces(first, batch, entry.codec, entry.partitions, a, b):
                if job.expired:
                    self._dispatcher.fail_expired(job, piece)
                else:
                    self._put(job, piece, now)
        if job.waiting:
            self._dispatcher.enqueue(job, now)

    def spans(self, job: JobState) -> list[tuple[int, int]]:
        """Return messages of a job that are on disk only, or on their way there; for tests."""
        if job.ledger is None:
            return []
        beginning = self._beginning.get(job.id, ())
        found = [(each.first, each.first + each.batch.n) for each in beginning]
        return [*found, (job.ledger.admitted, job.known.total)]

    # After a start

    def recover(self, found: Sequence[Recovered], due: float, now: float) -> None:
        """Go on with the jobs of an earlier master of this name.

        What it may have leased of those that run at most once is given up at ``due``, unless a
        worker brings its result before.
        """
        for each in found:
            job = JobState(self._keeper, each.job, each.function, each.terms, each.route)
            job.chain = each.chain or each.function
            ledger = job.ledger = Ledger(each.client, now - each.age, each.owner)
            self._keeper.jobs[job.id] = job
            job.known.add(0, each.accepted)
            for start, stop in each.done:
                job.done.add(start, stop)
            self._settlement.meter.received(job, 0, job.open, 0)
            job.closed = each.closed
            ledger.accepted = each.accepted
            ledger.recorded = ledger.outcomes = each.outcomes
            ledger.failed = each.failed
            self._delivery.leave(job, now)
            self._limit(job, each.terms.deadline - each.age, now)
            self._recover_messages(job, ledger, each.begun, due)
            self.look_after(job)

    def _recover_messages(self, job: JobState, ledger: Ledger, begun: int, due: float) -> None:
        begun = begun if job.terms.at_most_once else 0
        astray = job.done.missing(0, begun)
        for start, stop in astray:
            piece = blank_piece(start, stop)
            job.astray.append(piece)
            self._timers.at(due, self._settlement.forsake, job, piece)
        open_ = job.done.missing(begun, ledger.accepted)
        upto = open_[0][0] if open_ else ledger.accepted
        ledger.admit(upto, sum(b - a for a, b in astray), 0)

    def _limit(self, job: JobState, remaining: float, now: float) -> None:
        if job.terms.deadline:
            due = now + max(remaining, 0.0)
            job.deadline = self._timers.at(due, self._dispatcher.expire, job)


def pieces(first: int, batch: Batch, codec: int, partitions: bytes, a: int, b: int) -> list[Piece]:
    """Cut messages ``a .. b-1`` of a batch where the partition of their keys changes."""
    if not partitions:
        return [Piece(first + a, batch.cut(a, b), codec)]
    result = []
    for partition, run in groupby(range(a, b), partitions.__getitem__):
        indices = list(run)
        part = batch.cut(indices[0], indices[-1] + 1)
        result.append(Piece(first + indices[0], part, codec, partition=partition))
    return result
