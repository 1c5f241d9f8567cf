"""Those who use a registry all at once: runners, components, followers, operators, seekers.

Each is a thread that goes on until told to stop, over any restart of the registry, and keeps
what is wrong in ``complaints``.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from palm.errors import RegistryError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient

__all__ = ["CLUSTER", "Actor", "Shared", "actors", "content"]

CLUSTER = "soak"
#: Bytes of a line, so that each knows what is at which offset.
LINE = 64
#: Components that write, and bytes of a piece at most.
WRITERS, PIECE = 6, 96 * 1024


def content(instance: str, begin: int, end: int) -> bytes:
    """What an instance writes from one offset to another."""
    first, last = begin // LINE, -(-end // LINE)
    lines = b"".join(
        f"{instance:<24} line {number:>{LINE - 31}}\n".encode() for number in range(first, last)
    )
    return lines[begin - first * LINE : end - first * LINE]


@dataclass
class Shared:
    """What all know: how to reach the registry, when to stop, what is wrong, what was done."""

    connect: Callable[[], RegistryClient]
    stop: threading.Event = field(default_factory=threading.Event)
    complaints: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    #: How far each instance knows that it is stored.
    acked: dict[str, tuple[str, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complain(self, text: str) -> None:
        """Note what is wrong."""
        with self.lock:
            self.complaints.append(text)

    def count(self, what: str, n: int = 1) -> None:
        """Note what was done."""
        with self.lock:
            self.done[what] += n


class Actor:
    """A thread that does something again and again."""

    #: Seconds between two times.
    pause = 0.05

    def __init__(self, shared: Shared, seed: int) -> None:
        self.shared = shared
        self.chance = random.Random(seed)
        self.client = shared.connect()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, within: float) -> bool:
        """Wait for its end; say whether it came."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self.shared.stop.wait(self.pause * self.chance.uniform(0.5, 1.5)):
                try:
                    self.act()
                except Refused as error:
                    self.refused(error)
                except RegistryError:
                    self.shared.count("calls while it was away")
        except Exception:  # noqa: BLE001 - whatever it is, it is told at the end
            self.shared.complain(traceback.format_exc())
        finally:
            self.end()
            self.client.close()

    def act(self) -> None:
        """Do it once."""
        raise NotImplementedError

    def refused(self, error: Refused) -> None:
        """Say what a refusal means: nothing here is to be refused but for a moment."""
        if error.status not in (404, 409, 503):
            self.shared.complain(f"{type(self).__name__}: {error.status} {error}")

    def end(self) -> None:
        """Let go of what it holds."""


class Writer(Actor):
    """A component's process: writes, and now and then is another one."""

    def __init__(self, shared: Shared, seed: int) -> None:
        super().__init__(shared, seed)
        self._component = f"writer-{seed % WRITERS}"
        self._life = 0
        self._begin()

    def _begin(self) -> None:
        self._life += 1
        self._instance = f"{self._component}.{self.chance.randrange(10**6)}.{self._life}"
        self._at = 0

    def act(self) -> None:
        if self._at > 40 * PIECE and self.chance.random() < 0.1:
            self._begin()
        end = self._at + self.chance.randrange(1, PIECE)
        # What was sent before comes again now and then: a reply may have been lost.
        begin = max(0, self._at - self.chance.choice([0, 0, 0, LINE, PIECE]))
        piece = schema.OutputPiece(
            instance=self._instance,
            stream="stdout",
            offset=begin,
            data=content(self._instance, begin, end),
            component=self._component,
        )
        (ack,) = self.client.send_output(CLUSTER, [piece])
        if ack.durable_offset < self._at:
            self.shared.complain(f"{self._instance}: {ack.durable_offset} after {self._at}")
        self._at = max(end, ack.durable_offset)
        with self.shared.lock:
            self.shared.acked[self._instance] = (self._component, ack.durable_offset)
        self.shared.count("bytes written", end - begin)


