"""Several components in one thread: real machines, a network and a clock driven by a seed.

Every component may be killed and started again, every connection may break, at any moment.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from palm.protocol.client import ClientMachine
from palm.protocol.effects import (
    DeadLetter,
    Deliver,
    Fail,
    ForgetJoined,
    Invoke,
    KeepJoined,
    Log,
    Note,
    Ready,
    Reconnect,
    Remember,
    Reply,
    Stopped,
)
from palm.protocol.entries import Joined
from palm.protocol.events import Cancelled, Completed, LookedUp, Submitted
from palm.protocol.flow import Way
from palm.protocol.link import Identity
from palm.protocol.stage import StageMachine
from palm.protocol.store import Store
from palm.protocol.upstream import Upstream
from palm.protocol.worker import WorkerMachine
from palm.runtime.driver import Driver
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.transport.base import Arrived, TransportEvent
from palm.transport.inner import INNER
from palm.transport.memory import MemoryConnector, MemoryListener, MemoryNetwork
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Terms
from palm.wire.outcome import Kind, decode_failure
from palm.wire.results import unpack_results

__all__ = ["Component", "Part", "World"]

Functions = Mapping[str, Callable[[Any], Any]]


class Board:
    """A listener and connections of one component; each end is handed over piece by piece."""

    def __init__(
        self, random_: Random, listener: MemoryListener | None, lines: dict[bytes, MemoryConnector]
    ) -> None:
        self._random = random_
        self.listener = listener
        self.lines = lines
        self._waiting: list[TransportEvent] = []

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return some of what arrived; the order of each connection stays."""
        if self.listener is not None:
            self._waiting += self.listener.receive(0.0)
        for peer, line in self.lines.items():
            for event in line.receive(0.0):
                event.peer = peer
                self._waiting.append(event)
        n = self._random.randint(0, len(self._waiting))
        events, self._waiting = self._waiting[:n], self._waiting[n:]
        return events

    def send(self, peer: bytes, frames: Sequence[Any]) -> None:
        """Send over a connection."""
        if peer in self.lines:
            self.lines[peer].send(b"", frames)
        elif self.listener is not None:
            self.listener.send(peer, frames)

    def probe(self, peer: bytes) -> None:
        """Report a peer that is gone."""
        if self.listener is not None and peer not in self.lines:
            self.listener.probe(peer)

    def wake(self) -> None:
        """Do nothing: nobody waits."""

    def break_line(self, peer: bytes) -> None:
        """Break a connection: what is on its way may be lost, on either side."""
        line = self.lines[peer]
        if line.connected:
            keep = self._random.randint(0, len(self._waiting))
            lost = [e for e in self._waiting[keep:] if isinstance(e, Arrived) and e.peer == peer]
            self._waiting = [event for event in self._waiting if event not in lost]
            line.break_off()

    def close(self) -> None:
        """Break all connections."""
        if self.listener is not None:
            self.listener.close()
        for line in self.lines.values():
            line.break_off()


class Part:
    """What a component is: its functions, what comes before it, and what it does with results."""

    def __init__(
        self,
        functions: Functions,
        previous: Sequence[tuple[str, str]] = (),
        *,
        pipelined: bool = False,
        way: Way | None = None,
        inside: bool = True,
        drops_none: bool = False,
        hooks: Functions | None = None,
    ) -> None:
        self.functions = FunctionTable(functions, hooks)
        self.previous = previous
        self.way = way or Way(pipelined=pipelined)
        self.inside = inside
        self.drops_none = drops_none


