"""A whole cluster in one thread: real machines, a network and a clock that a seed drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from palm.protocol.client import ClientMachine
from palm.protocol.dispatch import MAX_DEATHS
from palm.protocol.effects import (
    DeadLetter,
    Deliver,
    Expired,
    Fail,
    Invoke,
    Log,
    Note,
    Ready,
    Reconnect,
    Reply,
    Send,
    Stopped,
)
from palm.protocol.events import (
    Cancelled,
    Completed,
    Event,
    LookedUp,
    Opened,
    StopRequested,
    Submitted,
    Wanted,
)
from palm.protocol.link import Identity
from palm.protocol.master import MasterMachine
from palm.protocol.worker import WorkerMachine
from palm.runtime.driver import Driver
from palm.transport.base import Arrived, Gone, TransportEvent
from palm.transport.memory import MemoryConnector, MemoryListener, MemoryNetwork
from palm.wire import framing
from palm.wire.batch import INLINE_LIMIT, Batch
from palm.wire.codec import Codec
from palm.wire.message import Outcome, Task, Terms
from palm.wire.outcome import Failure, Kind, encode_failure

__all__ = ["Simulation"]

MASTER: Final = "memory://foo"

#: What every worker serves, and what only one of them does.
COMMON, RARE = "double", "rare"

#: A message that ends its worker, and one whose function raises.
POISON, ERROR = b"poison", b"error"

#: A message whose function raises at times.
FLAKY: Final = b"flaky"

ERROR_PAYLOAD: Final = encode_failure(Failure("ValueError", "no"))

#: Who comes with this key counts as being on another host.
REMOTE_USER: Final = "owner"

#: Shorter than palm's own (seconds): clients are to be forgotten while they still live.
SESSION_TTL: Final = 5.0


class Lossy:
    """A transport that hands over only a part of what has arrived: the rest is on its way."""

    def __init__(self, inner: MemoryListener | MemoryConnector, random: Random) -> None:
        self.inner = inner
        self._random = random
        self._waiting: list[TransportEvent] = []

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return a prefix of what waits; news of a broken connection may come even later.

        Where it does, the peer may have greeted over its next connection before.
        """
        self._fetch()
        n = self._random.randint(0, len(self._waiting))
        events, self._waiting = self._waiting[:n], self._waiting[n:]
        late = [e for e in events if isinstance(e, Gone) and self._random.random() < 0.7]
        self._waiting += late
        return [event for event in events if event not in late]

    def lose(self, peer: bytes = b"") -> None:
        """Lose the end of what a peer sent: its connection breaks."""
        self._fetch()
        places = [at for at, event in enumerate(self._waiting) if _is_from(event, peer)]
        lost = set(places[self._random.randint(0, len(places)) :])
        self._waiting = [event for at, event in enumerate(self._waiting) if at not in lost]

    def _fetch(self) -> None:
        for event in self.inner.receive(0.0):
            if isinstance(event, Arrived):
                event.local = event.user != REMOTE_USER
            self._waiting.append(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def _is_from(event: TransportEvent, peer: bytes) -> bool:
    return isinstance(event, Arrived) and event.peer == peer


@dataclass
class Job:
    """What was sent, and what came back, by message."""

    function: str
    terms: Terms | None = None
    sent: dict[int, bytes] = field(default_factory=dict)
    outcomes: Counter[int] = field(default_factory=Counter)
    opened: float = 0.0
    cancelled: bool = False
    last: bool = False


class _Connected:
    """A connector with its machine; it connects again whenever it looks the master up."""

    def __init__(self, simulation: Simulation, user: str) -> None:
        self.simulation = simulation
        self.connector = simulation.network.connector(user)
        self.transport = Lossy(self.connector, simulation.random)
        self.alive = True
        self.frozen = False
        self.asked = self.answered = 0

    def drive(
        self, machine: ClientMachine | WorkerMachine, perform: dict[type, Callable[[Any], None]]
    ) -> None:
        ignored = dict.fromkeys((Expired, Log, Note, Ready), _ignore)
        own = {Reconnect: self.reconnect, Reply: self.reply, Stopped: self.stopped}
        clock = lambda: self.simulation.now  # noqa: E731
        self.driver = Driver(machine, self.transport, ignored | own | perform, clock)
        self.driver.perform(machine.start(self.simulation.now))

    def reconnect(self, effect: Reconnect) -> None:
        self.connector.connect(MASTER)
        self.simulation.later.append((self.driver, LookedUp(True)))

    def break_link(self) -> None:
        """Lose the connection, and some of what is on its way in both directions."""
        self.transport.lose()
        self.simulation.master_transport.lose(self.connector._peer)
        self.connector.break_off()

    def stopped(self, effect: Stopped) -> None:
        self.alive = False
        self.connector.break_off()

    def kill(self) -> None:
        self.alive = False
        self.break_link()

    def ask(self) -> None:
        """Use the cache."""
        random = self.simulation.random
        batch = Batch.pack([random.randbytes(3)]) if random.random() < 0.5 else None
        self.asked += 1
        self.driver.handle(
            Wanted(random.choice("abc"), print, Codec.RAW, batch, random.random() < 0.3)
        )

    def reply(self, effect: Reply) -> None:
        self.answered += 1


class Worker(_Connected):
    """Runs what it is given when the simulation lets it."""

    def __init__(self, simulation: Simulation, name: str, functions: list[str]) -> None:
        random = simulation.random
        super().__init__(simulation, REMOTE_USER if random.random() < 0.3 else "worker")
        identity = Identity("worker", name, random.randbytes(16), "foo", functions)
        messages = random.randint(1, 50) if random.random() < 0.2 else None
        self.machine = WorkerMachine(identity, messages)
        self.functions = functions
        self.running: Invoke | None = None
        self.at = 0
        self.drive(self.machine, {Invoke: self.invoke})

    def invoke(self, effect: Invoke) -> None:
        assert self.running is None, "two calls at once"
        assert effect.task.function in self.functions
        self.running, self.at = effect, effect.start

    def work(self) -> None:
        """Run some of what it was given; a poisoned message kills it."""
        invoke = self.running
        if invoke is None or not self.alive or self.frozen:
            return
        n = self.simulation.random.randint(0, max(0, invoke.stop - self.at))
        payloads = list(map(bytes, invoke.batch.payloads()[self.at : self.at + n]))
        self.simulation.ran(invoke.task, self.at, payloads)
        if POISON in payloads:
            self.kill()
            return
        self.simulation.executions += n
        self.at += n
        over = not n or self.at >= invoke.stop or self.simulation.random.random() < 0.7
        self.running = None if over else invoke
        raises = [p == ERROR or (p == FLAKY and self._raises()) for p in payloads]
        kinds = bytes(Kind.TASK_ERROR if r else Kind.RESULT for r in raises)
        parts = zip(payloads, raises, strict=True)
        batch = Batch.pack([ERROR_PAYLOAD if r else p * 2 for p, r in parts])
        kinds = kinds if any(kinds) else b""
        event = Completed(invoke.task.lease, n, Codec.RAW, batch, 0.0, bytes(4 * n), kinds, over)
        self.driver.handle(event)

    def _raises(self) -> bool:
        return self.simulation.random.random() < 0.5

    def kill(self) -> None:
        self.running = None
        super().kill()


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
        if not open_:
            function = RARE if random.random() < 0.2 else COMMON
            terms = self.simulation.new_terms()
            self.jobs[key] = Job(function, terms, opened=self.simulation.now)
            if terms is not None and terms.at_most_once:
                self.simulation.once.add(key)
            if random.random() < 0.25:
                self.simulation.partitions[key] = b""
            if terms is not None and terms.deadline:
                self.driver.handle(Opened(key, f"foo.{function}", terms))
        job = self.jobs[key]
        first = len(job.sent)
        job.sent.update(enumerate(payloads, first))
        job.last = last
        batch = Batch.pack(payloads)
        function, partitions = f"foo.{job.function}", b""
        if key in self.simulation.partitions:
            partitions = bytes(random.choices(b"ab", k=batch.n))
            self.simulation.partitions[key] += partitions
        self.driver.handle(
            Submitted(key, first, batch, function, Codec.RAW, last, job.terms, partitions)
        )

    def cancel(self) -> None:
        """Cancel a job at random."""
        if self.jobs:
            key = self.simulation.random.choice(sorted(self.jobs))
            self.jobs[key].cancelled = True
            self.driver.handle(Cancelled(key))

    def leave(self) -> None:
        """Go away, with or without a word."""
        if self.simulation.random.random() < 0.5:
            self.driver.handle(StopRequested(0.0))
        else:
            self.kill()

    def deliver(self, effect: Deliver) -> None:
        job = self.jobs[effect.job]
        assert not job.cancelled, "an outcome after the cancel"
        outcome = effect.outcome
        inputs = _inputs(effect)
        for at, payload in enumerate(map(bytes, effect.batch.payloads())):
            index = outcome.first + at
            job.outcomes[index] += 1
            kind = outcome.kinds[at] if outcome.kinds else Kind.RESULT
            self._check(job, index, kind, payload)
            assert kind == Kind.RESULT or inputs[index] == job.sent[index]

    def _check(self, job: Job, index: int, kind: int, payload: bytes) -> None:
        sent = job.sent[index]
        if kind == Kind.FUNCTION_NOT_FOUND:
            assert job.function == RARE
        elif kind == Kind.DEADLINE_EXCEEDED:
            assert job.terms is not None
            limit = job.terms.deadline or job.terms.timeout
            assert limit and self.simulation.now >= job.opened + limit, index
        elif kind in (Kind.WORKER_LOST, Kind.MASTER_LOST):
            assert job.terms is not None and job.terms.at_most_once, index
        elif sent == POISON:
            assert kind == Kind.POISON_TASK, (index, kind)
        elif kind == Kind.POISON_TASK:  # its worker was ended by others, each time it ran
            assert self.simulation.worker_faults >= MAX_DEATHS, index
        elif sent == FLAKY and kind == Kind.TASK_ERROR:
            assert payload == ERROR_PAYLOAD
        elif sent == ERROR:
            assert (kind, payload) == (Kind.TASK_ERROR, ERROR_PAYLOAD)
        else:
            assert (kind, payload) == (Kind.RESULT, sent * 2), index

    def fail(self, effect: Fail) -> None:
        raise AssertionError(effect.error)


def _inputs(effect: Deliver) -> dict[int, bytes]:
    return {
        first + at: bytes(payload)
        for first, _, batch in effect.inputs
        for at, payload in enumerate(batch.payloads())
    }


class Simulation:
    """A master ``foo``, workers and clients."""

    def __init__(self, seed: int, *, workers: int = 3, clients: int = 2) -> None:
        self.random = Random(seed)
        self.network = MemoryNetwork()
        self.now = 0.0
        self.later: list[tuple[Driver, Event]] = []
        self.executions = 0
        self.worker_faults = 0
        #: Jobs whose messages may not run twice, and how often each was begun.
        self.once: set[bytes] = set()
        self.begun: Counter[tuple[bytes, int]] = Counter()
        #: Partitions of the messages of jobs with keys.
        self.partitions: dict[bytes, bytes] = {}
        self.start_master()
        self.workers = [self._new_worker(at) for at in range(workers)]
        self.clients = [Client(self) for _ in range(clients)]

    def new_terms(self) -> Terms | None:
        """Return what a job wants of its calls: most want nothing special."""
        if self.random.random() < 0.6:
            return None
        once = self.random.random() < 0.2
        if self.random.random() < 0.4:
            return Terms(at_most_once=True, priority=self.random.choice((0, 1)))
        if self.random.random() < 0.3:
            deadline = self.random.choice((0.05, 0.5, 5.0))
            return Terms(deadline=deadline, remaining=deadline)
        if self.random.random() < 0.3:
            return Terms(timeout=self.random.choice((0.5, 3.0)), at_most_once=once)
        retry_on = [] if self.random.random() < 0.7 else ["builtins.OSError"]
        return Terms(
            retries=self.random.randint(0, 3),
            retry_on=retry_on,
            priority=self.random.choice((-1, 0, 0, 1)),
        )

    # Faults and life

    def ran(self, task: Task, at: int, payloads: list[bytes]) -> None:
        """Note which messages of a lease a worker has begun."""
        if task.job in self.once:
            if POISON in payloads:
                payloads = payloads[: payloads.index(POISON) + 1]
            for index in range(task.first + at, task.first + at + len(payloads)):
                self.begun[task.job, index] += 1
                assert self.begun[task.job, index] == 1, f"message {index} ran twice"

    def start_master(self) -> None:
        """Start a master without any memory of the one before."""
        self.listener = self.network.listen(MASTER)
        self.master_transport = Lossy(self.listener, self.random)
        self.master_stopped = False
        self.master = MasterMachine(
            "foo",
            self.random.randbytes(8),
            {"ipc": MASTER},
            lambda: self.random.getrandbits(63) | 1,
            {},
            session_ttl=SESSION_TTL,
            jitter=self.random.random,
        )
        #: The first message that was leased last, by job and partition.
        self._latest: dict[tuple[int, int], tuple[object, int]] = {}
        self.expired: set[bytes] = set()
        self._outcomes: dict[tuple[int, bytes, int], tuple[object, int]] = {}
        perform = {
            DeadLetter: _ignore,
            Log: _ignore,
            Stopped: self._end_master,
            Send: self._send_as_master,
        }
        self.master_driver = Driver(
            self.master, self.master_transport, perform, clock=lambda: self.now
        )

    def _send_as_master(self, effect: Send) -> None:
        """Send; an outcome may be repeated, but no message of a session gets another one."""
        if isinstance(effect.message, Task):
            self._check_lease(effect.message)
        outcome, session = effect.message, self.master._sessions.peers.get(effect.peer)
        if isinstance(outcome, Outcome) and session is not None:  # None: the master has stopped
            for index in range(outcome.first, outcome.first + outcome.n):
                key = (id(session), outcome.job, index)
                known = self._outcomes.setdefault(key, (session, outcome.serial))
                assert known[1] == outcome.serial, f"message {index} has two outcomes"
        self.master_transport.send(effect.peer, framing.pack(effect.message, effect.batch))

    def _check_lease(self, task: Task) -> None:
        """Nothing is leased of a job whose time was over; messages of a key go out in order."""
        assert task.job not in self.expired
        client = self.master._sessions.clients.get(task.session)
        job = client.jobs.get(task.job) if client is not None else None
        partitions = self.partitions.get(task.job)
        if partitions is None or job is None or task.attempt > 1:
            return
        (partition,) = set(partitions[task.first : task.first + task.n])
        _, latest = self._latest.get((id(job), partition), (job, -1))
        assert latest <= task.first, f"message {task.first} after {latest} of its key"
        self._latest[id(job), partition] = (job, task.first)

    def check_leases(self) -> None:
        """No partition of a job is with two workers, or in two leases."""
        master = self.master
        out = Counter(
            (id(lease.job), lease.partition)
            for worker in master._sessions.workers.values()
            for lease in worker.leases.values()
            if lease.partition >= 0
        )
        assert not out or max(out.values()) == 1
        clients = master._sessions.clients.values()
        self.expired = {key for c in clients for key, job in c.jobs.items() if job.expired}

    def awake(self) -> list[Worker | Client]:
        """Return those that react."""
        return [each for each in self.connected() if not each.frozen]

    def restart_master(self) -> None:
        for each in self.connected():
            each.transport.lose()
        self.listener.close()
        self.start_master()

    def _end_master(self, effect: Stopped) -> None:
        self.master_stopped = True

    def connected(self) -> list[Worker | Client]:
        """Return the workers and clients that live."""
        return [each for each in (*self.workers, *self.clients) if each.alive]

    def replace_the_dead(self) -> None:
        for at, worker in enumerate(self.workers):
            if not worker.alive:
                self.workers[at] = self._new_worker(at)
        for at, client in enumerate(self.clients):
            if not client.alive:
                self.clients[at] = Client(self)

    def _new_worker(self, at: int) -> Worker:
        functions = [COMMON, RARE] if at == 0 else [COMMON]
        return Worker(self, f"w{at}-{self.random.getrandbits(20)}", functions)

    def step(self) -> None:
        """Let something happen, and check that nothing is lost or held twice."""
        self.random.choices(
            (self._deliver, self._work, self._submit, self._pass_time, self._ask, self._fault),
            weights=(40, 25, 12, 12, 2, 5),
        )[0]()
        self._run_later()
        self.master.check_invariants()
        self.check_leases()

    def _deliver(self) -> None:
        drivers = [self.master_driver, *(each.driver for each in self.awake())]
        self.random.choice(drivers).step(0.0)

    def _work(self) -> None:
        self.random.choice(self.workers).work()

    def _submit(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 5, 40))
        payloads = [self.random.randbytes(self.random.randint(0, 6)) for _ in range(n)]
        if payloads and self.random.random() < 0.1:
            odd = self.random.choice((POISON, ERROR, FLAKY, bytes(INLINE_LIMIT)))
            payloads[self.random.randrange(n)] = odd
        last = self.random.random() < 0.3
        self.random.choice(self.clients).submit(payloads, last=last)

    def _pass_time(self) -> None:
        self.now += self.random.choice((0.001, 0.01, 0.1, 1.0, 3.0))

    def _ask(self) -> None:
        self.random.choice(self.connected()).ask()

    def _fault(self) -> None:
        self.worker_faults += 1
        worker = self.random.choice(self.workers)
        self.random.choices(
            (
                self.random.choice(self.connected()).break_link,
                worker.kill,
                self.restart_master,
                self.random.choice(self.clients).cancel,
                lambda: worker.alive and worker.driver.handle(StopRequested(1.0)),
                lambda: self.master_driver.handle(StopRequested(self.random.choice((0.0, 2.0)))),
                self.random.choice(self.clients).leave,
                self._freeze_or_thaw,
            ),
            weights=(35, 25, 12, 12, 10, 5, 5, 20),
        )[0]()
        self.replace_the_dead()

    def _freeze_or_thaw(self) -> None:
        """Stop a process, whose connection may break meanwhile, or let it go on."""
        each = self.random.choice(self.connected())
        each.frozen = not each.frozen
        if each.frozen and self.random.random() < 0.5:
            each.break_link()

    def _run_later(self) -> None:
        while self.later:
            driver, event = self.later.pop(0)
            driver.handle(event)
        if self.master_stopped:
            self.restart_master()

    @property
    def messages(self) -> int:
        """Count of the messages that the clients sent."""
        return sum(len(job.sent) for client in self.clients for job in client.jobs.values())

    # The end

    def finish(self) -> None:
        """Stop the faults, let time run, and check what came of every message."""
        for each in self.connected():
            each.frozen = False
            if self.random.random() < 0.5:  # no later fault makes up for what this one breaks
                each.break_link()  # it is back soon: no message is blamed
        if self.random.random() < 0.5:
            self._run_quietly(self.open)
        for client in self.clients:
            if self.random.random() < 0.5:
                client.break_link()
                client.driver.step(0.0)
            for job in client.jobs.values():
                if not (job.last or job.cancelled):
                    client.submit([], last=True)
        self._run_quietly(self.under_way)
        self.check()

    def _run_quietly(self, more: Callable[[], object], bound: int = 20_000) -> None:
        for _ in range(bound):
            if not more():
                return
            self.replace_the_dead()
            for each in self.connected():
                each.driver.step(0.0)
            self.master_driver.step(0.0)
            for worker in self.workers:
                worker.work()
            self._run_later()
            self.now += 0.01
            self.master.check_invariants()
            self.check_leases()

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

    def under_way(self) -> dict[str, object]:
        """Return what any machine still holds, or waits for, without what is nothing."""
        held: dict[str, object] = {
            "open": self.open(),
            "master": self.master.holdings(),
            "clients": [list(c.machine._jobs) for c in self.clients if c.machine._jobs],
            "workers": [list(w.machine._held) for w in self.workers if w.machine._held],
            "outboxes": [w.machine._outbox for w in self.workers if w.machine._outbox],
            "running": [w.running for w in self.workers if w.running],
            "asked": [e for e in self.connected() if e.asked != e.answered],
        }
        return {what: found for what, found in held.items() if found}

    def check(self) -> None:
        """Raise where a message has no outcome or two, or a machine still holds something."""
        held = self.under_way()
        assert not held, held
        for client in self.clients:
            assert client.asked == client.answered
            for job in client.jobs.values():
                if not job.cancelled:
                    assert job.outcomes == Counter(dict.fromkeys(job.sent, 1))


def _ignore(effect: object) -> None:
    pass
