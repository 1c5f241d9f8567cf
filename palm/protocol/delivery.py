"""Outcomes of jobs in the journal: written first, then given to whoever has the job now.

They go out in the order in which they were written, each at its position. What finds its client
ready is sent from memory; what does not is read back when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from palm.protocol.effects import Effect, LoadOutcomes, Send
from palm.protocol.entries import Outcomes, Owned
from palm.protocol.jobs import ClientSession, JobState
from palm.protocol.journal import Journal
from palm.protocol.ledger import Ledger
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.message import Gone, Outcome, Resume, Taken
from palm.wire.outcome import failures_in

__all__ = ["Delivery"]


class Delivery:
    """Takes outcomes to clients; effects are added to the list of the master it serves.

    ``keeper`` has the jobs that no client has; ``forget(job, now)`` is called for one that
    nobody has had for ``keep_for`` seconds.
    """

    def __init__(
        self,
        keeper: ClientSession,
        journal: Journal,
        timers: Timers,
        effects: list[Effect],
        forget: Callable[[JobState, float], None],
        keep_for: float,
        released: Callable[[JobState, int, int], None],
    ) -> None:
        self._keeper = keeper
        self._journal = journal
        self._timers = timers
        self._effects = effects
        self._forget = forget
        self._keep_for = keep_for
        self._released = released

    def record(self, job: JobState, ledger: Ledger, outcome: Outcome, batch: Batch) -> None:
        """Write outcomes, and deliver them when that is done."""
        outcome.position = ledger.recorded
        ledger.recorded += 1
        ledger.failed += failures_in(outcome.kinds)
        ledger.done(outcome.first, outcome.first + outcome.n)
        then = partial(self._recorded, job, ledger, outcome, batch)
        self._journal.write(Outcomes(job.id, outcome, batch), then, sync=job.terms.durable)

    def _recorded(
        self, job: JobState, ledger: Ledger, outcome: Outcome, batch: Batch, now: float
    ) -> None:
        ledger.outcomes += 1
        self._released(job, outcome.first, outcome.n)
        if not job.dropped and ledger.sent == outcome.position and ledger.may_send:
            self._send(job, ledger, outcome, batch)

    # Who has a job

    def attach(self, client: ClientSession, job: JobState, ledger: Ledger) -> None:
        """Give a job to its owner, or to whoever comes first if that is not known."""
        job.session, ledger.owner = client, client.id
        if ledger.expiry is not None:
            ledger.expiry.cancel()
            ledger.expiry = None

    def take(self, client: ClientSession, job: JobState, ledger: Ledger, now: float) -> None:
        """Let a client own a job; one that had it is told."""
        before = job.session
        if before is not client and before.peer is not None:
            text = f"'{client.name}' has taken over job {job.id.hex()}"
            gone = Gone(before.link, job.id, text, ledger.number)
            self._effects.append(Send(before.peer, gone))
        self.leave(job, now)
        ledger.owner = client.id
        self._journal.write(Owned(job.id, client.id), sync=job.terms.durable)

    def resume(self, client: ClientSession, job: JobState, ledger: Ledger, message: Resume) -> None:
        """Give a job to a client that has the outcomes before a position."""
        self.attach(client, job, ledger)
        ledger.number = message.number
        ledger.rewind(min(max(message.position, 0), ledger.outcomes), full=message.full)
        self._go_on(job, ledger)

    def taken(self, job: JobState, ledger: Ledger, message: Taken, now: float) -> None:
        """Note that its client has room for more, or has all there will be."""
        ledger.taken(message.position)
        if job.closed and not job.open and message.position >= ledger.recorded:
            self.leave(job, now)
        else:
            self._go_on(job, ledger)

    def detach(self, client: ClientSession, now: float) -> None:
        """Take its jobs from a client that is away: it will say what it has when it is back."""
        for job in self._keeper.jobs.values():
            if job.session is client:
                self.leave(job, now)

    def leave(self, job: JobState, now: float) -> None:
        """Let nobody have a job."""
        job.session = self._keeper
        if job.ledger is not None and job.ledger.expiry is None:
            due = now + self._keep_for
            job.ledger.expiry = self._timers.at(due, self._forget, job)

    # What is read back

    def _go_on(self, job: JobState, ledger: Ledger) -> None:
        wanted = ledger.sent < ledger.outcomes and ledger.may_send
        if wanted and not ledger.reading and job.session.peer is not None:
            ledger.reading = True
            self._effects.append(LoadOutcomes(job.id, ledger.sent))

    def loaded(self, job: JobState, ledger: Ledger, entries: list[Outcomes]) -> None:
        """Send outcomes that were read back, if they are still what comes next."""
        ledger.reading = False
        for entry in entries:
            if entry.outcome.position == ledger.sent and ledger.may_send:
                self._send(job, ledger, entry.outcome, entry.batch)
        self._go_on(job, ledger)

    def _send(self, job: JobState, ledger: Ledger, outcome: Outcome, batch: Batch) -> None:
        client = job.session
        if client.peer is not None:
            outcome.link = client.link
            ledger.send(batch)
            self._effects.append(Send(client.peer, outcome, batch))