class Follower(Actor):
    """Follows for a while, and sees whether anything is missing; then another one does."""

    pause = 0.0

    def __init__(self, shared: Shared, seed: int) -> None:
        super().__init__(shared, seed)
        self._slow = seed % 3 == 0
        self._since = "now"

    def act(self) -> None:
        ends: dict[str, int] = {}
        components = self.chance.choice([(), (f"writer-{self.chance.randrange(WRITERS)}",)])
        until = time.monotonic() + self.chance.uniform(1.0, 8.0)
        topics = self.chance.choice([["output"], ["output", "events", "status"]])
        with self.client.live(
            CLUSTER, topics, self._since, components=components, gapless=True
        ) as feed:
            while time.monotonic() < until and not self.shared.stop.is_set():
                if (frame := feed.next_frame(0.2)) is None:
                    continue
                if frame.topic == "skipped":
                    self._skipped(frame.data)
                    ends.clear()
                for record in frame.data if frame.topic == "output" else ():
                    self._check(record, ends)
                if self._slow:
                    time.sleep(0.05)
            # The next one goes on here, or begins with what comes.
            self._since = self.chance.choice(["now", feed.cursor or "now"])
        self.shared.count("followers")

    def _skipped(self, skipped: schema.Skipped) -> None:
        if skipped.reason != "dropped":
            self.shared.complain(f"a gapless follower skipped {skipped}")

    def _check(self, record: schema.OutputRecord, ends: dict[str, int]) -> None:
        known = ends.get(record.instance, record.offset)
        if record.offset != known:
            self.shared.complain(f"{record.instance}: {record.offset} follows {known}")
        if record.raw != content(record.instance, record.offset, record.end):
            self.shared.complain(f"{record.instance}: other bytes at {record.offset}")
        ends[record.instance] = record.end
        self.shared.count("bytes followed", record.end - record.offset)


class Operator(Actor):
    """Declares, scales, stops and removes components, and reads what became of it."""

    pause = 0.1

    def act(self) -> None:
        name = f"c{self.chance.randrange(8)}"
        what = self.chance.choice(["declare", "scale", "stop", "start", "remove", "file", "status"])
        if what == "declare":
            spec = schema.ComponentSpec(name=name, command=["sleep", "9"], replicas=2)
            self.client.declare(CLUSTER, spec)
        elif what == "scale":
            self.client.scale(CLUSTER, name, self.chance.randrange(5))
        elif what == "stop":
            self.client.stop(CLUSTER, name)
        elif what == "start":
            self.client.start(CLUSTER, name)
        elif what == "remove":
            self.client.remove(CLUSTER, name)
        elif what == "file":
            replicas = self.chance.randrange(1, 4)
            text = f'[components.filed]\ncommand = ["sleep", "9"]\nreplicas = {replicas}\n'
            self.client.set_cluster(CLUSTER, text)
        else:
            self.client.cluster_status(CLUSTER)
            self.client.events(CLUSTER)
        self.shared.count(f"operators: {what}")


class Node(Actor):
    """A runner that does what it is told; it leaves and comes again now and then."""

    def __init__(self, shared: Shared, seed: int) -> None:
        super().__init__(shared, seed)
        self._name = f"node-{seed}"
        self._session = ""
        self._generation = -1

    def act(self) -> None:
        if not self._session:
            joined = self.client.join(CLUSTER, schema.NodeJoin(name=self._name, cores=4))
            self._session, self._generation = joined.session, -1
        beat = schema.Heartbeat(session=self._session, known_generation=self._generation, wait=0.5)
        answer = self.client.heartbeat(CLUSTER, self._name, beat)
        if answer.generation == self._generation:
            return
        statuses = [
            schema.ReplicaStatus(
                name=each.spec.replica_name(number), component=each.spec.name, replica=number,
                instance=f"{each.spec.replica_name(number)}.{each.spec.generation}",
                generation=each.spec.generation, state="ready",
            )
            for each in answer.components for number in each.numbers
        ]  # fmt: skip
        report = schema.Heartbeat(
            session=self._session, known_generation=-1, statuses=statuses, full=True
        )
        self._generation = self.client.heartbeat(CLUSTER, self._name, report).generation
        self.shared.count("assignments taken")
        if self.chance.random() < 0.02:
            self.client.leave(CLUSTER, self._name)
            self._session = ""

    def refused(self, error: Refused) -> None:
        super().refused(error)
        self._session = ""


class Seeker(Actor):
    """Looks for lines, pages through them, and downloads nothing twice."""

    pause = 0.5

    def act(self) -> None:
        what = self.chance.randrange(4)
        if what == 0:
            page = self.client.output(CLUSTER, lines=self.chance.randrange(1, 500))
            if page.more:
                self.client.output(CLUSTER, lines=10, before=page.first)
        elif what == 1:
            self.client.output(CLUSTER, regex=r"line\s+\d*7$", lines=20)
        elif what == 2:
            self.client.output(CLUSTER, grep="nobody wrote this", lines=5)
        else:
            ago = time.time() - self.chance.uniform(0, 30)
            self.client.output(CLUSTER, since=ago, limit=20)
        self.shared.count("searches")


def actors(shared: Shared, seed: int) -> list[Actor]:
    """All who use the registry."""
    kinds = [Writer] * WRITERS + [Follower] * 9 + [Operator] * 2 + [Node] * 3 + [Seeker] * 2
    return [kind(shared, seed + n) for n, kind in enumerate(kinds)]
