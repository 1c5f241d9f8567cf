"""The worker's rules: run leases in order, answer each message once, give back what it may.

While the link is down nothing new is begun; results wait. After WELCOME only the leases that the
master still counts are run; results of others are sent all the same, since their messages may
still be open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf

from palm.protocol.effects import Effect, Invoke, Send, Stopped
from palm.protocol.events import (
    Completed,
    Connected,
    Event,
    Garbled,
    Received,
    StopRequested,
    Tick,
    Wanted,
)
from palm.protocol.link import Identity, Link, State
from palm.protocol.meter import Counts, Meter
from palm.protocol.requests import Requests
from palm.protocol.timers import Timers
from palm.wire.batch import Batch
from palm.wire.message import Bye, Kept, Recall, Result, Returned, Revoke, Task, Welcome

__all__ = ["Lost", "Retire", "WorkerMachine"]


class Retire(StopRequested):
    """Stop, and let another process take this one's place; ``reason`` says why."""

    reason: str = ""


class Lost(StopRequested):
    """The process that ran the messages of the lease is gone; ``reason`` says how.

    Its worker ends as if it were that process: the master gives its work to others.
    """

    reason: str = ""


@dataclass(slots=True)
class _Held:
    """A lease: ``at`` counts its messages that were run."""

    task: Task
    batch: Batch
    at: int = 0
    #: The master does not count it any more; its results have no lease.
    stale: bool = False
    #: Nobody wants it: give back what was not run.
    revoked: bool = False
    came: float = 0.0


