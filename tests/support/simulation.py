"""A whole cluster in one thread: real machines; network, clock and disk are driven by a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import mul
from random import Random
from typing import Final

from msgspec.structs import replace

from palm.protocol.effects import (
    DeadLetter,
    LoadInputs,
    LoadOutcomes,
    Log,
    Send,
    Stopped,
    Write,
)
from palm.protocol.entries import Outcomes
from palm.protocol.events import Event, JournalFailed, StopRequested
from palm.protocol.jobs import ClientSession
from palm.protocol.master import MasterMachine
from palm.protocol.store import Store
from palm.runtime.driver import Driver
from palm.transport.memory import MemoryNetwork
from palm.wire import framing
from palm.wire.batch import INLINE_LIMIT
from palm.wire.message import Outcome, Task, Terms
from tests.support.disk import Disk
from tests.support.simulated import (
    COMMON,
    ERROR,
    FLAKY,
    MASTER,
    POISON,
    RARE,
    Client,
    Job,
    Lossy,
    Worker,
    ignore,
)
from tests.support.watch import Watch, WatchedDriver

__all__ = ["Simulation"]

#: How long nothing happens at times, seconds; the last is more than a worker may be silent.
TIMES: Final = (0.001, 0.01, 0.1, 1.0, 3.0)

#: Shorter than palm's own (seconds): clients are to be forgotten while they still live.
SESSION_TTL: Final = 5.0


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
        #: Jobs in the journal that no client has, and those that somebody wants nothing more of.
        self.orphans: dict[bytes, Job] = {}
        self.ended: set[bytes] = set()
        #: Jobs that a client asked for and died before it had an answer.
        self.contested: set[bytes] = set()
        #: Jobs that were not there when they were looked for, as nobody was told that they are.
        self.unknown: set[bytes] = set()
        #: Each outcome of a job in the journal that a client has seen.
        self.seen: dict[tuple[bytes, int], tuple[int, bytes]] = {}
        self.disk = Disk(self.random.choice((1, 2, 50)))
        #: Clients and workers so far.
        self.joined = 0
        #: Masters so far, and how often one of them began to know a client.
        self.life = 0
        self.births: Counter[bytes] = Counter()
        self._swarm()
        self.start_master()
        self.workers = [self._new_worker(at) for at in range(workers)]
        self.clients = [Client(self) for _ in range(clients)]

    def new_terms(self) -> Terms | None:
        """Return what a job wants: most want nothing special."""
        terms = self._new_terms()
        if self.random.random() < 0.25:
            durable = self.random.random() < 0.7
            return replace(terms or Terms(), durable=durable, detach=not durable)
        return terms

    def _new_terms(self) -> Terms | None:
        if self.random.random() < self._plain:
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

    def _swarm(self) -> None:
        """Let each seed have troubles of its own: some see much of one kind, and none of others."""
        even = self.random.random() < 0.4
        self._faults = [1.0 if even else self.random.choice((0.0, 0.2, 1.0, 4.0)) for _ in range(9)]
        self._actions = [1.0 if even else self.random.choice((0.3, 1.0, 3.0)) for _ in range(8)]
        self._plain = 0.6 if even else self.random.choice((0.6, 0.1))
        self._odd = 0.1 if even else self.random.choice((0.1, 0.7))
        self.flakiness = 0.5 if even else self.random.choice((0.5, 0.95))
        self._steps = self.random.choice((TIMES, TIMES, TIMES[:3], (0.01, 0.1, 9.0)))

    # Faults and life

    def ran(self, task: Task, at: int, payloads: list[bytes]) -> None:
        """Note which messages of a lease a worker has begun."""
        if task.job in self.once:
            if POISON in payloads:
                payloads = payloads[: payloads.index(POISON) + 1]
            for index in range(task.first + at, task.first + at + len(payloads)):
                self.begun[task.job, index] += 1
                assert self.begun[task.job, index] == 1, (
                    f"message {index} of {task.job.hex()} ran twice"
                )

    def start_master(self) -> None:
        """Start a master that knows of the one before what is on disk."""
        self.listener = self.network.listen(MASTER)
        self.master_transport = Lossy(self.listener, self.random)
        self.master_stopped = False
        self.master = MasterMachine(
            "foo",
            self.random.randbytes(8),
            {"ipc": MASTER},
            lambda: self.random.getrandbits(63) | 1,
            Store(),
            session_ttl=SESSION_TTL,
            jitter=self.random.random,
            recovered=self.disk.recover(self.now),
        )
        self.watch = Watch(self.master, self.partitions, self.births)
        self.life += 1
        perform = {
            DeadLetter: ignore,
            Log: ignore,
            Stopped: self._end_master,
            Send: self._send_as_master,
            **dict.fromkeys((Write, LoadInputs, LoadOutcomes), self._use_disk),
        }
        self.master_driver = driver = WatchedDriver(
            self.master, self.master_transport, perform, clock=lambda: self.now
        )
        driver.watch = self.watch
        self.master_driver.perform(self.master.start(self.now))

    def _send_as_master(self, effect: Send) -> None:
        message = effect.message
        if isinstance(message, Task):
            self.watch.leased(message)
        session = self.master._sessions.peers.get(effect.peer)
        if isinstance(message, Outcome) and session is not None:  # None: the master has stopped
            job = session.jobs.get(message.job) if isinstance(session, ClientSession) else None
            self.watch.gave(session, job, message)
        self.master_transport.send(effect.peer, framing.pack(message, effect.batch))

    def _use_disk(self, effect: Write | LoadInputs | LoadOutcomes) -> None:
        if isinstance(effect, Write) and isinstance(effect.entry, Outcomes):
            keeper = self.master._sessions.clients[b""]
            job = keeper.jobs.get(effect.entry.job)
            self.watch.gave(keeper, job, effect.entry.outcome)
        self.disk.put(effect)

    def awake(self) -> list[Worker | Client]:
        """Return those that react."""
        return [each for each in self.connected() if not each.frozen]

    def restart_master(self) -> None:
        for each in self.connected():
            each.transport.lose()
            each.values.clear()
        written = len(self.disk.commands)
        if not self.master_stopped:  # it was killed: the end of what it wrote is lost
            written = self.random.randint(0, written)
        self.disk.crash(written, self.now)
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
        if self.orphans and self.random.random() < 0.5:
            self.adopt()

    def adopt(self) -> None:
        """Give a job that no client has to one of them."""
        key = self.random.choice(sorted(self.orphans))
        self.random.choice(self.clients).adopt(key, self.orphans.pop(key))

    def _take_over(self) -> None:
        """Let a client take a job from one that lives."""
        had = [
            (client, key)
            for client in self.clients
            for key, job in client.jobs.items()
            if client.alive and job.journaled and not job.given_up
        ]
        if had and len(self.clients) > 1:
            client, key = self.random.choice(had)
            others = [other for other in self.clients if other is not client]
            client.jobs[key].taken_over = True
            self.random.choice(others).adopt(key, client.jobs[key])

    def _new_worker(self, at: int) -> Worker:
        functions = [COMMON, RARE] if at == 0 else [COMMON]
        return Worker(self, f"w{at}-{self.random.getrandbits(20)}", functions)

    def step(self) -> None:
        """Let something happen, and check that nothing is lost or held twice."""
        self.random.choices(
            (
                *(self._deliver, self._work, self._submit, self._pass_time, self._ask),
                *(self._fault, self._write, self._make_room),
            ),
            weights=list(map(mul, (40, 25, 12, 12, 2, 5, 10, 4), self._actions)),
        )[0]()
        self._run_later()
        self.master.check_invariants()
        self.watch.check()

    def _deliver(self) -> None:
        drivers = [self.master_driver, *(each.driver for each in self.awake())]
        self.random.choice(drivers).step(0.0)

    def _write(self) -> None:
        """Let the disk work, or fail for now."""
        if self.random.random() < 0.05:
            self.master_driver.handle(JournalFailed("no space"))
        else:
            self._write_some(self.random.randint(0, len(self.disk.commands)))

    def _write_some(self, n: int) -> None:
        for event in self.disk.work(n, self.now):
            self.master_driver.handle(event)

    def _make_room(self) -> None:
        client = self.random.choice(self.clients)
        if client.alive and not client.frozen:
            client.make_room()

    def _work(self) -> None:
        self.random.choice(self.workers).work()

    def _submit(self) -> None:
        n = self.random.choice((0, 1, 1, 2, 5, 40))
        payloads = [self.random.randbytes(self.random.randint(0, 6)) for _ in range(n)]
        if payloads and self.random.random() < self._odd:
            odd = self.random.choice((POISON, ERROR, FLAKY, bytes(INLINE_LIMIT)))
            if self.random.random() < 0.7:
                payloads[self.random.randrange(n)] = odd
            else:
                payloads = [odd] * min(n, 5)
        last = self.random.random() < 0.3
        self.random.choice(self.clients).submit(payloads, last=last)

    def _pass_time(self) -> None:
        self.now += self.random.choice(self._steps)

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
                worker.stop,
                lambda: self.master_driver.handle(StopRequested(self.random.choice((0.0, 2.0)))),
                self.random.choice(self.clients).leave,
                self._freeze_or_thaw,
                self._take_over,
            ),
            weights=[0.01 + w for w in map(mul, (35, 25, 12, 12, 10, 5, 5, 20, 3), self._faults)],
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
        self._run_quietly(self._adopt_all)
        for client in self.clients:
            if self.random.random() < 0.5:
                client.break_link()
                client.driver.step(0.0)
            for key, job in client.jobs.items():
                if not (job.last or job.given_up):
                    client.send(key, job, [], last=True)
        self._run_quietly(lambda: self._adopt_all() or self.under_way())
        self.check()
        self.forget()

    def _adopt_all(self) -> bool:
        """Let clients take what nobody has; return whether some of it is still on its way."""
        while self.orphans:
            self.adopt()
        return any(client.wanted for client in self.clients)

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
            for client in self.clients:
                client.make_room()
            self._write_some(len(self.disk.commands))
            self._run_later()
            self.now += 0.01
            self.master.check_invariants()
            self.watch.check()

    def open(self) -> list[tuple[bytes, int]]:
        """Return the messages without an outcome."""
        return [
            (key, index)
            for client in self.clients
            for key, job in client.jobs.items()
            if not job.given_up
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
            "wanted": [c for c in self.clients if c.wanted],
        }
        return {what: found for what, found in held.items() if found}

    def check(self) -> None:
        """Raise where a message has no outcome or two, or a machine still holds something."""
        held = self.under_way()
        assert not held, held
        for client in self.clients:
            assert client.asked == client.answered
            for job in client.jobs.values():
                if not job.given_up:
                    assert job.outcomes == Counter(dict.fromkeys(job.sent, 1))

    def forget(self) -> None:
        """Let the clients cancel what is in the journal: then nothing is left of it."""
        for client in self.clients:
            for key in list(client.jobs):
                client.cancel_job(key)
        self._run_quietly(self._left, bound=2000)
        assert not self._left()

    def _left(self) -> set[bytes]:
        """Return what is on disk of jobs that a client has cancelled, and lives to say so."""
        cancelled = {
            key for client in self.clients for key, job in client.jobs.items() if job.cancelled
        }
        return {key for key, job in self.disk.jobs.items() if not job.ended} & cancelled
