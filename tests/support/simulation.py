"""A whole cluster in one thread: real machines, a network and a clock that a seed drives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from palm.protocol.client import ClientMachine
from palm.protocol.dispatch import MAX_DEATHS
from palm.protocol.effects import (
    Deliver,
    Fail,
    Invoke,
    Log,
    Note,
    Ready,
    Reconnect,
    Reply,
    Stopped,
)
from palm.protocol.events import Cancelled, Completed, LookedUp, StopRequested, Submitted
from palm.protocol.link import Identity
from palm.protocol.master import MasterMachine
from palm.protocol.worker import WorkerMachine
from palm.runtime.driver import Driver
from palm.transport.base import Arrived, TransportEvent
from palm.transport.memory import MemoryConnector, MemoryListener, MemoryNetwork
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["Simulation"]

MASTER = "memory://foo"
FUNCTION = "double"
POISON = b"poison"


class Lossy:
    """A transport that hands over only a part of what has arrived: the rest is on its way."""

    def __init__(self, inner: MemoryListener | MemoryConnector, random: Random) -> None:
        self.inner = inner
        self._random = random
        self._waiting: list[TransportEvent] = []

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return a prefix of what waits; news of a broken connection overtakes nothing."""
        self._waiting += self.inner.receive(timeout)
        n = self._random.randint(0, len(self._waiting))
        events, self._waiting = self._waiting[:n], self._waiting[n:]
        return events

    def drop_arrived(self) -> None:
        """Lose what is on its way here: the connection broke."""
        self._waiting = [e for e in self._waiting if not isinstance(e, Arrived)]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@dataclass
class Job:
    """What was sent, and what came back, by message."""

    sent: dict[int, bytes] = field(default_factory=dict)
    outcomes: Counter[int] = field(default_factory=Counter)
    cancelled: bool = False
    last: bool = False


class _Connected:
    """A connector with its machine; it connects again whenever it looks the master up."""

    def __init__(self, simulation: Simulation, user: str) -> None:
        self.simulation = simulation
        self.connector = simulation.network.connector(user)
        self.transport = Lossy(self.connector, simulation.random)
        self.alive = True

    def drive(self, machine: ClientMachine | WorkerMachine, perform: dict[type, object]) -> None:
        self.driver = Driver(
            machine,
            self.transport,  # type: ignore[arg-type]
            {
                Reconnect: self.reconnect,
                Log: _ignore,
                Note: _ignore,
                Ready: _ignore,
                Reply: _ignore,
                Stopped: self.stopped,
                **perform,
            },  # type: ignore[dict-item]
            clock=lambda: self.simulation.now,
        )
        self.driver.perform(machine.start(self.simulation.now))

    def reconnect(self, effect: Reconnect) -> None:
        self.connector.connect(MASTER)
        self.simulation.later.append((self.driver, LookedUp(True)))

    def break_link(self) -> None:
        self.connector.break_off()
        self.transport.drop_arrived()

    def stopped(self, effect: Stopped) -> None:
        self.alive = False
        self.connector.break_off()


class Worker(_Connected):
    """Runs what it is given when the simulation lets it."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        super().__init__(simulation, "worker")
        session = simulation.random.randbytes(16)
        self.machine = WorkerMachine(Identity("worker", name, session, "foo", [FUNCTION]))
        self.running: Invoke | None = None
        self.drive(self.machine, {Invoke: self.invoke})

    def invoke(self, effect: Invoke) -> None:
        if self.running is not None:
            raise AssertionError("two calls at once")
        self.running = effect

    def work(self) -> None:
        """Run some of what it was given; a poisoned message kills it."""
        invoke = self.running
        if invoke is None:
            return
        n = self.simulation.random.randint(0, max(0, invoke.stop - invoke.start))
        payloads = invoke.batch.payloads()[invoke.start : invoke.start + n]
        if POISON in payloads:
            self.kill()
            return
        self.simulation.executions += n
        self.running = None
        batch = Batch.pack([payload * 2 for payload in payloads])
        event = Completed(invoke.task.lease, n, Codec.RAW, batch, 0.0, bytes(4 * n), b"")
        self.driver.handle(event)

    def kill(self) -> None:
        self.alive = False
        self.running = None
        self.connector.break_off()


class Client(_Connected):
    """Sends jobs and counts outcomes."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation, "client")
        identity = Identity("client", "c", simulation.random.randbytes(16), "foo", [])
        self.machine = ClientMachine(identity, connect_timeout=1e9)
        self.jobs: dict[bytes, Job] = {}
        self.drive(self.machine, {Deliver: self.deliver, Fail: self.fail})

    def submit(self, payloads: list[bytes], *, last: bool) -> None:
        """Send more of the latest job, or of a new one."""
        random = self.simulation.random
        open_ = [key for key, job in self.jobs.items() if not (job.last or job.cancelled)]
        key = open_[-1] if open_ else random.randbytes(8)
        job = self.jobs.setdefault(key, Job())
        first = len(job.sent)
        job.sent.update(enumerate(payloads, first))
        job.last = last
        batch = Batch.pack(payloads)
        event = Submitted(key, first, batch, f"foo.{FUNCTION}", Codec.RAW, last)
        self.driver.handle(event)

    def cancel(self) -> None:
        """Cancel a job at random."""
        if self.jobs:
            key = self.simulation.random.choice(sorted(self.jobs))
            self.jobs[key].cancelled = True
            self.driver.handle(Cancelled(key))

    def deliver(self, effect: Deliver) -> None:
        job = self.jobs[effect.job]
        if job.cancelled:
            raise AssertionError("an outcome after the cancel")
        outcome = effect.outcome
        payloads = effect.batch.payloads()
        for at in range(outcome.n):
            index = outcome.first + at
            job.outcomes[index] += 1
            kind = outcome.kinds[at] if outcome.kinds else Kind.RESULT
            sent = job.sent[index]
            if sent == POISON:
                assert kind == Kind.POISON_TASK, (index, kind)
            elif kind == Kind.POISON_TASK:  # its worker was ended by others, each time it ran
                assert self.simulation.worker_faults >= MAX_DEATHS, index
            else:
                assert kind == Kind.RESULT, (index, kind)
                assert payloads[at] == sent * 2, index

    def fail(self, effect: Fail) -> None:
        raise AssertionError(effect.error)


