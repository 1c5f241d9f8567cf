"""How many nodes a registry bears: what they cost it, and how soon it and they know the news."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

from benchmarks.memory import Memory, cpu_seconds
from benchmarks.output.parts import CLUSTER, Running
from benchmarks.processes import BrokenError, Place
from benchmarks.report import Report
from palm.registry_api.schema import ComponentSpec

__all__ = ["nodes"]

SIMULATED = "from benchmarks.nodes.simulated import main; main()"
COUNTS = (10, 100, 300, 1000)
QUICK = (10, 50)
#: Processes that each node has.
EACH = 4
#: Seconds in which all goes its way, and for anything here.
WHILE = 15.0
LIMIT = 120.0


class Simulated:
    """A process that is many nodes."""

    def __init__(self, place: Place, running: Running, count: int) -> None:
        args = (running.url, running.token_file, CLUSTER, str(count))
        self._place = place
        self.process = place.spawn(SIMULATED, *args, talk=True)
        self.joined = float(self._answer()["joined"])

    def figures(self) -> dict[str, list[float]]:
        """Return what was seen since the last time."""
        return dict(self._ask("figures"))

    def lose(self, count: int) -> None:
        """Let so many fall silent."""
        self._ask(f"lose {count}")

    def _ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            print(command, file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise BrokenError(f"the nodes are gone\n{self._place.complaints()}") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BrokenError(f"the nodes are gone\n{self._place.complaints()}")
        return dict(json.loads(line))


def nodes(report: Report) -> None:
    """a registry with 10, 100, 300 and 1,000 nodes (simulated), four processes each"""
    rows: dict[str, dict[str, list[float]]] = {}
    for count in QUICK if report.quick else COUNTS:
        _measure(count, report.quick, rows)
    units = {
        "all have joined": "s",
        "all processes are ready": "s",
        "the registry's processor": "cores",
        "the registry's growth": "MiB",
        "an answer to samples, p50": "s",
        "an answer to samples, p99": "s",
        "samples behind their time, p99": "s",
        "the status of all": "s",
        "a lost node's processes are ready elsewhere": "s",
    }
    for part, unit in units.items():
        note = f"{EACH} processes a node, one sample of each a second" if part in FIRST else ""
        report.add(part, unit, rows[part], note=note)


FIRST = ("all have joined",)


def _measure(count: int, quick: bool, rows: dict[str, dict[str, list[float]]]) -> None:
    def note(part: str, value: float) -> None:
        rows.setdefault(part, {})[f"{count:,} nodes"] = [value]

    with Place() as place:
        running = Running(place)
        registry = running.client
        memory = Memory(running.process.pid)
        simulated = Simulated(place, running, count)
        note("all have joined", simulated.joined)
        began = time.perf_counter()
        spec = ComponentSpec(name="work", command=["true"], replicas=count * EACH)
        registry.declare(CLUSTER, spec)
        _until(place, lambda: _are_ready(running, count * EACH), "all processes")
        note("all processes are ready", time.perf_counter() - began)
        simulated.figures()
        before, began = cpu_seconds(running.process.pid), time.perf_counter()
        _let_pass(simulated.process, WHILE / 3 if quick else WHILE)
        taken = time.perf_counter() - began
        note("the registry's processor", (cpu_seconds(running.process.pid) - before) / taken)
        figures = simulated.figures()
        memory.look()
        note("the registry's growth", memory.growth)
        note("an answer to samples, p50", _share(figures["samples"], 50))
        note("an answer to samples, p99", _share(figures["samples"], 99))
        note("samples behind their time, p99", _share(figures["behind"], 99))
        began = time.perf_counter()
        registry.cluster_status(CLUSTER)
        note("the status of all", time.perf_counter() - began)
        simulated.lose(1)
        began = time.perf_counter()
        lost = f"node-{count - 1:05}"
        _until(place, lambda: _are_elsewhere(running, lost, count * EACH), "the lost processes")
        note("a lost node's processes are ready elsewhere", time.perf_counter() - began)


def _are_ready(running: Running, wanted: int, unlike: str = "") -> bool:
    status = running.client.cluster_status(CLUSTER)
    replicas = status.components[0].replicas if status.components else []
    return sum(each.state == "ready" and each.node != unlike for each in replicas) == wanted


def _are_elsewhere(running: Running, lost: str, wanted: int) -> bool:
    return _are_ready(running, wanted, unlike=lost)


def _until(place: Place, condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            raise BrokenError(f"{what} were not ready in {LIMIT:.0f} s\n{place.complaints()}")
        time.sleep(0.05)


def _let_pass(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise BrokenError("the nodes are gone")


def _share(values: list[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]
