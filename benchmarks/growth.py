"""What a master's rules cost a message, as a cluster grows: counted, not timed.

The machine is driven by hand, without sockets and with a clock of its own. Workers answer their
leases in turn; clients acknowledge outcomes, and send as much as they got back. What is counted is
calls of Python functions, which no other load of the machine changes.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from dataclasses import dataclass
from itertools import count
from types import FrameType
from typing import Any

from palm.protocol.effects import Effect, Send
from palm.protocol.events import Event, Received, Tick
from palm.protocol.master import MasterMachine
from palm.protocol.store import Store
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import (
    VERSION,
    Ack,
    Hello,
    Message,
    Outcome,
    Result,
    Submit,
    Task,
    Welcome,
)

__all__ = ["MOST_GROWTH", "SIZES", "Size", "calls_of_a_message"]

#: Seconds that a call takes: leases are of a few messages, so that their handling is what counts.
SECONDS = 0.004

#: Messages in one SUBMIT.
SUBMITTED = 1000


#: What a message may cost in the largest cluster, as a multiple of its cost in the smallest.
MOST_GROWTH = 1.25


@dataclass(frozen=True)
class Size:
    """Of a cluster: workers, clients, and messages that are leased or wait for it."""

    workers: int
    clients: int
    messages: int

    def __str__(self) -> str:
        return f"{self.workers:,} workers, {self.clients:,} clients, {self.messages:,} queued"


#: From a small cluster up to the largest that is promised, in one direction at a time and in all.
SIZES = (
    Size(2, 2, 10_000),
    Size(1_000, 2, 1_000_000),
    Size(2, 10_000, 10_000_000),
    Size(2, 2, 10_000_000),
    Size(1_000, 10_000, 10_000_000),
)


class _Cluster:
    """A master's machine with its peers, all welcomed and busy."""

    def __init__(self, size: Size) -> None:
        self.now = 0.0
        self.done = 0
        links = count(1)
        self._machine = MasterMachine("foo", b"epoch", {}, lambda: next(links), Store())
        self._links: dict[bytes, int] = {}
        self._tasks: deque[tuple[bytes, Task, Batch]] = deque()
        self._sent: dict[bytes, int] = {}
        self._owed: dict[bytes, int] = {}
        self._batch = Batch.pack([b"%016d" % at for at in range(SUBMITTED)])
        self._step = SECONDS / size.workers
        for at in range(size.workers):
            self._greet(b"w%d" % at, "worker", ["f"])
        for at in range(size.clients):
            self._greet(b"c%d" % at, "client", [])
        clients = [peer for peer in self._links if peer.startswith(b"c")]
        for at in range(size.messages // SUBMITTED):
            self._submit(clients[at % len(clients)])

    def work(self, messages: int) -> None:
        """Let workers answer so many messages."""
        until = self.done + messages
        while self.done < until:
            peer, task, batch = self._tasks.popleft()
            self.now += task.n * self._step
            self.done += task.n
            result = Result(
                self._links[peer], task.lease, task.session, task.job, task.first, task.n,
                task.attempt, Codec.RAW, 0.0, struct.pack(f"<{task.n}f", *[SECONDS] * task.n), b"",
            )  # fmt: skip
            self._receive(peer, result, batch)
            due = self._machine.next_deadline
            if due is not None and due <= self.now:
                self._handle(Tick())

    def _greet(self, peer: bytes, role: str, functions: list[str]) -> None:
        name = peer.decode()
        session = peer.ljust(16, b".")
        hello = Hello(0, VERSION, role, name, session, "foo", functions, [], b"epoch")
        self._handle(Received(peer, hello, None, frozenset({role}), True))

    def _submit(self, peer: bytes) -> None:
        first = self._sent.get(peer, 0)
        self._sent[peer] = first + SUBMITTED
        job = peer.ljust(8, b".")
        submit = Submit(self._links[peer], job, first, SUBMITTED, "foo.f", Codec.RAW, False)
        self._receive(peer, submit, self._batch)

    def _receive(self, peer: bytes, message: Message, batch: Batch | None = None) -> None:
        self._handle(Received(peer, message, batch))

    def _handle(self, event: Event) -> None:
        self._perform(self._machine.handle(event, self.now))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, Send):
                continue
            message: Any = effect.message
            if isinstance(message, Task) and effect.batch is not None:
                self._tasks.append((effect.peer, message, effect.batch))
            elif isinstance(message, Outcome):
                self._took(effect.peer, message)
            elif isinstance(message, Welcome):
                self._links[effect.peer] = message.link

    def _took(self, peer: bytes, outcome: Outcome) -> None:
        self._receive(peer, Ack(self._links[peer], outcome.serial))
        self._owed[peer] = self._owed.get(peer, 0) + outcome.n
        if self._owed[peer] >= SUBMITTED:
            self._owed[peer] -= SUBMITTED
            self._submit(peer)


def calls_of_a_message(size: Size, messages: int = 20_000) -> float:
    """Return how many calls of Python functions a master's rules take for one message."""
    cluster = _Cluster(size)
    # Leases have grown to their size by then, and each worker had several.
    cluster.work(20 * size.workers + messages)
    calls = 0

    def counted(frame: FrameType, what: str, argument: object) -> None:
        nonlocal calls
        calls += what == "call"

    before = cluster.done
    sys.setprofile(counted)
    try:
        cluster.work(messages)
    finally:
        sys.setprofile(None)
    return calls / (cluster.done - before)
