"""One job over several masters: what a message costs each process on its way, and who gets it.

All of them share this machine, so several masters cannot be quicker here than one. What can be
seen is the price of a message: from that follows what so many messages a second take elsewhere.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.memory import cpu_seconds
from benchmarks.processes import Caller, Place
from benchmarks.report import Report
from palm.runtime.folders import Folders
from palm.runtime.records import live_records

__all__ = ["shards"]

MASTER = """
import sys
from palm.servers import Master
Master(sys.argv[1]).start()
"""
WORKER = """
import sys
from benchmarks.work import FUNCTIONS
from palm.servers import Worker
Worker(sys.argv[1], master=sys.argv[2], functions=FUNCTIONS).start()
"""
COUNTS = (1, 2, 4)
#: Workers of the slower of two masters, and of the quicker.
UNLIKE = (1, 3)


class Masters:
    """Masters ``foo-1`` and on, each with so many workers."""

    def __init__(self, place: Place, *workers: int) -> None:
        self._place = place
        self._folders = Folders.find(place.environment)
        self.names = [f"foo-{at + 1}" for at in range(len(workers))]
        self.masters = [place.spawn(MASTER, name) for name in self.names]
        self.workers = [
            [place.spawn(WORKER, f"{name}-w{at}", name) for at in range(count)]
            for name, count in zip(self.names, workers, strict=True)
        ]
        wanted = len(workers) + sum(workers)
        place.await_(lambda: len(live_records(self._folders)) >= wanted, "masters and workers")

    def caller(self, *names: str) -> Caller:
        """Return a process with a client of all masters, or of some."""
        return Caller(self._place, "shards", *(names or self.names))

    def processor(self) -> dict[str, float]:
        """Return the seconds that the masters took together, and the workers."""
        workers = [each for of_one in self.workers for each in of_one]
        return {"the masters": _seconds(self.masters), "the workers": _seconds(workers)}


def _seconds(processes: list[subprocess.Popen[str]]) -> float:
    return sum(cpu_seconds(process.pid) for process in processes)


def shards(report: Report) -> None:
    """one job over 1, 2 and 4 masters, by one client and by one for each, and unlike masters"""
    n, rounds = (200_000, 2) if report.quick else (1_000_000, 5)
    found: dict[str, dict[str, list[float]]] = {}
    for count in COUNTS:
        with Place() as place:
            masters = Masters(place, *[1] * count)
            one = {f"one client, {count} masters" if count > 1 else "one client, one master": [
                masters.caller()
            ]}  # fmt: skip
            each = {f"{count} clients, a master each": [
                masters.caller(name) for name in masters.names
            ]} if count > 1 else {}  # fmt: skip
            for at in range(-1, rounds):
                for system, callers in (one | each).items():
                    figures = _ask(masters, callers, n)
                    for part, value in figures.items() if at >= 0 else ():
                        found.setdefault(part, {}).setdefault(system, []).append(value)
    for part, runs in found.items():
        unit = "/s" if part == RATE else "us"
        report.add(part, unit, runs, note=NOTES.get(part, ""))
    _measure_unlike(report)


RATE = "16-byte messages, together"
NOTES = {
    RATE: "a worker for each master; all processes share the cores",
    "processor for a message: the clients": "of all together, as below",
}


def _ask(masters: Masters, callers: list[Caller], n: int) -> dict[str, float]:
    """Return what so many messages took, a part of them by each of the callers at once."""
    share, before = n // len(callers), masters.processor()
    with ThreadPoolExecutor(len(callers)) as threads:
        answers: list[dict[str, Any]] = list(
            threads.map(lambda caller: caller.ask("rate", function="stamp", n=share), callers)
        )
    after = masters.processor()
    messages = share * len(callers)
    figures = {
        RATE: messages / max(answer["seconds"] for answer in answers),
        "processor for a message: the clients": sum(a["processor"] for a in answers),
        **{f"processor for a message: {who}": after[who] - before[who] for who in before},
    }
    return {p: v if p == RATE else 1e6 * v / messages for p, v in figures.items()}


def _measure_unlike(report: Report) -> None:
    n, rounds = (2_000, 2) if report.quick else (8_000, 5)
    parts: list[float] = []
    seconds: list[float] = []
    taken: list[float] = []
    for _ in range(rounds):
        with Place() as place:
            masters = Masters(place, *UNLIKE)
            caller = masters.caller()
            caller.ask("calls", function="stamp", n=5)  # it has found them
            before = masters.processor()["the masters"]
            seconds.append(caller.ask("rate", function="nap", n=n)["seconds"])
            taken.append(1e6 * (masters.processor()["the masters"] - before) / n)
            ran = [
                masters.caller(name).ask("executions", workers=workers)["executions"]
                for name, workers in zip(masters.names, UNLIKE, strict=True)
            ]
            parts.append(100 * ran[1] / sum(ran))
    name = f"{UNLIKE[0]} and {UNLIKE[1]} workers"
    best = 100 * UNLIKE[1] / sum(UNLIKE)
    part = f"two unlike masters, {n:,} x 1 ms"
    report.add(f"{part}: messages of the quicker", "%", {name: parts}, note=f"even: {best:g} %")
    report.add(f"{part}: processor for a message, the masters", "us", {name: taken})
    ideal = n * 1e-3 / sum(UNLIKE)
    report.add(f"{part}: seconds", "s", {name: seconds}, note=f"sleeps alone: {ideal:g} s")
