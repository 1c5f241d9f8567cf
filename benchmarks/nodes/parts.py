"""How many nodes a registry bears: what they cost it, and how soon it and they know the news."""

from __future__ import annotations

from math import inf

from benchmarks.nodes.postgres import Server
from benchmarks.nodes.trial import EACH, MOVE_AFTER, Trial
from benchmarks.processes import BrokenError, Place
from benchmarks.report import Report
from palm.errors import PalmError

__all__ = ["nodes", "nodes_postgresql"]

COUNTS = (10, 100, 300, 1000)
#: The same over PostgreSQL, which is compared with it.
COMPARED = (100, 300)
QUICK = (10, 50)
ROUNDS = 3

#: What is measured, its unit, and what is to be said of it.
UNITS = {
    "all have joined": ("s", f"{EACH} processes a node, one sample of each a second"),
    "processor of the registry for a join": ("ms", ""),
    "all processes are ready": ("s", ""),
    "processor of the registry for a process": ("ms", "until it is ready, with all else meanwhile"),
    "processor of the registry": ("cores", "while nothing but samples and questions comes"),
    "processor of the simulated nodes": ("cores", "they share the machine with the registry"),
    "growth of the registry": ("MiB", ""),
    "an answer to samples, p50": ("s", ""),
    "an answer to samples, p99": ("s", ""),
    "samples behind their time, p99": ("s", ""),
    "the status of all": ("s", ""),
    "one node lost, its processes are ready elsewhere": ("s", "beyond the time until they move"),
    "a tenth lost, their processes are ready elsewhere": ("s", "beyond the time until they move"),
    "registry killed (-9): it listens again": ("s", "it is started at once"),
    "registry killed (-9): all nodes are back": ("s", ""),
    "registry killed (-9): samples of all flow": ("s", ""),
}


def nodes(report: Report) -> None:
    """a registry with 10, 100, 300 and 1,000 nodes (simulated), four processes each"""
    _measure(report, "SQLite", QUICK if report.quick else COUNTS)


def nodes_postgresql(report: Report) -> None:
    """the same with 100 and 300 nodes, over SQLite and over a PostgreSQL of its own, in turn"""
    with Server() as server:
        databases = {"SQLite": None, "PostgreSQL": server}
        counts = QUICK[-1:] if report.quick else COMPARED
        found = _Found(report)
        for count in counts:
            for _ in range(1 if report.quick else ROUNDS):
                for kind, database in databases.items():
                    found.look(f"{count:,} nodes, {kind}", count, database)
        found.add()


def _measure(report: Report, kind: str, counts: tuple[int, ...]) -> None:
    found = _Found(report)
    for count in counts:
        for _ in range(1 if report.quick else ROUNDS):
            found.look(f"{count:,} nodes, {kind}", count)
    found.add()


class _Found:
    """The figures of all trials. What did not come about in time is one, too."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._runs: dict[str, dict[str, list[float]]] = {}
        self._notes: dict[str, dict[str, str]] = {}

    def look(self, system: str, count: int, database: Server | None = None) -> None:
        """Measure once; whatever becomes of it, the others are measured, too."""

        def note(part: str, value: float) -> None:
            self._runs.setdefault(part, {}).setdefault(system, []).append(value)

        def miss(part: str, text: str) -> None:
            note(part, inf)
            self._notes.setdefault(part, {})[system] = text

        arguments = ["--move-after", f"{MOVE_AFTER:g}"]
        if database is not None:
            arguments += ["--db", database.new_database()]
        try:
            with Place() as place:
                trial = Trial(place, count, note, miss, arguments)
                trial.run(5.0 if self._report.quick else 10.0)
        except (BrokenError, PalmError) as error:
            self._report.warn(f"{system}: {error}")

    def add(self) -> None:
        """Hand them over."""
        for part, (unit, text) in UNITS.items():
            if part in self._runs:
                notes = self._notes.get(part)
                self._report.add(part, unit, self._runs[part], note=text, notes=notes)