class Simulation:
    """A master ``foo``, workers and clients."""

    def __init__(self, seed: int, *, workers: int = 3, clients: int = 2) -> None:
        self.random = Random(seed)
        self.network = MemoryNetwork()
        self.now = 0.0
        self.later: list[tuple[Driver, LookedUp]] = []
        self.executions = 0
        self.worker_faults = 0
        self.start_master()
        self.workers = [Worker(self, f"w{i}") for i in range(workers)]
        self.clients = [Client(self) for _ in range(clients)]

    # Faults and life

    def start_master(self) -> None:
        """Start a master without any memory of the one before."""
        self.listener = self.network.listen(MASTER)
        self.master_transport = Lossy(self.listener, self.random)
        self.master = MasterMachine(
            "foo",
            self.random.randbytes(8),
            {"ipc": MASTER},
            lambda: self.random.getrandbits(63) | 1,
            {},
        )
        self.master_driver = Driver(
            self.master,
            self.master_transport,  # type: ignore[arg-type]
            {Log: _ignore, Stopped: _ignore},
            clock=lambda: self.now,
        )

    def restart_master(self) -> None:
        self.listener.close()
        for each in self.connected():
            each.transport.drop_arrived()
        self.start_master()

    def connected(self) -> list[Worker | Client]:
        return [each for each in (*self.workers, *self.clients) if each.alive]

    def replace_dead_workers(self) -> None:
        for at, worker in enumerate(self.workers):
            if not worker.alive:
                self.workers[at] = Worker(self, f"w{at}-{self.random.getrandbits(20)}")

    def step(self) -> None:
        """Let something happen, and check that nothing is lost or held twice."""
        self.random.choices(
            (self._deliver, self._work, self._submit, self._pass_time, self._fault),
            weights=(40, 25, 12, 12, 4),
        )[0]()
        self._run_later()
        self.master.check_invariants()

    def _deliver(self) -> None:
        drivers = [self.master_driver, *(each.driver for each in self.connected())]
        self.random.choice(drivers).step(0.0)

    def _work(self) -> None:
        self.random.choice(self.workers).work()

    def _submit(self) -> None:
        n = self.random.choice((1, 1, 2, 5, 40))
        payloads = [self.random.randbytes(self.random.randint(0, 6)) for _ in range(n)]
        if self.random.random() < 0.03:
            payloads[0] = POISON
        last = self.random.random() < 0.3
        self.random.choice(self.clients).submit(payloads, last=last)

    def _pass_time(self) -> None:
        self.now += self.random.choice((0.001, 0.01, 0.1, 1.0, 3.0))

    def _fault(self) -> None:
        kind = self.random.random()
        if kind < 0.35:
            self.worker_faults += 1
            self.random.choice(self.connected()).break_link()
        elif kind < 0.6:
            self.worker_faults += 1
            self.random.choice(self.workers).kill()
            self.replace_dead_workers()
        elif kind < 0.75:
            self.restart_master()
        elif kind < 0.85:
            self.random.choice(self.clients).cancel()
        elif kind < 0.95:
            worker = self.random.choice(self.workers)
            if worker.alive:
                worker.driver.handle(StopRequested(1.0))
            self.replace_dead_workers()
        else:
            self.replace_dead_workers()

    def _run_later(self) -> None:
        while self.later:
            driver, event = self.later.pop(0)
            driver.handle(event)

    # The end

    def finish(self, bound: int = 20_000) -> None:
        """Stop the faults, let time run, and check what came of every message."""
        for client in self.clients:
            for job in client.jobs.values():
                if not (job.last or job.cancelled):
                    client.submit([], last=True)
        for _ in range(bound):
            if not self.open() and self._is_quiet():
                break
            self.replace_dead_workers()
            for each in self.connected():
                each.driver.step(0.0)
            self.master_driver.step(0.0)
            for worker in self.workers:
                worker.work()
            self._run_later()
            self.now += 0.01
            self.master.check_invariants()
        self.check()

    def open(self) -> list[tuple[bytes, int]]:
        """Return the messages without an outcome."""
        return [
            (key, index)
            for client in self.clients
            for key, job in client.jobs.items()
            if not job.cancelled
            for index in job.sent
            if not job.outcomes[index]
        ]

    def _is_quiet(self) -> bool:
        return not self.master.holdings() and all(w.running is None for w in self.workers)

    def check(self) -> None:
        """Raise where a message has no outcome or two, or the master still holds something."""
        assert not self.open(), f"without an outcome: {self.open()[:5]}"
        for client in self.clients:
            for job in client.jobs.values():
                if not job.cancelled:
                    assert job.outcomes == Counter(dict.fromkeys(job.sent, 1))
        assert not self.master.holdings(), self.master.holdings()


def failure(text: str) -> bytes:
    """Return the payload of a failure."""
    return encode_failure(Failure("ValueError", text))


def _ignore(effect: object) -> None:
    pass