class Component:
    """One component, which may have several lives."""

    def __init__(self, world: World, name: str, part: Part) -> None:
        self.world, self.name, self.part = world, name, part
        self.stages: list[tuple[str, list[str]]] = []
        self.joined: dict[int, Joined] = {}
        #: It knows that no other process has its name.
        self.named = False
        self.start()

    def start(self) -> None:
        """Begin a life: nothing is known of the one before, but for the stages behind it."""
        world, random_ = self.world, self.world.random
        listener = world.network.listen(self.name)
        lines = {b"^%d" % at: world.network.connector() for at in range(len(self.part.previous))}
        self.board = Board(random_, listener, lines)
        self.machine = StageMachine(
            self.name,
            random_.randbytes(8),
            {"ipc": self.name},
            lambda: random_.getrandbits(63) | 1,
            Store({}),
            way=self.part.way,
            upstreams=self._upstreams,
            expected=self.stages,
            joined=list(self.joined.values()),
            jitter=random_.random,
        )
        self.driver = Driver(
            self.machine,
            self.board,
            {
                Log: world.note,
                DeadLetter: world.note,
                Stopped: world.fail,
                Ready: world.note,
                Remember: self._remember,
                KeepJoined: self._keep,
                ForgetJoined: self._forget,
                Reconnect: self._reconnect,
            },
            clock=lambda: world.now,
        )
        self.driver.perform(self.machine.start(world.now))
        self.worker = Runner(world, self.name, self.part) if self.part.inside else None

    def restart(self) -> None:
        """Kill it, with the worker inside, and start it again."""
        if self.worker is not None:
            self.worker.board.close()
        self.board.close()
        self.start()

    def step(self) -> None:
        """Let something happen in it."""
        self.driver.step(0.0)
        self.machine.check_invariants()
        if self.worker is not None:
            self.worker.step()

    def _upstreams(self, timers: Any) -> list[Upstream]:
        found = []
        for at, (where, topic) in enumerate(self.part.previous):
            session = self.world.random.randbytes(16)
            identity = Identity("stage", self.name, session, where, [], [topic], named=self.named)
            found.append(Upstream(b"^%d" % at, where, identity, timers))
        return found

    def _remember(self, effect: Remember) -> None:
        self.stages = [(name, list(topics)) for name, topics in effect.stages]

    def _keep(self, effect: KeepJoined) -> None:
        self.joined[effect.joined.id] = effect.joined

    def _forget(self, effect: ForgetJoined) -> None:
        del self.joined[effect.id]

    def _reconnect(self, effect: Reconnect) -> None:
        where = self.part.previous[int(effect.peer[1:])][0]
        self.board.lines[effect.peer].connect(where)
        found = self.world.network.find(where) is not None
        self.world.later.append((self.driver, LookedUp(found, (), effect.peer)))


class Runner:
    """A worker, inside of a component or beside it; its functions run at once."""

    def __init__(self, world: World, master: str, part: Part, *, user: str = INNER) -> None:
        self.world, self.master, self.part, self.user = world, master, part, user
        self.name = f"{master}-{world.random.getrandbits(30)}"
        self.start()

    def start(self) -> None:
        """Begin a life."""
        world = self.world
        line = world.network.connector(self.user)
        self.board = Board(world.random, None, {b"": line})
        role = "inner" if self.user == INNER else "worker"
        names = self.part.functions.names()
        identity = Identity(role, self.name, world.random.randbytes(16), self.master, names)
        self.machine = WorkerMachine(identity)
        self._executor = Executor(self.part.functions, drops_none=self.part.drops_none)
        self._invoke: Invoke | None = None
        self._answers: list[Completed] = []
        self.driver = Driver(
            self.machine,
            self.board,
            {
                Invoke: self._note,
                Ready: world.note,
                Reconnect: self._reconnect,
                Reply: world.note,
                Log: world.note,
                Note: world.note,
                Stopped: world.note,
            },
            clock=lambda: world.now,
        )
        self.driver.perform(self.machine.start(world.now))

    def restart(self) -> None:
        """Kill it and start it again."""
        self.board.close()
        self.start()

    def step(self) -> None:
        """Let something happen in it."""
        self.driver.step(0.0)
        if self._invoke is not None and self.world.random.random() < 0.7:
            invoke, self._invoke = self._invoke, None
            self.world.executions += max(0, invoke.stop - invoke.start)
            self._answers = self._executor.run(invoke)
        while self._answers and self.world.random.random() < 0.7:
            self.driver.handle(self._answers.pop(0))

    def _note(self, effect: Invoke) -> None:
        self._invoke = effect

    def _reconnect(self, effect: Reconnect) -> None:
        self.board.lines[b""].connect(self.master)
        found = self.world.network.find(self.master) is not None
        self.world.later.append((self.driver, LookedUp(found)))


class Job:
    """One job of a client: what was sent, and the outcome of each message."""

    def __init__(self, key: bytes, function: str, items: list[bytes]) -> None:
        self.key, self.function, self.items = key, function, items
        self.sent = 0
        self.outcomes: dict[int, list[bytes] | str] = {}


