"""The client's rules: keep each input until its outcome is there, deliver each outcome once.

What is open is sent again over every new link: the master knows what it has, and after a restart
it has nothing. Outcomes are acknowledged by serial number, in order.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from palm.errors import ConnectTimeout, JobError, PalmError
from palm.protocol.acks import Acks
from palm.protocol.effects import Accepted, Deliver, Effect, Expired, Fail, Note, Send, Stopped
from palm.protocol.events import (
    Asked,
    Cancelled,
    Event,
    Garbled,
    Opened,
    Received,
    Resumed,
    RoomMade,
    StopRequested,
    Submitted,
    Tick,
    Wanted,
)
from palm.protocol.link import Identity, Link, State
from palm.protocol.requests import Questions, Requests
from palm.protocol.shown import LINE, shown
from palm.protocol.submissions import Sent, Submissions
from palm.protocol.timers import Timer, Timers
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import (
    MAX_TEXT,
    Accept,
    Answer,
    Bye,
    Close,
    Gone,
    Kept,
    Notice,
    Outcome,
    Resume,
    Submit,
    Taken,
)
from palm.wire.outcome import Failure, Kind, encode_failure, failures_in

__all__ = ["ClientMachine"]

#: Seconds after which the person who waits is told that nobody answers.
NOTICE_AFTER: Final = 2.0

#: Jobs that were cancelled or given up and are remembered: a batch may still be on its way from
#: the thread that packs it.
ENDED: Final = 1024


class ClientMachine:
    """One client; see `handle`.

    ``connect_timeout`` is how long (seconds) something may wait for a master before it fails.
    """

    def __init__(self, identity: Identity, connect_timeout: float) -> None:
        self._effects: list[Effect] = []
        self._timers = Timers()
        self.link = Link(identity, self._timers, self._effects)
        self._acks = Acks(self.link, self._timers, self._effects)
        self._requests = Requests(self._effects)
        self._questions = Questions(self._effects)
        self._connect_timeout = connect_timeout
        self._jobs: dict[bytes, Submissions] = {}
        self._ended: dict[bytes, None] = {}
        self._next_resume = 1
        #: Jobs in the journal that were cancelled, and may still be there.
        self._closing: dict[bytes, None] = {}
        self._was_up = False
        self._patience: list[Timer] = []

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""
        return self._timers.next_deadline

    def start(self, now: float) -> list[Effect]:
        """Begin to look for the master."""
        self.link.start(now)
        return self._take_effects()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        if isinstance(event, Received) and self._is_ours(event):
            self._receive(event, now)
        elif isinstance(event, Submitted):
            self._submit(event, now)
        elif isinstance(event, Opened):
            self._open(event, now)
        elif isinstance(event, Resumed):
            self._resume(event, now)
        elif isinstance(event, RoomMade):
            self._make_room(event)
        elif isinstance(event, Asked):
            self._questions.add(event, self.link.id if self.link.up else 0)
        elif isinstance(event, Cancelled):
            self._cancel(event.job, journaled=event.journaled)
        elif isinstance(event, Wanted):
            self._requests.add(event, self.link.id if self.link.up else 0)
        elif isinstance(event, Tick):
            self._timers.run(now)
        elif isinstance(event, StopRequested):
            self._stop()
        elif not isinstance(event, Garbled):
            self._link_event(event, now)
        self._mind_patience(now)
        return self._take_effects()

    def _take_effects(self) -> list[Effect]:
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def _is_ours(self, event: Received) -> bool:
        return self.link.up and event.message.link == self.link.id and _is_data(event)

    def _link_event(self, event: Event, now: float) -> None:
        if self.link.handle(event, [], now) is not None:
            for job in self._jobs.values():
                self._resend(job, now)
            if self._was_up:  # what ended meanwhile, the master may not know of
                self._effects.append(Send(b"", Close(self.link.id, b"")))
            for key in self._closing:
                self._effects.append(Send(b"", Close(self.link.id, key, True)))
            self._was_up = True
            self._requests.resend(self.link.id)
            self._questions.resend(self.link.id)

    # From the caller

    def _open(self, event: Opened, now: float) -> None:
        job = self._jobs[event.job] = Submissions(event.job, _as_text(event.function), event.terms)
        job.expiry = self._timers.at(now + event.terms.deadline, self._expire, job)

    def _submit(self, event: Submitted, now: float) -> None:
        if event.job in self._ended and self.link.state is not State.FAILED:
            return
        job = self._jobs.get(event.job)
        if job is None:
            job = self._jobs[event.job] = Submissions(
                event.job, _as_text(event.function), event.terms
            )
        batch = event.batch
        submit = Submit(
            0,
            event.job,
            event.first,
            batch.n,
            job.function,
            event.codec,
            event.last,
            job.terms,
            event.partitions,
            kinds=event.kinds,
            route=event.route,
        )
        job.route = event.route
        sent = job.add(submit, batch)
        if job.expired:
            self._fail_open(job)
        elif self.link.up and (job.submitted.total or job.journaled):
            self._send(job, sent, now)
        self._drop_if_finished(job)

    def _resend(self, job: Submissions, now: float) -> None:
        if job.journaled:
            self._send_resume(job)
        elif job.expired:
            return
        for sent in job.open():
            self._send(job, sent, now)
        if job.closed:  # the batch that said so may have had its outcomes already
            end = Submit(0, job.id, job.submitted.total, 0, job.function, 0, True, job.terms)
            end.route = job.route
            self._send(job, Sent(end, Batch.pack([]), 0), now)

    def _send(self, job: Submissions, sent: Sent, now: float) -> None:
        submit = sent.submit
        submit.link = self.link.id
        if job.terms is not None:
            if job.expiry is not None:
                left = max(job.expiry.when - now, 0.0)
                submit.terms = replace(job.terms, remaining=left)
            sent.birth = sent.birth or self.link.birth
            submit.may_have_begun = sent.birth != self.link.birth
            if submit.may_have_begun:
                sent.lost_at = now if sent.lost_at is None else sent.lost_at
                submit.waited = now - sent.lost_at
        self._effects.append(Send(b"", submit, sent.batch))

    def _resume(self, event: Resumed, now: float) -> None:
        self._ended.pop(event.job, None)  # it may have been ours before, and another's meanwhile
        job = Submissions(event.job, _as_text(event.function), event.terms)
        job.submitted.add(0, event.accepted)
        job.accepted, job.closed, job.confirmed = event.accepted, event.closed, event.closed
        if event.terms.deadline:
            job.expiry = self._timers.at(now + event.remaining, self._expire, job)
        self._jobs[event.job] = job
        if self.link.up:
            self._send_resume(job)

    def _send_resume(self, job: Submissions) -> None:
        full = job.taken < job.position
        job.number = self._next_resume
        self._next_resume += 1
        resume = Resume(self.link.id, job.id, job.position, job.accepted, full, job.number)
        self._effects.append(Send(b"", resume))

    def _make_room(self, event: RoomMade) -> None:
        job = self._jobs.get(event.job)
        if job is not None and event.position > job.taken:
            job.taken = event.position
            if self.link.up:
                self._effects.append(Send(b"", Taken(self.link.id, job.id, job.taken)))

    def _expire(self, job: Submissions, now: float) -> None:
        """End a job whose time is over, whatever the master says or does not say.

        One in the journal is ended by the master; here nothing more is taken from its source.
        """
        if job.journaled:
            self._effects.append(Expired(job.id))
            return
        job.expired = True
        if self.link.up:
            self._effects.append(Send(b"", Close(self.link.id, job.id)))
        self._fail_open(job)
        self._effects.append(Expired(job.id))
        self._drop_if_finished(job)

    def _fail_open(self, job: Submissions) -> None:
        deadline = job.terms.deadline if job.terms is not None else 0.0
        text = f"no outcome within the {deadline:g} s of its job"
        payload = encode_failure(Failure("DeadlineExceeded", text))
        for first, stop in job.submitted.ranges():
            for start, end in job.answered.add(first, stop):
                n = end - start
                kinds = bytes([Kind.DEADLINE_EXCEEDED]) * n
                outcome = Outcome(
                    0, 0, job.id, start, n, 0, Codec.MSGPACK, "", 0.0, bytes(4 * n), kinds
                )
                inputs = job.settle(start, end, keep=True)
                self._effects.append(Deliver(job.id, outcome, Batch.pack([payload] * n), inputs))

    def _cancel(self, job: bytes, *, journaled: bool) -> None:
        self._end(job)
        found = self._jobs.pop(job, None)
        if found is not None:
            self._forget(found)
        if journaled:
            self._closing[job] = None
        if self.link.up and (journaled or found is not None):
            self._effects.append(Send(b"", Close(self.link.id, job, journaled)))

    def _forget(self, job: Submissions) -> None:
        if job.expiry is not None:
            job.expiry.cancel()

    def _end(self, job: bytes) -> None:
        self._ended[job] = None
        if len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]

    def _stop(self) -> None:
        if self.link.up:
            self._effects.append(Send(b"", Bye(self.link.id, "it was closed")))
        self._effects.append(Stopped())

    # From the master

    def _receive(self, event: Received, now: float) -> None:
        message = event.message
        if isinstance(message, Outcome) and event.batch is not None:
            self._outcome(message, event.batch)  # first: somebody may wait for it
            if message.position < 0:
                self._acks.owe(message.serial, event.batch.size, now)
        elif isinstance(message, Accept):
            self._accept(message)
        elif isinstance(message, Gone):
            self._gone(message)
        elif isinstance(message, Answer):
            self._questions.answered(message)
        elif isinstance(message, Notice):
            self._effects.append(Note(message.job or None, shown(message.text, LINE)))
        elif isinstance(message, Kept):
            self._requests.answered(message, event.batch)

    def _outcome(self, outcome: Outcome, batch: Batch) -> None:
        job = self._jobs.get(outcome.job)
        if job is None or job.expired:  # cancelled, or given up while the master was away
            self._effects.append(Send(b"", Close(self.link.id, outcome.job)))
            return
        first, n = outcome.first, outcome.n
        if job.submitted.missing(first, first + n):
            return
        if job.journaled:
            if outcome.position != job.position:
                return  # it was sent again over a new link, from where we were
            job.position += 1
        new = job.answered.add(first, first + n)
        for start, stop in new:
            inputs = job.settle(start, stop, keep=failures_in(outcome.kinds) > 0)
            a, b = start - first, stop - first
            self._effects.append(Deliver(job.id, outcome.cut(a, b), batch.cut(a, b), inputs))
        self._drop_if_finished(job)

    def _accept(self, message: Accept) -> None:
        job = self._jobs.get(message.job)
        if job is None or not job.journaled:
            return
        confirms = message.closed and job.closed and not job.confirmed
        job.confirmed = job.confirmed or confirms
        if job.accept(min(message.upto, job.submitted.total)) or confirms:
            self._effects.append(Accepted(job.id, job.accepted, job.confirmed))
        self._drop_if_finished(job)

    def _gone(self, message: Gone) -> None:
        self._closing.pop(message.job, None)
        job = self._jobs.get(message.job)
        if job is not None and job.journaled and message.number in (0, job.number):
            self._forget(job)
            self._end(job.id)
            del self._jobs[job.id]
            self._effects.append(Fail(job.id, JobError(shown(message.text, LINE))))

    def _drop_if_finished(self, job: Submissions) -> None:
        if job.finished:
            self._forget(job)
            self._jobs.pop(job.id, None)
            if job.journaled and self.link.up:  # we have all of it: others may
                self._effects.append(Send(b"", Taken(self.link.id, job.id, job.position)))

    # Patience: while something waits and nobody answers

    def _mind_patience(self, now: float) -> None:
        if self.link.state is State.FAILED:
            if self.link.error is not None and self._waits_for_anything:
                self._fail_all(self.link.error)
            self._calm_down()
            return
        waits = not self.link.up and self._waits
        if waits and not self._patience:
            self._patience = [
                self._timers.at(now + NOTICE_AFTER, self._notice),
                self._timers.at(now + self._connect_timeout, self._give_up),
            ]
        elif not waits:
            self._calm_down()

    @property
    def _waits(self) -> bool:
        """Whether something needs the master."""
        waits = self._requests or self._questions
        return bool(waits) or not all(job.expired for job in self._jobs.values())

    @property
    def _waits_for_anything(self) -> bool:
        return bool(self._jobs or self._requests or self._questions)

    def _calm_down(self) -> None:
        for timer in self._patience:
            timer.cancel()
        self._patience.clear()

    def _notice(self, now: float) -> None:
        self._effects.append(Note(None, f"{self.link.absence()}; waiting"))

    def _give_up(self, now: float) -> None:
        text = f"{self.link.absence()}; gave up after {self._connect_timeout:g} s"
        name, known = self.link.identity.server, self.link.known
        self._fail_all(ConnectTimeout(text, name=name, known=known))

    def _fail_all(self, error: PalmError) -> None:
        """End what waits, each by itself: what comes to us later is not affected."""
        for job in self._jobs.values():
            self._forget(job)
            self._end(job.id)
            self._effects.append(Fail(job.id, error))
        self._jobs.clear()
        self._requests.fail(error)
        self._questions.fail(error)


def _as_text(function: object) -> str:
    """Return what a message can carry for a name; nothing serves one that has to be changed."""
    return str(function)[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()[:MAX_TEXT]


def _is_data(event: Received) -> bool:
    return isinstance(event.message, Outcome | Notice | Kept | Accept | Gone | Answer)
