"""Jobs in the journal: who has them, what is asked about them, and when they are forgotten.

They belong to no client. ``keeper`` lists them under an id that no session has, so that workers'
results find them whoever has them by then; see `palm.protocol.admission` for what goes in and
`palm.protocol.delivery` for what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from palm.protocol.admission import Admission
from palm.protocol.delivery import Delivery
from palm.protocol.dispatch import Dispatcher
from palm.protocol.effects import Effect, Send
from palm.protocol.entries import JobEnded, Recovered
from palm.protocol.events import InputsLoaded, JournalFailed, OutcomesLoaded, Written
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.journal import Journal
from palm.protocol.ledger import Ledger
from palm.protocol.settlement import Settlement
from palm.protocol.shown import LINE, shown
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.message import (
    Answer,
    Ask,
    Close,
    Gone,
    Journaled,
    Notice,
    Outcome,
    Resume,
    Submit,
    Taken,
)

__all__ = ["KEEP_FOR", "MAX_JOURNAL", "Durability"]

#: Seconds for which a job is kept that no client has.
KEEP_FOR: Final = 7 * 24 * 3600.0

#: Bytes in the journal beyond which jobs that are over are forgotten, the oldest first, and
#: nothing is accepted while there are none.
MAX_JOURNAL: Final = 10 << 30

#: Jobs that have ended and are known as such.
MAX_ENDED: Final = 100_000

#: Bytes of an answer that lists jobs: less than a header may have.
MAX_LIST: Final = 128 * 1024


class Durability:
    """The jobs in a master's journal; effects are added to the list of the machine it serves."""

    def __init__(
        self,
        name: str,
        clients: dict[bytes, ClientSession],
        dispatcher: Dispatcher,
        settlement: Settlement,
        timers: Timers,
        effects: list[Effect],
        recovered: Sequence[Recovered],
        no_journal: str,
        keep_for: float,
        max_journal: int,
        put: Callable[[JobState, Piece, float], None],
        released: Callable[[JobState, int, int], None],
    ) -> None:
        keeper = clients[b""] = ClientSession(b"", "nobody", "")
        self._name = name
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._effects = effects
        self._recovered = recovered
        self._no_journal = no_journal
        self._max_journal = max_journal
        self._journal = Journal(effects)
        self._delivery = Delivery(
            keeper, self._journal, timers, effects, self._forget, keep_for, released
        )
        self._admission = Admission(
            keeper,
            self._journal,
            self._delivery,
            dispatcher,
            timers,
            effects,
            settlement,
            put,
        )
        #: Jobs that have ended: a client that was away may not know, and send them again.
        self._ended: dict[bytes, None] = {}
        #: Who waits for workers: client, number of the question, how many.
        self._waiting: list[tuple[ClientSession, int, int]] = []
        self._trouble = ""

    @property
    def unwritten(self) -> int:
        """Count of the entries that are on their way to the journal."""
        return self._journal.unwritten

    def start(self, due: float, now: float) -> None:
        """Go on with the jobs of an earlier master, whose workers may bring results until due."""
        for each in self._recovered:
            if each.ended:
                self._end(each.job)
        self._admission.recover([each for each in self._recovered if not each.ended], due, now)
        self._recovered = ()

    def handle(
        self, event: Written | InputsLoaded | OutcomesLoaded | JournalFailed, now: float
    ) -> None:
        """React to what the journal says."""
        if isinstance(event, Written):
            self._journal.written(event.ticket, now)
            self._mind_size(event.size, now)
            return
        if isinstance(event, JournalFailed):
            self._tell_trouble(event.text)
            return
        job = self._keeper.jobs.get(event.job)
        if job is None or job.ledger is None:
            return
        if isinstance(event, InputsLoaded):
            self._admission.loaded(job, job.ledger, event.entries, now)
        else:
            self._delivery.loaded(job, job.ledger, event.entries)

    def go_on(self, workers: int) -> None:
        """Do what the last event may have made possible."""
        self._admission.load_more()
        if self._waiting:
            self._answer_waiting(workers)

    def record(self, job: JobState, outcome: Outcome, batch: Batch) -> None:
        """Take an outcome."""
        if job.ledger is not None:
            self._delivery.record(job, job.ledger, outcome, batch)
            self._admission.look_after(job)

    # What clients want

    def submit(
        self, client: ClientSession, message: Submit, batch: Batch | None, function: str, now: float
    ) -> bool:
        """Take messages of a job; False: some before them are missing."""
        job = self._keeper.jobs.get(message.job)
        if self._no_journal:
            text = f"'{self._name}' keeps no journal: {self._no_journal}"
            self._refuse(client, message.job, text)
        elif message.job in self._ended:
            self._refuse(client, message.job, "another client has cancelled this job")
        elif job is None and message.first:
            self._refuse(client, message.job, f"'{self._name}' knows nothing of this job")
        elif job is not None and job.session is not client:
            pass  # it was told when it lost the job
        elif batch is not None:
            if job is None:
                job = self._admission.begin(client, message, function, now)
            return self._admission.submit(job, message, batch)
        return True

    def resume(self, client: ClientSession, message: Resume) -> None:
        """Give a job to a client that goes on with it."""
        job = self._keeper.jobs.get(message.job)
        if job is None or job.ledger is None:
            if message.accepted or message.job in self._ended:
                text = f"'{self._name}' knows nothing of this job"
                self._refuse(client, message.job, text, message.number)
        elif job.ledger.owner not in (b"", client.id):
            self._refuse(client, message.job, "another client has this job", message.number)
        elif job.ledger.accepted < message.accepted or job.ledger.outcomes < message.position:
            text = f"the journal of '{self._name}' has lost the end of this job"
            self._refuse(client, message.job, text, message.number)
        else:
            self._delivery.resume(client, job, job.ledger, message)
            self._admission.tell(job)

    def taken(self, client: ClientSession, message: Taken, now: float) -> None:
        """Note that a client has room for more outcomes."""
        job = self._keeper.jobs.get(message.job)
        if job is not None and job.ledger is not None and job.session is client:
            self._delivery.taken(job, job.ledger, message, now)

    def close(self, client: ClientSession, message: Close, now: float) -> None:
        """Forget a job that its client wants nothing more of."""
        job = self._keeper.jobs.get(message.job)
        if job is not None and job.session in (client, self._keeper):
            self._forget(job, now)
        if message.confirm:
            self._journal.after(partial(self._confirm, client, message.job), now)

    def _confirm(self, client: ClientSession, job: bytes, now: float) -> None:
        self._refuse(client, job, "it was cancelled")

    def detach(self, client: ClientSession, now: float) -> None:
        """Take its jobs from a client that is away, or has a new link."""
        self._delivery.detach(client, now)
        self._waiting = [each for each in self._waiting if each[0] is not client]

    def _refuse(self, client: ClientSession, job: bytes, text: str, number: int = 0) -> None:
        if client.peer is not None:
            gone = Gone(client.link, job, shown(text, LINE), number)
            self._effects.append(Send(client.peer, gone))

    def _forget(self, job: JobState, now: float) -> None:
        if job.ledger is not None and job.ledger.expiry is not None:
            job.ledger.expiry.cancel()
        self._dispatcher.close(job)
        self._end(job.id)
        self._journal.write(JobEnded(job.id), sync=job.terms.durable)

    def _end(self, job: bytes) -> None:
        self._ended[job] = None
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    # Questions

    def ask(self, client: ClientSession, message: Ask, now: float) -> None:
        """Answer a question, now or when there is an answer."""
        if message.workers:
            self._waiting.append((client, message.op, message.workers))
            return
        job = self._keeper.jobs.get(message.job)
        if message.take and job is not None and job.ledger is not None:
            self._delivery.take(client, job, job.ledger, now)
            self._admission.let_go(job)
        if self._trouble and not message.take:
            self._list(client, message, now)
        else:  # what is on its way is written by then: nothing is accepted behind the answer
            self._journal.after(partial(self._list, client, message), now)

    def _list(self, client: ClientSession, message: Ask, now: float) -> None:
        wanted = [
            (job, job.ledger)
            for job in self._keeper.jobs.values()
            if job.ledger is not None
            and message.job in (b"", job.id)
            # Else it was not there yet to be taken.
            and (job.ledger.owner == client.id or not message.take)
        ]
        found: list[Journaled] = []
        size = 0
        for job, ledger in reversed(wanted):  # the latest first
            entry = self._entry(job, ledger, now)
            size += len(msgspec.msgpack.encode(entry))
            if size > MAX_LIST:
                break
            found.append(entry)
        answer = Answer(0, message.op, self._dispatcher.pool.size, found, len(wanted) - len(found))
        self._answer(client, answer)

    def _entry(self, job: JobState, ledger: Ledger, now: float) -> Journaled:
        return Journaled(
            job.id,
            job.function,
            job.terms,
            ledger.accepted,
            job.done.total,
            ledger.failed,
            job.closed,
            now - ledger.began,
            ledger.client,
            job.session is not self._keeper,
        )

    def _answer_waiting(self, workers: int) -> None:
        for client, op, _ in [each for each in self._waiting if each[2] <= workers]:
            self._answer(client, Answer(0, op, workers))
        self._waiting = [each for each in self._waiting if each[2] > workers]

    def _answer(self, client: ClientSession, answer: Answer) -> None:
        if client.peer is not None:
            answer.link = client.link
            self._effects.append(Send(client.peer, answer))

    # The journal

    def _mind_size(self, size: int, now: float) -> None:
        """Make room in the journal, or let nothing more in."""
        full = size > self._max_journal
        if full:
            job = self._first_over(closed=True) or self._first_over(closed=False)
            if job is not None:
                self._forget(job, now)
            else:
                self._tell_trouble(f"it holds {size >> 20:,} MiB, its limit; cancel a job")
        else:
            self._trouble = ""
        self._admission.set_full(full)

    def _first_over(self, *, closed: bool) -> JobState | None:
        """Return the oldest job that nobody has and nothing is to be done for."""
        for job in self._keeper.jobs.values():
            idle = job.session is self._keeper and job.ledger is not None and not job.open
            if idle and job.closed >= closed:
                return job
        return None

    def _tell_trouble(self, text: str) -> None:
        if text == self._trouble:
            return
        self._trouble = text
        text = f"the journal of '{self._name}' cannot be written: {text}; waiting"
        for job in self._keeper.jobs.values():
            client = job.session
            if client.peer is not None:
                notice = Notice(client.link, job.id, shown(text, LINE))
                self._effects.append(Send(client.peer, notice))

    # For tests

    def spans(self, job: JobState) -> list[tuple[int, int]]:
        """Return the messages of a job that are on disk only, or on their way there."""
        return self._admission.spans(job)
