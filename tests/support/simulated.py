"""Who takes part in a simulation: clients and workers with real machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from palm.errors import PalmError
from palm.protocol.client import ClientMachine
from palm.protocol.dispatch import MAX_DEATHS
from palm.protocol.effects import (
    Accepted,
    Answered,
    Deliver,
    Expired,
    Fail,
    Invoke,
    Log,
    Note,
    Ready,
    Reconnect,
    Reply,
    Stopped,
)
from palm.protocol.events import (
    Asked,
    Cancelled,
    Completed,
    LookedUp,
    Opened,
    Resumed,
    RoomMade,
    StopRequested,
    Submitted,
    Tick,
    Wanted,
)
from palm.protocol.link import Identity
from palm.protocol.worker import WorkerMachine
from palm.runtime.driver import Driver
from palm.transport.base import Arrived, Gone, TransportEvent
from palm.transport.memory import MemoryConnector, MemoryListener
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import Answer, Fetch, Keep, Terms
from palm.wire.outcome import Failure, Kind, encode_failure

if TYPE_CHECKING:
    from tests.support.simulation import Simulation

__all__ = [
    "COMMON",
    "ERROR",
    "FLAKY",
    "MASTER",
    "POISON",
    "RARE",
    "Client",
    "Job",
    "Lossy",
    "Worker",
]

MASTER: Final = "memory://foo"

#: What every worker serves, and what only one of them does.
COMMON, RARE = "double", "rare"

#: A message that ends its worker, and one whose function raises.
POISON, ERROR = b"poison", b"error"

#: A message whose function raises at times.
FLAKY: Final = b"flaky"

#: A message that its client could not send.
REFUSED: Final = b"refused"

ERROR_PAYLOAD: Final = encode_failure(Failure("ValueError", "no"))

#: What nobody knows of a key.
UNKNOWN: Final = object()

#: Who comes with this key counts as being on another host.
REMOTE_USER: Final = "owner"


class Lossy:
    """A transport that hands over only a part of what has arrived: the rest is on its way."""

    def __init__(self, inner: MemoryListener | MemoryConnector, random: Random) -> None:
        self.inner = inner
        self._random = random
        self._waiting: list[TransportEvent] = []
        #: Nothing arrives from these, though they may hear us: a partition in one direction.
        self.muted: set[bytes] = set()

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """Return a prefix of what waits; news of a broken connection may come even later.

        Where it does, the peer may have greeted over its next connection before.
        """
        self._fetch()
        muted = [event for event in self._waiting if _peer_of(event) in self.muted]
        heard = [event for event in self._waiting if event not in muted] if muted else self._waiting
        n = self._random.randint(0, len(heard))
        events, self._waiting = heard[:n], [*muted, *heard[n:]]
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


def _peer_of(event: TransportEvent) -> bytes:
    return getattr(event, "peer", b"")


def _is_from(event: TransportEvent, peer: bytes) -> bool:
    return isinstance(event, Arrived) and event.peer == peer


@dataclass
class Job:
    """What was sent, and what came back, by message."""

    function: str
    terms: Terms | None = None
    sent: dict[int, bytes] = field(default_factory=dict)
    outcomes: Counter[int] = field(default_factory=Counter)
    #: How often a master had begun to know its client when a message was sent.
    births: dict[int, int] = field(default_factory=dict)
    opened: float = 0.0
    cancelled: bool = False
    #: Another client has it, or is about to.
    taken_over: bool = False
    last: bool = False
    #: Of a job in the journal: how many of its messages are known to be there, and the place of
    #: the outcome that comes next.
    accepted: int = 0
    position: int = 0

    @property
    def given_up(self) -> bool:
        """Whether its client expects nothing more of it."""
        return self.cancelled or self.taken_over

    @property
    def journaled(self) -> bool:
        """Whether it outlives its client."""
        return self.terms is not None and self.terms.journaled


class _Connected:
    """A connector with its machine; it connects again whenever it looks the master up."""

    def __init__(self, simulation: Simulation, user: str) -> None:
        self.simulation = simulation
        self.connector = simulation.network.connector(user)
        self.transport = Lossy(self.connector, simulation.random)
        self.alive = True
        self.frozen = False
        simulation.joined += 1
        self.number = simulation.joined
        self.asked = self.answered = 0
        #: What the cache has under each key (None: nothing), since its master began.
        self.values: dict[str, object] = {}

    def drive(
        self, machine: ClientMachine | WorkerMachine, perform: dict[type, Callable[[Any], None]]
    ) -> None:
        ignored = dict.fromkeys((Expired, Log, Note, Ready), ignore)
        own = {Reconnect: self.reconnect, Reply: self.reply, Stopped: self.stopped}
        clock = lambda: self.simulation.now  # noqa: E731
        self.driver = Driver(machine, self.transport, ignored | own | perform, clock)
        self.driver.perform(machine.start(self.simulation.now))

    def reconnect(self, effect: Reconnect) -> None:
        self.connector.connect(MASTER)
        self.simulation.later.append((self.driver, LookedUp(True)))

    def partition(self, *, deaf: bool, mute: bool) -> None:
        """Hear nothing, or be heard by nobody, or both, until the connection breaks or `heal`."""
        if deaf:
            self.transport.muted.add(b"")
        if mute:
            self.simulation.master_transport.muted.add(self.connector._peer)

    def heal(self) -> None:
        """End a partition: what was on its way arrives."""
        self.transport.muted.clear()
        self.simulation.master_transport.muted.discard(self.connector._peer)

    def break_link(self) -> None:
        """Lose the connection, and some of what is on its way in both directions."""
        self.heal()
        self.transport.lose()
        self.simulation.master_transport.lose(self.connector._peer)
        self.connector.break_off()

    def stopped(self, effect: Stopped) -> None:
        self.alive = False
        self.heal()
        self.connector.break_off()

    def kill(self) -> None:
        self.alive = False
        self.break_link()

    def ask(self) -> None:
        """Use the cache, under keys that nobody else uses."""
        random = self.simulation.random
        value = random.randbytes(3) if random.random() < 0.5 else None
        delete = value is None and random.random() < 0.5
        key = f"{random.choice('abc')}-{self.number}"
        before = self.values.get(key, UNKNOWN)
        if value is not None or delete:
            self.values[key] = value
        self.asked += 1
        link, life = self.machine.link, self.simulation.life
        known = before is not UNKNOWN and link.birth
        now = (life, link.birth) if known else None  # when the answer is known already

        asked = self.asked

        def reply(found: bool, key: str, codec: int, batch: Batch | None, error: object) -> None:
            # What is read again, as an answer was lost, may be what was written since.
            exact = delete or value is not None or asked == self.asked
            if exact and now == (self.simulation.life, link.birth):
                got = bytes(batch.payloads()[0]) if batch is not None else None
                expected = None if delete or value is not None else before
                assert (found, got) == (before is not None, expected), "a cache that forgets"

        batch = Batch.pack([value]) if value is not None else None
        request = Fetch(0, 0, key, delete) if batch is None else Keep(0, 0, key, Codec.RAW)
        self.driver.handle(Wanted(request, reply, batch))

    def reply(self, effect: Reply) -> None:
        self.answered += 1
        effect.call(effect.found, effect.key, effect.codec, effect.batch, effect.error)


class Worker(_Connected):
    """Runs what it is given when the simulation lets it."""

    def __init__(self, simulation: Simulation, name: str, functions: list[str]) -> None:
        random = simulation.random
        super().__init__(simulation, REMOTE_USER if random.random() < 0.3 else "worker")
        identity = Identity(
            "worker", name, random.randbytes(16), "foo", functions,
            lease_seconds=random.choice([0.0, 0.1, 1e9]),
            process=(b"", b"p", b"q")[sum(name.encode()) % 3],  # here they break one by one
        )  # fmt: skip
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
        return self.simulation.random.random() < self.simulation.flakiness

    def stop(self) -> None:
        """Be asked to stop: at once, and maybe in the middle of a call, or after what it runs."""
        if not self.alive:
            return
        at_once = self.simulation.random.random() < 0.5
        if at_once and self.running is not None and not self.frozen:
            payload = bytes(self.running.batch.payloads()[self.at])
            self.simulation.ran(self.running.task, self.at, [payload])
        self.driver.handle(StopRequested(0.0 if at_once else 1.0))
        if at_once:
            self.driver.handle(Tick())

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
        #: Jobs of others that it wants, until their master has said what it knows.
        self.wanted: dict[bytes, Job] = {}
        self.drive(
            self.machine,
            {
                Accepted: self.accepted,
                Answered: lambda effect: effect.call(effect.answer, effect.error),
                Deliver: self.deliver,
                Fail: self.fail,
            },
        )

    @property
    def births(self) -> int:
        """How often a master began to know it."""
        return self.simulation.births[self.machine.link.identity.session]

    def submit(self, payloads: list[bytes], *, last: bool) -> None:
        """Send more of the latest job, or of a new one."""
        open_ = [key for key, job in self.jobs.items() if not (job.last or job.given_up)]
        key = open_[-1] if open_ else self._open()
        self.send(key, self.jobs[key], payloads, last=last)

    def _open(self) -> bytes:
        random = self.simulation.random
        key = random.randbytes(8)
        function = RARE if random.random() < 0.2 else COMMON
        terms = self.simulation.new_terms()
        self.jobs[key] = Job(function, terms, opened=self.simulation.now)
        if terms is not None and terms.at_most_once:
            self.simulation.once.add(key)
        if random.random() < 0.25:
            self.simulation.partitions[key] = b""
        if terms is not None and terms.deadline:
            self.driver.handle(Opened(key, f"foo.{function}", terms))
        return key

    def send(self, key: bytes, job: Job, payloads: list[bytes], *, last: bool) -> None:
        """Send more of a job; of one in the journal some that cannot be packed."""
        random = self.simulation.random
        if job.journaled and payloads and random.random() < 0.1:
            self._send(key, job, [REFUSED], last=False)
        self._send(key, job, payloads, last=last)

    def _send(self, key: bytes, job: Job, payloads: list[bytes], *, last: bool) -> None:
        first = len(job.sent)
        job.sent.update(enumerate(payloads, first))
        job.births.update(dict.fromkeys(range(first, len(job.sent)), max(self.births, 1)))
        job.last = job.last or last
        refused = payloads == [REFUSED]
        batch = Batch.pack([ERROR_PAYLOAD] if refused else payloads)
        kinds = bytes([Kind.TASK_ERROR]) if refused else b""
        function, partitions = f"foo.{job.function}", b""
        if key in self.simulation.partitions:
            known = self.simulation.partitions[key]
            new = self.simulation.random.choices(b"ab", k=first + batch.n - len(known))
            known = self.simulation.partitions[key] = known + bytes(new)
            partitions = known[first : first + batch.n]
        event = Submitted(
            key, first, batch, function, Codec.RAW, last, job.terms, partitions, kinds
        )
        self.driver.handle(event)

    def cancel(self) -> None:
        """Cancel a job at random."""
        if self.jobs:
            self.cancel_job(self.simulation.random.choice(sorted(self.jobs)))

    def cancel_job(self, key: bytes) -> None:
        """Want nothing more of a job."""
        if not self.jobs[key].given_up:
            self.jobs[key].cancelled = True
            self.simulation.ended.add(key)
            self.driver.handle(Cancelled(key, self.jobs[key].journaled))

    def leave(self) -> None:
        """Go away, with or without a word; jobs in the journal stay for others."""
        for key, job in self.jobs.items():
            if job.journaled and not job.given_up:
                self.simulation.orphans[key] = job
        self.simulation.orphans.update(self.wanted)
        self.simulation.contested.update(self.wanted)
        if self.simulation.random.random() < 0.5:
            self.driver.handle(StopRequested(0.0))
        else:
            self.kill()

    # Jobs in the journal

    def adopt(self, key: bytes, job: Job) -> None:
        """Go on with a job of another client, which may have gone, or not know of it yet."""
        self.wanted[key] = job
        accepted = job.accepted
        reply = lambda answer, error: self._adopt(key, accepted, answer, error)  # noqa: E731
        self.driver.handle(Asked(reply, 0, key, True))

    def _adopt(
        self, key: bytes, accepted: int, answer: Answer | None, error: PalmError | None
    ) -> None:
        """Take a job of which ``accepted`` messages were known to be in the journal, at least."""
        assert answer is not None, error
        job = self.wanted.pop(key)
        if not answer.jobs:
            lost = accepted and key not in self.simulation.ended | self.simulation.unknown
            assert not lost, f"{accepted} messages were accepted, and are forgotten"
            self.simulation.unknown.add(key)
            job.taken_over = False  # who had it has it still
            return
        (known,) = answer.jobs
        assert known.accepted >= accepted, "messages were accepted, and are lost"
        sent = [job.sent[index] for index in sorted(job.sent)]
        assert known.accepted <= len(sent), "more messages than were sent"
        mine = Job(job.function, job.terms, opened=job.opened, accepted=known.accepted)
        mine.sent.update(enumerate(sent[: known.accepted]))
        mine.last = known.closed
        self.jobs[key] = mine
        function = f"foo.{job.function}"
        self.driver.handle(Resumed(key, function, known.terms, known.accepted, known.closed))
        for payload in sent[known.accepted :]:
            self._send(key, mine, [payload], last=False)

    def accepted(self, effect: Accepted) -> None:
        job = self.jobs[effect.job]
        assert job.accepted <= effect.upto <= len(job.sent)
        job.accepted = effect.upto

    def make_room(self) -> None:
        """Have room for more outcomes of all jobs."""
        for key, job in self.jobs.items():
            if job.journaled:
                self.driver.handle(RoomMade(key, job.position))

    # Outcomes

    def deliver(self, effect: Deliver) -> None:
        job = self.jobs[effect.job]
        assert not job.cancelled, "an outcome after the cancel"
        outcome = effect.outcome
        if job.journaled:
            assert outcome.position in (job.position, job.position - 1), "outcomes have gaps"
            job.position = outcome.position + 1
        inputs = _inputs(effect)
        for at, payload in enumerate(map(bytes, effect.batch.payloads())):
            index = outcome.first + at
            job.outcomes[index] += 1
            kind = outcome.kinds[at] if outcome.kinds else Kind.RESULT
            self._check(job, index, kind, payload)
            if job.journaled:
                self._check_kept(effect.job, job, index, (kind, payload))
            else:
                assert kind == Kind.RESULT or inputs[index] == job.sent[index]

    def _check_kept(self, key: bytes, job: Job, index: int, outcome: tuple[int, bytes]) -> None:
        """What one client has seen of a job in the journal, all others see."""
        assert index < job.accepted, f"an outcome of message {index}, which was not accepted"
        seen = self.simulation.seen.setdefault((key, index), outcome)
        assert seen == outcome, f"message {index} had another outcome before"

    def _check(self, job: Job, index: int, kind: int, payload: bytes) -> None:
        sent = job.sent[index]
        if sent == REFUSED and kind != Kind.DEADLINE_EXCEEDED:
            assert (kind, payload) == (Kind.TASK_ERROR, ERROR_PAYLOAD)
        elif kind == Kind.FUNCTION_NOT_FOUND:
            assert job.function == RARE
        elif kind == Kind.DEADLINE_EXCEEDED:
            assert job.terms is not None
            limit = job.terms.deadline or job.terms.timeout
            assert limit and self.simulation.now >= job.opened + limit, index
        elif kind in (Kind.WORKER_LOST, Kind.MASTER_LOST):
            assert job.terms is not None and job.terms.at_most_once, index
            if kind == Kind.MASTER_LOST and not job.journaled:
                assert self.births > job.births[index], "no master was lost, nor our session"
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
        job = self.jobs[effect.job] if effect.job is not None else None
        contested = effect.job in self.simulation.contested
        if effect.job is None or job is None or not (job.taken_over or contested):
            raise AssertionError(effect.error)
        if not job.taken_over:  # one that is dead asked for it last
            job.taken_over = True
            self.simulation.orphans[effect.job] = job


def _inputs(effect: Deliver) -> dict[int, bytes]:
    return {
        first + at: bytes(payload)
        for first, _, batch in effect.inputs
        for at, payload in enumerate(batch.payloads())
    }


def ignore(effect: object) -> None:
    """Do nothing."""
