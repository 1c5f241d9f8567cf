"""What becomes of messages: results are turned into outcomes, once, and kept until acknowledged.

Outcomes belong to the client's session: they are sent again over its next link. Results of jobs
that are not known yet are kept for a while after a start: their clients are about to come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from math import inf
from typing import Final

from msgspec.structs import replace

from palm.errors import WireError
from palm.protocol.effects import Effect, Send
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.meter import Meter
from palm.protocol.pool import Lease
from palm.protocol.retries import is_worth_it
from palm.protocol.taps import CLIENTS, Taps
from palm.protocol.timers import Timers
from palm.wire.batch import MAX_MESSAGES, Batch, Buffer
from palm.wire.codec import Codec
from palm.wire.message import Outcome, Result
from palm.wire.outcome import Failure, Kind, decode_failure, encode_failure

__all__ = ["Settlement"]

#: Seconds that workers have to come back to a new master, whoever has waited for how long.
PARK_LEAST: Final = 2.0

#: Seconds after a start for which results of jobs not known yet are kept for their clients.
PARK_FOR: Final = 10.0


class Settlement:
    """Gives messages their outcomes; effects are added to the list of the master it serves.

    ``record(job, outcome, batch)`` takes those of jobs in the journal.
    """

    def __init__(
        self,
        clients: Mapping[bytes, ClientSession],
        timers: Timers,
        effects: list[Effect],
        record: Callable[[JobState, Outcome, Batch], None],
        taps: Taps,
        meter: Meter,
    ) -> None:
        #: Results of messages that had their outcome by then, or nobody to get it.
        self.late_results = 0
        self.meter = meter
        self._clients = clients
        self._timers = timers
        self._effects = effects
        self._record = record
        self._taps = taps
        self._parked: dict[tuple[bytes, bytes], list[tuple[Result, Batch, str]]] = {}
        self._park_until: float | None = None

    @property
    def parked(self) -> int:
        """Count of results that wait for their job."""
        return sum(map(len, self._parked.values()))

    def started(self, now: float) -> None:
        """Note when the master began; later calls change nothing."""
        if self._park_until is None:
            self._park_until = now + PARK_FOR

    def parks_until(self, now: float, waited: float = 0.0) -> float:
        """Return until when results may come that an earlier master's leases have led to.

        Who has ``waited`` for them over several masters (seconds) need not begin anew with each.
        """
        until = max(now, self._park_until or now)
        if not 0 < waited < inf:
            return until
        return min(until, now + max(PARK_FOR - waited, PARK_LEAST))

    def resend(self, client: ClientSession) -> None:
        """Send what a client has not acknowledged over its new link."""
        for outcome, batch in client.outcomes:
            self._send(client, outcome, batch)

    def fail(self, job: JobState, piece: Piece, kind: Kind, failure: Failure) -> None:
        """Give messages that wait the outcome ``failure``."""
        payload = encode_failure(failure)
        for start, stop in job.done.add(piece.first, piece.first + piece.n):
            for at in range(start, stop, MAX_MESSAGES):
                n = min(stop - at, MAX_MESSAGES)
                batch = Batch.pack([payload] * n)
                self._fail(job, at, bytes([kind]) * n, batch, piece.attempts)

    def conclude(self, job: JobState, outcome: Outcome, batch: Batch) -> None:
        """Give messages of a job that took several steps their outcome, if they have none yet."""
        if job.dropped:
            return
        first = outcome.first
        for start, stop in job.done.add(first, first + outcome.n):
            a, b = start - first, stop - first
            part = outcome.cut(a, b)
            part.job = job.id
            self._send_outcome(job, part, batch.cut(a, b))

    def forsake(self, job: JobState, piece: Piece, now: float) -> None:
        """Give up messages that an earlier master may have leased: they may not run twice.

        They are astray until then, for workers to bring their results.
        """
        if piece in job.astray:
            job.astray.remove(piece)
            text = "its master was lost, its worker may have run it, and it may not run twice"
            self.fail(job, piece, Kind.MASTER_LOST, Failure("MasterLost", text))

    def refuse(self, job: JobState, first: int, kinds: bytes, batch: Batch) -> None:
        """Give messages that failed at their client their outcome, which is their payload."""
        if job.done.add(first, first + batch.n) == [(first, first + batch.n)]:
            self._fail(job, first, kinds, batch, 0)

    def _fail(self, job: JobState, first: int, kinds: bytes, batch: Batch, attempts: int) -> None:
        self._send_outcome(job, _failed(job, first, kinds, batch, attempts), batch)

    def settle(
        self,
        message: Result,
        batch: Batch,
        worker: str,
        now: float,
        *,
        late: bool,
        lease: Lease | None = None,
    ) -> list[Piece]:
        """Turn a result into an outcome, if its messages have none yet.

        Return those of a ``lease`` that are to be tried again. A failure that belongs to no
        lease and is worth another try is dropped: its messages wait, or run, elsewhere.
        """
        client = self._clients.get(message.session)
        job = client.jobs.get(message.job) if client is not None else None
        if job is None:
            self._park(message, batch, worker, now)
            return []
        first = message.first
        if job.known.missing(first, first + message.n):
            return self._settle_known(job, message, batch, worker, now, late=late, lease=lease)
        if message.kinds and job.terms.retries:
            again = _worth_it(job, message, batch, lease.raised if lease is not None else 0)
            if any(again):
                return self._settle_rest(job, message, batch, worker, again, lease)
        self._settle(job, message, batch, worker, late=late)
        return []

    def _settle_known(
        self,
        job: JobState,
        message: Result,
        batch: Batch,
        worker: str,
        now: float,
        *,
        late: bool,
        lease: Lease | None,
    ) -> list[Piece]:
        """Settle those messages of a result that are known; its client may bring the others."""
        again: list[Piece] = []
        first = message.first
        for start, stop in job.known.missing(first, first + message.n):
            a, b = start - first, stop - first
            self._park(_cut_result(message, a, b), batch.cut(a, b), worker, now)
        for start, stop in job.known.found(first, first + message.n):
            a, b = start - first, stop - first
            part = _cut_result(message, a, b)
            again += self.settle(part, batch.cut(a, b), worker, now, late=late, lease=lease)
        return again

    def _settle_rest(
        self,
        job: JobState,
        message: Result,
        batch: Batch,
        worker: str,
        again: list[bool],
        lease: Lease | None,
    ) -> list[Piece]:
        """Settle what is not to be tried ``again``; return what is."""
        pieces = []
        for retried, run in groupby(range(message.n), again.__getitem__):
            indices = list(run)
            a, b = indices[0], indices[-1] + 1
            if not retried:
                part = _cut_result(message, a, b)
                self._settle(job, part, batch.cut(a, b), worker, late=lease is None)
            elif lease is not None:
                pieces.append(lease.again(message.first + a, message.first + b))
            else:
                self.late_results += b - a
        return pieces

    def _settle(
        self, job: JobState, message: Result, batch: Batch, worker: str, *, late: bool
    ) -> None:
        first = message.first
        new = job.done.add(first, first + message.n)
        if late or len(new) != 1 or new[0] != (first, first + message.n):
            self.late_results += message.n - sum(stop - start for start, stop in new)
            job.late = job.late or late
        for start, stop in new:
            self._deliver(job, message, batch, start, stop, worker)

    def _deliver(
        self, job: JobState, message: Result, batch: Batch, start: int, stop: int, worker: str
    ) -> None:
        a, b = start - message.first, stop - message.first
        before = sum(memoryview(message.durations).cast("f")[:a]) if a else 0.0
        outcome = Outcome(
            0,
            0,
            job.id,
            start,
            stop - start,
            message.attempt,
            message.codec,
            worker,
            message.started + before,
            message.durations[4 * a : 4 * b],
            message.kinds[a:b],
        )
        self._send_outcome(job, outcome, batch.cut(a, b))

    def _send_outcome(self, job: JobState, outcome: Outcome, batch: Batch) -> None:
        self.meter.settled(job, outcome)
        if job.then is not None:
            job.then(outcome, batch)
            return
        if self._taps.observers:
            self._show(job, outcome, batch)
        if job.ledger is not None:
            self._record(job, outcome, batch)
            return
        client = job.session
        if client.role == "upstream":
            job.kept.append((outcome, batch))
            self._send(client, outcome, batch)
            return
        client.serial += 1
        outcome.serial = client.serial
        client.outcomes.append((outcome, batch))
        job.unacked += 1
        self._send(client, outcome, batch)

    def _show(self, job: JobState, outcome: Outcome, batch: Batch) -> None:
        target = job.session.name if job.session.role == "upstream" else CLIENTS
        kinds = outcome.kinds or bytes(outcome.n)
        self._taps.outgoing(target, job.chain, job.id, outcome.first, batch, outcome.codec, kinds)

    def answer_again(self, job: JobState, first: int, n: int) -> None:
        """Send what became of messages of an earlier stage's job once more.

        Those that were released may come again as well, along with others of their batch: their
        client has an outcome, and takes no other.
        """
        for outcome, batch in job.kept:
            if first < outcome.first + outcome.n and outcome.first < first + n:
                self._send(job.session, outcome, batch)
        for start, stop in job.released.found(first, first + n):
            failure = encode_failure(Failure("StageLost", "its outcome was released before"))
            kinds = bytes([Kind.STAGE_LOST]) * (stop - start)
            batch = Batch.pack([failure] * (stop - start))
            self._send(job.session, _failed(job, start, kinds, batch, 0), batch)

    def _send(self, client: ClientSession, outcome: Outcome, batch: Batch) -> None:
        if client.peer is not None:
            outcome.link = client.link
            self._effects.append(Send(client.peer, outcome, batch))

    def _park(self, message: Result, batch: Batch, worker: str, now: float) -> None:
        """Keep a result for a client that has not come back yet after our restart."""
        key = (message.session, message.job)
        if self._park_until is None or now >= self._park_until:
            self.late_results += message.n
            return
        if key not in self._parked:
            self._parked[key] = []
            self._timers.at(self._park_until, self._drop_parked, key)
        self._parked[key].append((message, batch, worker))

    def _drop_parked(self, key: tuple[bytes, bytes], now: float) -> None:
        for message, _, _ in self._parked.pop(key, ()):
            self.late_results += message.n

    def unpark(self, job: JobState, now: float) -> None:
        """Settle what was kept for a job whose messages have come."""
        if not self._parked:
            return
        parked = self._parked.pop((job.home.id, job.id), ())
        for message, batch, worker in parked:
            self.settle(message, batch, worker, now, late=True)


def _failed(job: JobState, first: int, kinds: bytes, batch: Batch, attempts: int) -> Outcome:
    n, durations = batch.n, bytes(4 * batch.n)
    return Outcome(0, 0, job.id, first, n, attempts, Codec.MSGPACK, "", 0.0, durations, kinds)


def _worth_it(job: JobState, message: Result, batch: Batch, raised: int) -> list[bool]:
    """Return of each message whether it failed and is to be tried again."""
    payloads = batch.payloads() if job.terms.retry_on else [b""] * message.n
    return [
        kind == Kind.TASK_ERROR
        and message.first + at not in job.done
        and is_worth_it(job.terms, raised + 1, _failure_in(payload))
        for at, (kind, payload) in enumerate(zip(message.kinds, payloads, strict=True))
    ]


def _failure_in(payload: Buffer) -> Failure | None:
    try:
        return decode_failure(payload) if payload else None
    except WireError:  # the client says so
        return None


def _cut_result(message: Result, a: int, b: int) -> Result:
    return replace(
        message,
        first=message.first + a,
        n=b - a,
        started=message.started + (sum(memoryview(message.durations).cast("f")[:a]) if a else 0.0),
        durations=message.durations[4 * a : 4 * b],
        kinds=message.kinds[a:b],
    )