class World:
    """Components, workers beside them, and one client of the component ``first``."""

    def __init__(self, seed: int, parts: Mapping[str, Part], workers: Mapping[str, Part]) -> None:
        self.random = Random(seed)
        self.network = MemoryNetwork()
        self.now = 0.0
        self.later: list[tuple[Driver, Any]] = []
        self.executions = 0
        self.jobs: dict[bytes, Job] = {}
        random.seed(seed)
        self.components = {name: Component(self, name, part) for name, part in parts.items()}
        self.workers = [
            Runner(self, name, part, user="local") for name, part in workers.items() for _ in "ab"
        ]
        self.first = next(iter(parts))
        self._start_client()

    def _start_client(self) -> None:
        line = self.network.connector()
        self.board = Board(self.random, None, {b"": line})
        identity = Identity("client", "client", self.random.randbytes(16), self.first, [])
        self.client = ClientMachine(identity, 1e9)
        self.client_driver = Driver(
            self.client,
            self.board,
            {
                Reconnect: self._reconnect,
                Deliver: self._deliver,
                Fail: self.fail,
                Ready: self.note,
                Log: self.note,
                Note: self.note,
                Stopped: self.note,
            },
            clock=lambda: self.now,
        )
        self.client_driver.perform(self.client.start(self.now))

    def note(self, effect: Any) -> None:
        """Do nothing."""

    def fail(self, effect: Any) -> None:
        """Nothing may fail for good."""
        raise AssertionError(effect)

    def _reconnect(self, effect: Reconnect) -> None:
        self.board.lines[b""].connect(self.first)
        self.later.append((self.client_driver, LookedUp(found=True)))

    # Jobs

    def new_job(self, function: str, n: int) -> None:
        """Begin a job of ``n`` messages."""
        key = self.random.randbytes(8)
        self.jobs[key] = Job(key, function, [b"%d" % at for at in range(n)])

    def feed(self) -> None:
        """Send some messages of a job."""
        open_ = [job for job in self.jobs.values() if job.sent < len(job.items)]
        if not open_:
            return
        job = self.random.choice(open_)
        n = self.random.randint(1, min(20, len(job.items) - job.sent))
        items = job.items[job.sent : job.sent + n]
        last = job.sent + n == len(job.items)
        event = Submitted(
            job.key, job.sent, Batch.pack(items), job.function, Codec.RAW, last, self.terms()
        )
        job.sent += n
        self.client_driver.handle(event)

    def terms(self) -> Terms | None:
        """Return the terms of a job."""
        return None

    def cancel(self) -> None:
        """Want nothing more of a job."""
        if self.jobs:
            key = self.random.choice(list(self.jobs))
            del self.jobs[key]
            self.client_driver.handle(Cancelled(key))

    def _deliver(self, effect: Deliver) -> None:
        job = self.jobs.get(effect.job)
        if job is None:
            return
        outcome = effect.outcome
        kinds = outcome.kinds or bytes(outcome.n)
        payloads = effect.batch.payloads()
        for at, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
            index = outcome.first + at
            assert index not in job.outcomes, f"message {index} has two outcomes"
            if kind == Kind.RESULT:
                job.outcomes[index] = [bytes(payload)]
            elif kind == Kind.MANY:
                job.outcomes[index] = [item.payload for item in unpack_results(payload).items]
            else:
                job.outcomes[index] = decode_failure(payload).text

    # Life and faults

    def step(self) -> None:
        """Let something happen somewhere."""
        self.random.choice((self._act, self._act, self.feed, self._tell, self._tell))()
        if self.random.random() < 0.2:
            self.now += self.random.choice((0.001, 0.01, 0.05))

    def _act(self) -> None:
        actors = [*self.components.values(), *self.workers, self]
        actor = self.random.choice(actors)
        if actor is self:
            self.client_driver.step(0.0)
        else:
            actor.step()  # type: ignore[union-attr]

    def _tell(self) -> None:
        if self.later:
            driver, event = self.later.pop(0)
            driver.handle(event)

    def fault(self) -> None:
        """Kill something, or break a connection."""
        if self.random.random() < 0.5:
            self.random.choice([*self.components.values(), *self.workers]).restart()
            return
        boards = [self.board, *(c.board for c in self.components.values())]
        boards += [worker.board for worker in self.workers]
        board = self.random.choice([board for board in boards if board.lines])
        board.break_line(self.random.choice(list(board.lines)))

    def finish(self, within: float = 300.0) -> None:
        """Let no more faults happen, and wait until every message has its outcome."""
        until = self.now + within
        while not self.done:
            assert self.now < until, f"not done: {self.missing()}"
            for _ in range(20):
                self.step()
            self.now += 0.02

    @property
    def done(self) -> bool:
        """Whether every message has its outcome."""
        return all(len(job.outcomes) == len(job.items) for job in self.jobs.values())

    def missing(self) -> dict[str, list[int]]:
        """Return the messages without an outcome."""
        return {
            job.function: [at for at in range(len(job.items)) if at not in job.outcomes]
            for job in self.jobs.values()
        }

    def settle(self, within: float = 200.0) -> None:
        """Wait until nothing is kept of jobs that are over."""
        until = self.now + within
        while kept := self.kept():
            assert self.now < until, f"kept: {kept}"
            for _ in range(20):
                self.step()
            self.now += 0.5

    def kept(self) -> dict[str, int]:
        """Return how much the components keep of jobs."""
        counts: Counter[str] = Counter()
        for name, component in self.components.items():
            for session in component.machine._clients.values():
                counts[name] += len(session.jobs)
            counts[name] += len(component.joined)
            counts[name] += sum(len(c.given) for c in component.machine._publisher._claims)
        return {name: count for name, count in counts.items() if count}
