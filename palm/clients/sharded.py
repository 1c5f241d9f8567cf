"""Several masters as one: the connections of a client whose jobs are shared over them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from msgspec.structs import replace

from palm.clients.connection import Connection
from palm.clients.feeder import Feeder
from palm.clients.job import Job
from palm.errors import ConfigError, PalmError
from palm.protocol import events
from palm.protocol.effects import Deliver, Fail, Ready
from palm.protocol.shares import Shares
from palm.wire.batch import Batch
from palm.wire.message import Answer, Terms

__all__ = ["Shards", "check_job"]

#: Makes a connection to the master of a name: what to do for its effects, and what when it idles.
Connect = Callable[[str, dict[type, Callable[[Any], None]], Callable[[], bool | None]], Connection]


def check_job(function: object, terms: Terms | None, key: object) -> None:
    """Refuse what only one master can promise of a job; raises `ConfigError`."""
    if not isinstance(function, str) or "." in function:
        hint = "the bare name of a function that workers of each of them serve"
        raise ConfigError(f"{function!r} for several masters", key="function", hint=hint)
    if terms is not None and terms.journaled:
        what, hint = "durable", "a durable job belongs to one master: Client(NAME)"
    elif key is not None:
        what, hint = "key", "equal keys must have one master: Client(NAME)"
    else:
        return
    raise ConfigError(f"{what}= for a job that several masters share", key=what, hint=hint)


class Shards:
    """What a client needs of its connection, with one to each master.

    Parameters
    ----------
    perform
        As of `palm.clients.connection.Connection`; called in the threads of all connections.
    """

    def __init__(
        self,
        names: Sequence[str],
        connect: Connect,
        perform: dict[type, Callable[[Any], None]],
        idle: Callable[[], bool | None],
    ) -> None:
        self.active: dict[bytes, tuple[Job, Feeder]] = {}
        self._perform = perform
        self._lock = threading.Lock()
        self._shares: dict[bytes, Shares] = {}
        self._connections = [
            connect(name, self._handlers(at), idle if at == 0 else _nothing)
            for at, name in enumerate(names)
        ]

    def start(self) -> None:
        """Begin to look for the masters."""
        for connection in self._connections:
            connection.start()

    def post(self, event: events.Event) -> None:
        """Let an event happen where it belongs, from any thread."""
        if isinstance(event, events.Submitted):
            self._submit(event)
        elif isinstance(event, events.Asked):
            self._ask(event)
        elif isinstance(event, events.Wanted):
            hint = "each master keeps values of its own: Client(NAME)"
            raise ConfigError("shared values of several masters", hint=hint)
        else:
            if isinstance(event, events.Cancelled):
                self._forget(event.job)
            for connection in self._connections:
                connection.post(event)

    def wake(self) -> None:
        """Have ``idle`` called soon."""
        self._connections[0].wake()

    def close(self, timeout: float | None = None) -> None:
        """Say goodbye to all; see `Connection.close`."""
        for connection in self._connections:
            connection.close(timeout)

    def _submit(self, event: events.Submitted) -> None:
        """Give each master its part of a batch; where it is the last one, tell all that it is."""
        with self._lock:
            shares = self._shares.get(event.job)
            if shares is None:
                shares = self._shares[event.job] = Shares(len(self._connections))
            batch = event.batch
            for part in shares.submit(event.first, batch.n, time.monotonic()) if batch.n else ():
                cut = batch.cut(part.start, part.start + part.n)
                submitted = replace(event, first=part.first, batch=cut, last=False)
                self._connections[part.master].post(submitted)
            if event.last:
                nothing = Batch.pack([])
                for at, connection in enumerate(self._connections):
                    connection.post(replace(event, first=shares.count(at), batch=nothing))

    def _ask(self, event: events.Asked) -> None:
        """Ask each master for its part of so many workers, and at least for one."""
        answers = _Answers(event, len(self._connections))
        part = ceil(event.workers / len(self._connections))
        for connection in self._connections:
            connection.post(events.Asked(answers.take, part))

    def _forget(self, job: bytes) -> None:
        with self._lock:
            self._shares.pop(job, None)

    # In the threads of the connections

    def _handlers(self, master: int) -> dict[type, Callable[[Any], None]]:
        return {
            **self._perform,
            Deliver: lambda effect: self._deliver(master, effect),
            Fail: lambda effect: self._fail(master, effect),
            Ready: _nothing_with,
        }

    def _deliver(self, master: int, effect: Deliver) -> None:
        outcome = effect.outcome
        with self._lock:
            shares = self._shares.get(effect.job)
            if shares is None:
                return
            shares.answer(master, outcome.n, time.monotonic())
            places = shares.places(master, outcome.first, outcome.n)
            inputs = [
                (ours, codec, batch.cut(at, at + n))
                for first, codec, batch in effect.inputs
                for at, ours, n in shares.places(master, first, batch.n)
            ]
        for at, ours, n in places:
            part = replace(outcome.cut(at, at + n), first=ours)
            batch = effect.batch.cut(at, at + n)
            self._perform[Deliver](Deliver(effect.job, part, batch, inputs))
        if effect.job not in self.active:
            self._forget(effect.job)

    def _fail(self, master: int, effect: Fail) -> None:
        """Let what one master has no outcome for fail as a whole, also at the others."""
        keys = list(self.active) if effect.job is None else [effect.job]
        self._perform[Fail](effect)
        for key in keys:
            self._forget(key)
            for at, connection in enumerate(self._connections):
                if at != master:
                    connection.post(events.Cancelled(key))


class _Answers:
    """Collects the answers of all masters to one question."""

    def __init__(self, event: events.Asked, n: int) -> None:
        self._event = event
        self._left = n
        self._workers = 0
        self._lock = threading.Lock()

    def take(self, answer: Answer | None, error: PalmError | None) -> None:
        """Take one; hand them over when it is the last, or an error."""
        with self._lock:
            if self._left <= 0:
                return
            self._left = 0 if error is not None else self._left - 1
            self._workers += answer.workers if answer is not None else 0
            if self._left:
                return
        whole = None if answer is None else replace(answer, workers=self._workers)
        self._event.call(whole, error)


def _nothing() -> None:
    """Do nothing: one of the connections sees to it."""


def _nothing_with(effect: object) -> None:
    """Do nothing: which of the masters is there does not matter."""
