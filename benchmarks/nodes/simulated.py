"""A process that is many nodes at once: it talks to a registry as their runners would.

Each node has what a runner has: a question that waits for something new, a report of what has
changed, and, as often as it is told, the samples of all its processes, each on a connection of its
own. When the registry is away it tries again as a runner does. Its processes are ready as soon as
they are wanted, and use nothing.

It takes commands on stdin, a line each: ``lose N`` lets so many nodes fall silent, ``figures``
prints what was seen since the last time, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from palm.registry_api.schema import (
    Assignments,
    Heartbeat,
    NodeJoin,
    NodeJoined,
    NodeSamples,
    ReplicaStatus,
    Sample,
)
from palm.runner.membership import RETRY_FIRST, RETRY_LIMIT, WAIT
from palm.runner.sampling import EVERY

__all__ = ["Line", "Node", "RefusedError", "main"]

T = TypeVar("T")

#: Nodes that join at the same time, as when a whole cluster of machines is switched on.
JOINING = 64


class RefusedError(Exception):
    """The registry does not want to hear this."""


class AwayError(Exception):
    """The registry is away, or has no time."""


class Line:
    """A connection to the registry, one request after the other."""

    def __init__(self, url: str, token: str) -> None:
        self._at = urlsplit(url)
        self._token = token
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: Any, reply: type[T]) -> T:
        """Send a request and read its answer.

        Raises
        ------
        RefusedError, AwayError
            The registry refuses it; it is away, and the next request connects anew.
        """
        try:
            status, answer = await self._exchange(path, msgspec.json.encode(body))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise AwayError(str(error)) from error
        if status >= 500:
            raise AwayError(answer.decode(errors="replace"))
        if status >= 300:
            raise RefusedError(f"{path}: {status} {answer.decode(errors='replace')}")
        if reply is type(None):
            return None  # type: ignore[return-value]
        return msgspec.json.decode(answer, type=reply)

    async def _exchange(self, path: str, data: bytes) -> tuple[int, bytes]:
        if self._writer is None or self._reader is None:
            host, port = self._at.hostname or "", self._at.port or 0
            self._reader, self._writer = await asyncio.open_connection(host, port)
        head = (
            f"POST /api/{path} HTTP/1.1\r\nHost: {self._at.netloc}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        self._writer.write(head.encode() + data)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = int(answered.partition("content-length:")[2].partition("\r\n")[0] or 0)
        return int(answered.split()[1]), await self._reader.readexactly(size)

    def close(self) -> None:
        """Let it go."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Figures:
    """Seconds that answers took, and how far samples were behind their time."""

    def __init__(self) -> None:
        self.reports: list[float] = []
        self.samples: list[float] = []
        self.behind: list[float] = []

    def take(self) -> dict[str, list[float]]:
        """Return what there is, and begin anew."""
        taken = {"reports": self.reports, "samples": self.samples, "behind": self.behind}
        self.__init__()  # type: ignore[misc]
        return taken


