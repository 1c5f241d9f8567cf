"""A registry and its simulated nodes, from the first that joins to the loss of many."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any

from benchmarks.memory import Memory, cpu_seconds
from benchmarks.output.parts import CLUSTER, Running
from benchmarks.processes import BrokenError, Place, kill
from benchmarks.systems import free_ports
from palm.registry_api.schema import ComponentSpec
from palm_registry.watch import LOST_AFTER

__all__ = ["EACH", "LIMIT", "MOVE_AFTER", "Simulated", "Trial"]

SIMULATED = "from benchmarks.nodes.simulated import main; main()"
#: Processes that each node has, and replicas of a component: it may have 1,024.
EACH, REPLICAS = 4, 256
#: Seconds after which what a lost node had goes elsewhere; an installation has 30.
MOVE_AFTER = 1.0
#: Seconds for anything here, and for all of one run: what is left then is not measured.
LIMIT, RUN = 45.0, 150.0


class Simulated:
    """A process that is many nodes; those that do not join within a limit are none."""

    def __init__(self, place: Place, running: Running, count: int, within: float = LIMIT) -> None:
        args = (running.url, running.token_file, CLUSTER, str(count), str(within))
        self._place = place
        self.process = place.spawn(SIMULATED, *args, talk=True)
        found = self._answer(within + LIMIT)
        self.count, self.seconds = int(found["joined"]), float(found["seconds"])

    def figures(self) -> dict[str, list[float]]:
        """Return what was seen since the last time."""
        return dict(self._ask("figures"))

    def lose(self, count: int) -> None:
        """Let so many fall silent: those with the highest numbers."""
        self._ask(f"lose {count}")
        self.count -= count

    def _ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            print(command, file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise BrokenError(f"the nodes are gone\n{self._place.complaints()}") from error
        return self._answer(LIMIT)

    def _answer(self, within: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        timer = threading.Timer(within, kill, [self.process])
        timer.daemon = True
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise BrokenError(f"the nodes are gone\n{self._place.complaints()}")
        return dict(json.loads(line))


class Trial:
    """One run with so many nodes.

    Parameters
    ----------
    note, miss
        Take a figure; take what did not come about, and in words how far it came.
    arguments
        Of ``palm registry``.
    """

    def __init__(
        self,
        place: Place,
        count: int,
        note: Callable[[str, float], None],
        miss: Callable[[str, str], None],
        arguments: Sequence[str],
    ) -> None:
        self._place, self._note, self._miss = place, note, miss
        self._running = Running(place, "--port", str(free_ports(1)[0]), *arguments)
        self._registry = self._running.client
        self._memory = Memory(self._running.process.pid)
        self._wanted = count * EACH
        self._end = time.perf_counter() + RUN
        self._join(count)

    def run(self, seconds: float) -> None:
        """Measure one thing after the other; samples for so many seconds."""
        self._declare()
        self._watch(seconds)
        self._restart()
        self._lose(1, "one node lost, its processes are ready elsewhere")
        tenth = max(1, self._simulated.count // 10)
        self._lose(tenth, "a tenth lost, their processes are ready elsewhere")

    def _join(self, count: int) -> None:
        before = cpu_seconds(self._running.process.pid)
        self._simulated = Simulated(self._place, self._running, count)
        joined, taken = self._simulated.count, cpu_seconds(self._running.process.pid) - before
        if joined < count:
            self._miss("all have joined", f"{joined:,} of {count:,} after {LIMIT:g} s")
        else:
            self._note("all have joined", self._simulated.seconds)
        if not joined:
            raise BrokenError("no node has joined")
        self._note("processor of the registry for a join", 1e3 * taken / joined)

    def _declare(self) -> None:
        began, before = time.perf_counter(), cpu_seconds(self._running.process.pid)
        for at in range(0, self._wanted, REPLICAS):
            replicas = min(REPLICAS, self._wanted - at)
            name = f"work-{at // REPLICAS}"
            spec = ComponentSpec(name=name, command=["true"], replicas=replicas)
            self._registry.declare(CLUSTER, spec)
        self._until("all processes are ready", began, self._ready)
        taken = cpu_seconds(self._running.process.pid) - before
        self._note("processor of the registry for a process", 1e3 * taken / self._wanted)

    def _watch(self, seconds: float) -> None:
        pids = {
            "processor of the registry": self._running.process.pid,
            "processor of the simulated nodes": self._simulated.process.pid,
        }
        self._simulated.figures()
        before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.perf_counter()
        _let_pass(self._simulated.process, seconds)
        taken = time.perf_counter() - began
        for name, pid in pids.items():
            self._note(name, (cpu_seconds(pid) - before[name]) / taken)
        figures = self._simulated.figures()
        self._memory.look()
        self._note("growth of the registry", self._memory.growth)
        self._note("an answer to samples, p50", _share(figures["samples"], 50))
        self._note("an answer to samples, p99", _share(figures["samples"], 99))
        self._note("samples behind their time, p99", _share(figures["behind"], 99))
        began = time.perf_counter()
        self._registry.cluster_status(CLUSTER)
        self._note("the status of all", time.perf_counter() - began)

    def _restart(self) -> None:
        part = "registry killed (-9): "
        process = self._running.process
        began = time.perf_counter()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self._running.start()
        self._note(f"{part}it listens again", time.perf_counter() - began)
        self._until(f"{part}all nodes are back", began, self._asking, self._simulated.count)
        self._until(f"{part}samples of all flow", began, self._sampled)

    def _lose(self, count: int, part: str) -> None:
        left = self._simulated.count - count
        if not left:
            return
        lost = {f"node-{number:05}" for number in range(left, self._simulated.count)}
        self._simulated.lose(count)
        moved = time.perf_counter() + LOST_AFTER + MOVE_AFTER
        self._until(part, moved, lambda: self._ready(lost))

    def _ready(self, lost: frozenset[str] | set[str] = frozenset()) -> int:
        """How many processes are ready, on others than the lost nodes."""
        status = self._registry.cluster_status(CLUSTER)
        return sum(
            each.state == "ready" and each.node not in lost
            for component in status.components
            for each in component.replicas
        )

    def _asking(self) -> int:
        """How many nodes wait for an answer now."""
        now = time.time()  # of one that has not asked yet, we know when the registry began
        return sum(node.alive and node.seen >= now for node in self._registry.nodes(CLUSTER))

    def _sampled(self) -> int:
        return len(self._registry.metrics(CLUSTER).samples)

    def _until(
        self, part: str, began: float, look: Callable[[], int], wanted: int | None = None
    ) -> None:
        """Note the seconds since `began` until `look` finds all, or how many it found at last."""
        wanted, start = wanted or self._wanted, time.perf_counter()
        if start > self._end:
            raise BrokenError(f"nothing was measured after {RUN:g} s")
        while (found := _timed(look))[0] < wanted:
            if (waited := time.perf_counter() - start) > LIMIT:
                self._miss(part, f"{found[0]:,} of {wanted:,} after {waited:.0f} s")
                return
            # A look at all costs the registry something: a fifth of its time at most.
            time.sleep(min(max(0.02, 4 * found[1]), 1.0))
        self._note(part, max(0.0, time.perf_counter() - began))


def _timed(look: Callable[[], int]) -> tuple[int, float]:
    began = time.perf_counter()
    found = look()
    return found, time.perf_counter() - began


def _let_pass(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise BrokenError("the nodes are gone")


def _share(values: list[float], percent: int) -> float:
    if not values:
        raise BrokenError("no samples were taken")
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]
