"""What becomes of messages: results are turned into outcomes, once, and kept until acknowledged.

Outcomes belong to the client's session: they are sent again over its next link. Results of jobs
that are not known yet are kept for a while after a start: their clients are about to come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from palm.protocol.effects import Effect, Send
from palm.protocol.jobs import ClientSession, JobState, Piece
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Outcome, Result
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["Settlement"]

#: Seconds after a start for which results of jobs not known yet are kept for their clients.
PARK_FOR: Final = 10.0


class Settlement:
    """Gives messages their outcomes; effects are added to the list of the master it serves."""

    def __init__(
        self, clients: Mapping[bytes, ClientSession], timers: Timers, effects: list[Effect]
    ) -> None:
        #: Results of messages that had their outcome by then, or nobody to get it.
        self.late_results = 0
        self._clients = clients
        self._timers = timers
        self._effects = effects
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

    def resend(self, client: ClientSession) -> None:
        """Send what a client has not acknowledged over its new link."""
        for outcome, batch in client.outcomes:
            outcome.link = client.link
            if client.peer is not None:
                self._effects.append(Send(client.peer, outcome, batch))

    def fail(self, job: JobState, piece: Piece, kind: Kind, failure: Failure) -> None:
        """Give messages that wait the outcome ``failure``."""
        payload = encode_failure(failure)
        for start, stop in job.done.add(piece.first, piece.first + piece.n):
            n = stop - start
            outcome = Outcome(
                0,
                0,
                job.id,
                start,
                n,
                piece.attempts,
                Codec.MSGPACK,
                "",
                0.0,
                bytes(4 * n),
                bytes([kind]) * n,
            )
            self._send_outcome(job, outcome, Batch.pack([payload] * n))

    def settle(self, message: Result, batch: Batch, worker: str, now: float, *, late: bool) -> None:
        """Turn a result into an outcome, if its messages have none yet."""
        client = self._clients.get(message.session)
        job = client.jobs.get(message.job) if client is not None else None
        if job is None:
            self._park(message, batch, worker, now)
            return
        first = message.first
        if job.known.missing(first, first + message.n):
            self._park(message, batch, worker, now)
            return
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
        client = job.session
        client.serial += 1
        outcome.serial, outcome.link = client.serial, client.link
        client.outcomes.append((outcome, batch))
        job.unacked += 1
        if client.peer is not None:
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
        parked = self._parked.pop((job.session.id, job.id), ())
        for message, batch, worker in parked:
            self.settle(message, batch, worker, now, late=True)