class WorkerMachine:
    """One worker; see `handle`.

    ``messages`` is the number of messages after which it stops (None: never), ``tasks`` that
    after which it retires.
    """

    def __init__(
        self, identity: Identity, messages: int | None = None, tasks: int | None = None
    ) -> None:
        self._effects: list[Effect] = []
        self._timers = Timers()
        self.link = Link(identity, self._timers, self._effects)
        self._requests = Requests(self._effects)
        self._held: dict[int, _Held] = {}
        self._running: tuple[_Held, Invoke] | None = None
        self._outbox: list[tuple[Result, Batch]] = []
        limits = [limit for limit in (messages, tasks) if limit is not None]
        self._messages = min(limits, default=None)
        self._retires = tasks is not None and tasks == self._messages != messages
        self._reason = ""
        #: Another process is to take this one's place.
        self.retired = False
        self._stopping = False
        self._stopped = False
        self._meter = Meter()
        #: Up to when the time that functions took is counted.
        self._since = 0.0

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is due."""
        return self._timers.next_deadline

    @property
    def idle(self) -> bool:
        """Whether it runs nothing."""
        return self._running is None

    def counts(self) -> Counts:
        """Return what was counted since the start, and what it holds; any thread may ask."""
        queued: Counter[str] = Counter()
        running: Counter[str] = Counter()
        now = self._running
        for held in list(self._held.values()):
            count = running if now is not None and held is now[0] else queued
            count[held.task.function] += held.batch.n - held.at
        return self._meter.held(queued, running)

    def start(self, now: float) -> list[Effect]:
        """Begin to look for the master."""
        self.link.start(now)
        return self._take_effects()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """React to an event that happened at ``now`` (seconds on a monotonic clock)."""
        self._meter.now = now
        if isinstance(event, Completed):
            self._completed(event)
        elif isinstance(event, Tick):
            self._timers.run(now)
        elif isinstance(event, Lost):
            self._reason = event.reason
            self._leave(lost=self._running is not None)
        elif isinstance(event, StopRequested):
            if isinstance(event, Retire) and not self._stopping:
                self.retired, self._reason = True, event.reason
            self._stop(event.grace, now)
        elif isinstance(event, Wanted):
            self._requests.add(event, self.link.id if self.link.up else 0)
        elif not isinstance(event, Garbled):
            self._link_event(event, now)
        if self.link.state is State.FAILED and not self._stopped:
            self._stopped = True
            self._effects.append(Stopped(self.link.error))
        return self._take_effects()

    def _take_effects(self) -> list[Effect]:
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def _link_event(self, event: Event, now: float) -> None:
        welcome = self.link.handle(event, self._holds(), now)
        if welcome is not None:
            self._welcomed(welcome)
        elif isinstance(event, Received):
            if self.link.up and event.message.link == self.link.id:
                self._receive(event)
        elif isinstance(event, Connected):
            for held in self._held.values():
                held.task.link = 0

    def _holds(self) -> list[int]:
        held = [lease for lease, held in self._held.items() if not held.stale]
        waiting = [result.lease for result, _ in self._outbox if result.lease]
        return list(dict.fromkeys(waiting + held))

    def _welcomed(self, welcome: Welcome) -> None:
        keep = set(welcome.keep)
        for lease, held in list(self._held.items()):
            if lease in keep:
                continue
            held.stale = True
            if self._running is not None and held is self._running[0]:
                self._running[1].stop = 0
            else:
                del self._held[lease]
        for result, batch in self._outbox:
            self._send_result(result, batch, counted=result.lease in keep)
        self._outbox.clear()
        # Of these the rest was let go, or the answer was lost with the link before.
        self._return([lease for lease in welcome.keep if lease not in self._held])
        self._requests.resend(self.link.id)
        if self._stopping and self._running is None:
            self._leave()
        else:
            self._run_next()

    def _receive(self, event: Received) -> None:
        message = event.message
        if isinstance(message, Task) and event.batch is not None:
            self._held[message.lease] = _Held(message, event.batch, came=self._meter.now)
            self._run_next()
        elif isinstance(message, Recall):
            self._give_back(message.leases)
        elif isinstance(message, Revoke):
            self._revoke(message)
        elif isinstance(message, Kept):
            self._requests.answered(message, event.batch)

    def _revoke(self, message: Revoke) -> None:
        if self._running is not None and self._running[0].task.lease in message.leases:
            held, invoke = self._running
            held.revoked, invoke.stop = True, 0
        self._give_back(message.leases)

    def _unbegun(self, lease: int) -> bool:
        held = self._held.get(lease)
        return held is not None and (self._running is None or held is not self._running[0])

    def _give_back(self, leases: list[int]) -> None:
        """Return those that are not begun."""
        unbegun = [lease for lease in dict.fromkeys(leases) if self._unbegun(lease)]
        for lease in unbegun:
            del self._held[lease]
        self._return(unbegun)

    def _return(self, leases: list[int]) -> None:
        if leases:
            self._effects.append(Send(b"", Returned(self.link.id, leases)))

    def _run_next(self) -> None:
        if self._running is not None or self._stopping or not self.link.up:
            return
        for held in self._held.values():
            self._invoke(held)
            return

    def _invoke(self, held: _Held) -> None:
        stop = held.batch.n
        if self._messages is not None:
            stop = min(stop, held.at + self._messages)
        invoke = Invoke(held.task, held.batch, held.at, stop)
        self._running = (held, invoke)
        self._since = self._meter.now
        self._effects.append(invoke)

    def _completed(self, event: Completed) -> None:
        if self._running is None:
            return
        held, _ = self._running
        if event.n:
            self._answer(held, event)
        if not event.over:
            return
        self._running = None
        over = held.stale or held.revoked or held.at >= held.batch.n
        lease = held.task.lease
        if over and self._held.get(lease) is held:
            del self._held[lease]
            if held.revoked and held.at < held.batch.n and self.link.up and not held.stale:
                self._return([lease])
        if self._messages == 0 and not self._stopping:
            self._stopping = True
            self.retired = self._retires
            self._reason = "it ran as many messages as it may" if self.retired else ""
        if not self._stopping:
            self._run_next()
        elif self.link.up or not self._outbox:
            self._leave()  # else what is done goes out first, when the master is back

    def _answer(self, held: _Held, event: Completed) -> None:
        task = held.task
        self._count(held, event)
        result = Result(
            0,
            task.lease,
            task.session,
            task.job,
            task.first + held.at,
            event.n,
            task.attempt,
            event.codec,
            event.started,
            event.durations,
            event.kinds,
        )
        held.at += event.n
        if self._messages is not None:
            self._messages -= event.n
        if self.link.up:
            self._send_result(result, event.batch, counted=not held.stale)
        else:
            self._outbox.append((result, event.batch))

    def _count(self, held: _Held, event: Completed) -> None:
        now, counts = self._meter.now, self._meter.function(held.task.function)
        counts.answered(event.n, event.kinds)
        counts.waited(now - held.came, event.n)
        counts.seconds += now - self._since
        self._since = now

    def _send_result(self, result: Result, batch: Batch, *, counted: bool) -> None:
        result.link = self.link.id
        if not counted:
            result.lease = 0
        self._effects.append(Send(b"", result, batch))

    def _stop(self, grace: float, now: float) -> None:
        self._stopping = True
        if grace < inf:
            self._timers.at(now + grace, self._too_late)  # the earliest one counts
        if self._running is not None:
            self._running[1].stop = 0
        elif self.link.up or not self._outbox:
            self._leave()

    def _too_late(self, now: float) -> None:
        self._leave()

    def _leave(self, *, lost: bool = False) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self.link.up:
            begun = [self._running[0].task.lease] if self._running is not None else []
            reason = self._reason or "it was stopped"
            self._effects.append(Send(b"", Bye(self.link.id, reason, begun, lost)))
        self._effects.append(Stopped())
