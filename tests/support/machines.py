"""Machines by hand: events in, effects out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import count
from typing import Any

from palm.protocol.effects import Effect, Send
from palm.protocol.events import PeerLost, Received, StopRequested, Tick
from palm.protocol.master import MasterMachine
from palm.protocol.store import Store
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import (
    VERSION,
    Hello,
    Message,
    Outcome,
    Result,
    Submit,
    Task,
    Terms,
    Welcome,
)

__all__ = ["MasterBench", "Peer", "payloads"]

ROLES = frozenset({"client", "worker", "observer"})


class Peer:
    """One connection to a master under test."""

    def __init__(self, bench: MasterBench, role: str, name: str, session: bytes) -> None:
        self.bench = bench
        self.id = bench.new_peer(self)
        self.role, self.name, self.session = role, name, session
        self.link = 0
        self.inbox: list[tuple[Message, Batch | None]] = []

    def hello(
        self,
        functions: Sequence[str] = (),
        holds: Sequence[int] = (),
        server: str = "foo",
        version: int = VERSION,
        roles: frozenset[str] = ROLES,
        local: bool = True,
        epoch: bytes | None = None,
        lease_seconds: float = 0.0,
        process: bytes = b"",
    ) -> None:
        """Greet, and take the link that comes; ``epoch`` is that of what it holds."""
        self.functions = list(functions)
        hello = Hello(
            0, version, self.role, self.name, self.session, server, list(functions), list(holds),
            self.bench.master.epoch if epoch is None else epoch, lease_seconds=lease_seconds,
            process=process,
        )  # fmt: skip
        self.bench.handle(Received(self.id, hello, None, roles, local))
        welcomes = [m for m, _ in self.inbox if isinstance(m, Welcome)]
        if welcomes:
            self.link = welcomes[-1].link

    def send(self, message: Message, batch: Batch | None = None) -> None:
        """Send a message over the link."""
        message.link = self.link
        self.bench.handle(Received(self.id, message, batch))

    def lose(self) -> None:
        """Lose the connection."""
        self.bench.handle(PeerLost(self.id))

    def reconnect(self, **hello: Any) -> Peer:
        """Come back over a new connection with the same session."""
        peer = Peer(self.bench, self.role, self.name, self.session)
        peer.hello(functions=self.functions, **hello)
        return peer

    def take(self, kind: type) -> list[Any]:
        """Take the messages of a kind out of the inbox."""
        taken = [m for m, _ in self.inbox if isinstance(m, kind)]
        self.inbox = [pair for pair in self.inbox if not isinstance(pair[0], kind)]
        return taken

    # As a client

    def submit(
        self, job: bytes, items: Sequence[bytes], *, first: int = 0, last: bool = True,
        function: str = "foo.f", terms: Terms | None = None, partitions: bytes = b"",
        may_have_begun: bool = False, waited: float = 0.0,
    ) -> None:  # fmt: skip
        """Submit messages."""
        batch = Batch.pack(list(items))
        submit = Submit(
            0, job, first, batch.n, function, Codec.RAW, last, terms, partitions, may_have_begun,
            waited=waited,
        )  # fmt: skip
        self.send(submit, batch)

    def outcomes(self) -> dict[int, tuple[int, bytes]]:
        """Take (kind, payload) of each outcome by message; twice the same message is an error."""
        found: dict[int, tuple[int, bytes]] = {}
        for message, batch in self.inbox:
            if isinstance(message, Outcome):
                assert batch is not None
                for at, payload in enumerate(batch.payloads()):
                    index = message.first + at
                    assert index not in found, f"message {index} has two outcomes"
                    found[index] = (message.kinds[at] if message.kinds else 0, bytes(payload))
        self.inbox = [pair for pair in self.inbox if not isinstance(pair[0], Outcome)]
        return found

    # As a worker

    def tasks(self) -> list[tuple[Task, Batch]]:
        """Take the leases that came."""
        found = [(m, b) for m, b in self.inbox if isinstance(m, Task) and b is not None]
        self.inbox = [pair for pair in self.inbox if not isinstance(pair[0], Task)]
        return found

    def answer(
        self, task: Task, batch: Batch, start: int = 0, stop: int | None = None,
        seconds: float = 0.001,
    ) -> None:  # fmt: skip
        """Answer messages of a lease with themselves."""
        part = batch.cut(start, batch.n if stop is None else stop)
        durations = struct.pack(f"<{part.n}f", *[seconds] * part.n)
        self.send(
            Result(
                0, task.lease, task.session, task.job, task.first + start, part.n, task.attempt,
                Codec.RAW, 0.0, durations, b"",
            ),
            part,
        )  # fmt: skip

    def work(self, seconds: float = 0.001) -> list[int]:
        """Answer all leases that come until none does; return their sizes."""
        sizes = []
        while tasks := self.tasks():
            for task, batch in tasks:
                sizes.append(task.n)
                self.answer(task, batch, seconds=seconds)
        return sizes


class MasterBench:
    """A master machine, its clock, and the peers that talk to it."""

    def __init__(self, *, store: Store | None = None, **options: Any) -> None:
        self.now = 0.0
        self.effects: list[Effect] = []
        self._peers = count(1)
        self._links = count(1000)
        self._all: dict[bytes, Peer] = {}
        #: What the cache holds.
        self.values: dict[str, bytes] = {}
        store = Store(self.values) if store is None else store
        self.master = MasterMachine(
            "foo", b"epoch", {"ipc": "ipc:///x"}, lambda: next(self._links), store, **options
        )

    def new_peer(self, peer: Peer) -> bytes:
        """Return a routing id for a connection."""
        routing_id = next(self._peers).to_bytes(4, "big")
        self._all[routing_id] = peer
        return routing_id

    def peer(self, role: str, name: str, **hello: Any) -> Peer:
        """Return a peer that was welcomed."""
        peer = Peer(self, role, name, name.encode().ljust(16, b"."))
        peer.hello(**hello)
        return peer

    def peers(self) -> list[Peer]:
        """Return all connections there ever were."""
        return list(self._all.values())

    def worker(self, name: str = "w", functions: Sequence[str] = ("f",), **hello: Any) -> Peer:
        """Return a worker."""
        return self.peer("worker", name, functions=functions, **hello)

    def client(self, name: str = "client", **hello: Any) -> Peer:
        """Return a client."""
        return self.peer("client", name, **hello)

    def handle(self, event: Any) -> list[Effect]:
        """Let an event happen, and put what is sent into the inboxes."""
        effects = self.master.handle(event, self.now)
        self.effects += effects
        for effect in effects:
            if isinstance(effect, Send):
                self._inbox(effect.peer).append((effect.message, effect.batch))
        self.master.check_invariants()
        return effects

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tick whenever one is due."""
        until = self.now + seconds
        while (due := self.master.next_deadline) is not None and due <= until:
            self.now = max(self.now, due)
            self.handle(Tick())
        self.now = until

    def stop(self, grace: float = 5.0) -> list[Effect]:
        """Ask the master to stop."""
        return self.handle(StopRequested(grace))

    def _inbox(self, peer: bytes) -> list[tuple[Message, Batch | None]]:
        return self._all[peer].inbox


def payloads(n: int) -> list[bytes]:
    """Return ``n`` payloads that differ."""
    return [b"%d" % i for i in range(n)]