class Node:
    """One simulated node."""

    def __init__(self, url: str, token: str, cluster: str, name: str, figures: Figures) -> None:
        self._asking, self._telling, self._sampling = (Line(url, token) for _ in range(3))
        self._path = f"clusters/{cluster}/nodes"
        self._name = name
        self._figures = figures
        self._session = ""
        self._known = -1
        self._every = EVERY
        self._running: dict[str, ReplicaStatus] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Be a node, with nothing on it, until `lose`."""
        node = NodeJoin(name=self._name, address="127.0.0.1", cores=8)
        joined = await _again(lambda: self._asking.post(self._path, node, NodeJoined))
        self._path, self._session = f"{self._path}/{joined.id}", joined.session
        await self._tell(Heartbeat(session=self._session, full=True))
        self._start()

    def _start(self) -> None:
        """Do as runners do, until `lose`."""
        self._tasks = [asyncio.create_task(self._ask()), asyncio.create_task(self._sample())]
        for task in self._tasks:
            task.add_done_callback(_complain)

    def lose(self) -> None:
        """Fall silent, as a machine does whose power is cut."""
        for task in self._tasks:
            task.cancel()
        for line in (self._asking, self._telling, self._sampling):
            line.close()

    async def _ask(self) -> None:
        while True:
            beat = Heartbeat(session=self._session, known_generation=self._known, wait=WAIT)
            answer = await _again(self._poster(self._asking, beat))
            if answer.generation != self._known:
                self._known, self._every = answer.generation, answer.sample_every
                await self._run(answer)

    async def _tell(self, beat: Heartbeat) -> None:
        await _again(self._poster(self._telling, beat))

    def _poster(self, line: Line, beat: Heartbeat) -> Callable[[], Awaitable[Assignments]]:
        return lambda: line.post(f"{self._path}/heartbeat", beat, Assignments)

    async def _run(self, wanted: Assignments) -> None:
        now = {status.name: status for status in self._processes(wanted)}
        changed = [status for name, status in now.items() if self._running.get(name) != status]
        self._running = now
        if not changed:
            return
        began = time.perf_counter()
        await self._tell(
            Heartbeat(session=self._session, known_generation=self._known, statuses=changed)
        )
        self._figures.reports.append(time.perf_counter() - began)

    def _processes(self, wanted: Assignments) -> list[ReplicaStatus]:
        return [
            ReplicaStatus(
                name=f"{assigned.spec.name}-{number}",
                component=assigned.spec.name,
                replica=number,
                node=self._name,
                instance=f"{self._name}.{assigned.spec.name}.{number}",
                generation=assigned.spec.generation,
                state="ready",
                pid=number + 1,
            )
            for assigned in wanted.components
            for number in assigned.numbers
        ]

    async def _sample(self) -> None:
        await asyncio.sleep(random.uniform(0, self._every))
        due = time.perf_counter()
        while True:
            began = time.perf_counter()
            if samples := self._samples():
                await self._send(samples)
                self._figures.behind.append(began - due)
            ended = time.perf_counter()
            due = max(due + self._every, ended)
            await asyncio.sleep(due - ended)

    async def _send(self, samples: list[Sample]) -> None:
        began = time.perf_counter()
        report = NodeSamples(session=self._session, samples=samples)
        with suppress(AwayError):  # what cannot be told now is left out
            await self._sampling.post(f"{self._path}/metrics", report, type(None))
            self._figures.samples.append(time.perf_counter() - began)

    def _samples(self) -> list[Sample]:
        now = time.time()
        return [
            Sample(
                name=status.name, component=status.component, replica=status.replica,
                node=self._name, instance=status.instance, pid=status.pid, time=now,
                cpu=50.0, cpu_seconds=now % 1e6, rss=64 * 2**20, threads=4, files=20,
                received=int(now), done=int(now), rate_in=1000.0, rate_out=1000.0, mean=1e-3,
            )
            for status in self._running.values()
        ]  # fmt: skip


async def _again(post: Callable[[], Awaitable[T]]) -> T:
    """Send a request until the registry is there, as often as a runner does."""
    delay = RETRY_FIRST
    while True:
        try:
            return await post()
        except AwayError:
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))
            delay = min(RETRY_LIMIT, 2 * delay)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"a node ended: {error!r}", file=sys.stderr, flush=True)


async def simulate(url: str, token: str, cluster: str, count: int, within: float) -> None:
    """Be so many nodes until stdin ends; those that have not joined in time are none."""
    figures = Figures()
    nodes = [Node(url, token, cluster, f"node-{n:05}", figures) for n in range(count)]
    room = asyncio.Semaphore(JOINING)

    async def join(node: Node) -> None:
        async with room:
            await node.join()

    began = time.perf_counter()
    joins = [asyncio.create_task(join(node)) for node in nodes]
    _, late = await asyncio.wait(joins, timeout=within)
    for task in late:
        task.cancel()
    for task in set(joins) - late:
        task.result()
    taken = time.perf_counter() - began
    nodes = [node for node, task in zip(nodes, joins, strict=True) if task not in late]
    print(json.dumps({"joined": len(nodes), "seconds": taken}), flush=True)
    loop = asyncio.get_running_loop()
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if command[0] == "figures":
            print(json.dumps(figures.take()), flush=True)
        elif command[0] == "lose":
            for _ in range(int(command[1])):
                nodes.pop().lose()
            print("{}", flush=True)


def main() -> None:
    """``argv``: url, file of a token, cluster, how many nodes, seconds in which they join."""
    url, token_file, cluster, count, within = sys.argv[1:]
    token = Path(token_file).read_text("utf-8").strip()
    with suppress(KeyboardInterrupt):
        asyncio.run(simulate(url, token, cluster, int(count), float(within)))
