"""Where palm is faster than a ProcessPoolExecutor, and where it is not: size x work x workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from benchmarks.processes import Caller, Place
from benchmarks.report import Goal, Report
from benchmarks.systems import PalmCluster

__all__ = ["BEST", "CHUNKS", "EXECUTOR", "PALM", "RATES", "RATIO", "SIZES", "WORKS", "curve"]

#: Payloads, by their bytes.
SIZES = {16: "16 B", 1 << 10: "1 KiB", 1 << 16: "64 KiB", 1 << 20: "1 MiB"}

#: What a message's work takes, by the function that does it.
WORKS = {"echo": "no work", "nap_100us": "0.1 ms", "nap": "1 ms", "nap_10ms": "10 ms"}

WORKERS = (1, 2, 4, 8)

#: Chunksizes that are tried beside 1, where each worker gets at least `SHARE` chunks.
CHUNK_SIZES = (4, 16, 64, 256, 1024)
SHARE = 4

#: Bytes of all messages of a run, and how many they are, at most.
MOST_BYTES, MOST_MESSAGES = 96 << 20, 300_000

#: Single latencies that a percentile is taken of, at least.
LATENCIES = 100

PALM, EXECUTOR, BEST = "palm, ipc", "executor, chunksize 1", "executor, best chunksize"

#: Names of the tables.
RATIO = "palm / best of the executor"
CHUNKS = "curve: chunksize of the best"
RATES = {name: f"curve: {name}" for name in (PALM, EXECUTOR, BEST)}

LEGEND = (
    "Curve: messages of all sizes that sleep so long, through so many worker processes; runs of a "
    "fifth of a second, at most 300,000 messages and 96 MiB, so the beginning of a job counts. The "
    "best of the executor is that of the chunksizes 1, 4, 16, 64, 256 and 1024 that was fastest "
    "there. Latencies: from when a message was due to its result in the caller, with messages due "
    "at half the rate that the slower of palm and chunksize 1 had shown; the executor's by "
    "`submit`, as each chunk would wait for its last."
)


@dataclass
class Curve:
    """The figures, by table, row (size and work) and column (workers)."""

    tables: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def put(self, table: str, row: str, column: str, values: list[float]) -> None:
        """Take the figures of a point."""
        self.tables.setdefault(table, {}).setdefault(row, {})[column] = values


def curve(report: Report) -> None:
    """payload size x work time x workers, palm beside ProcessPoolExecutor: where which is faster"""
    sizes, works, workers = list(SIZES), list(WORKS), list(WORKERS)
    if report.quick:
        sizes, works, workers = [16, 1 << 16], ["echo", "nap"], [2, 8]
    found = Curve()
    again = {PALM: 0, "executor": 0}
    messages = 0
    for count in workers:
        with Place() as ipc, Place() as others:
            palm = Counted(PalmCluster(ipc, count).caller(), count)
            executor = Counted(Caller(others, "executor", str(count), "1"), count)
            for size in sizes:
                for function in works:
                    point = Point(palm, executor, size, function, report.quick)
                    point.measure(found, f"{SIZES[size]}, {WORKS[function]}", named(count))
            again[PALM] += palm.runs_again()
            again["executor"] += executor.runs_again()
            messages += palm.messages
    publish(report, found)
    runs = {name: [float(count)] for name, count in again.items()}
    note = f"of {messages:,} messages"
    report.add("curve, runs of a message again", "", runs, {PALM: Goal(0)}, note=note)


def named(workers: int) -> str:
    """Return the column of so many workers."""
    return f"{workers} worker{'s' * (workers > 1)}"


class Counted:
    """A caller that knows how many messages its workers have had."""

    def __init__(self, caller: Caller, workers: int) -> None:
        self._caller = caller
        self.workers = workers
        self.messages = 0
        self._before = self._executions()

    def ask(self, measure: str, *, n: int, **options: Any) -> dict[str, Any]:
        """Have something measured with ``n`` messages."""
        self.messages += n
        return self._caller.ask(measure, n=n, **options)

    def runs_again(self) -> int:
        """Return how often functions ran beyond once for each message."""
        return self._executions() - self._before - self.messages

    def _executions(self) -> int:
        return int(self._caller.ask("executions", workers=self.workers)["executions"])


class Point:
    """One size, work and number of workers."""

    def __init__(
        self, palm: Counted, executor: Counted, size: int, function: str, quick: bool
    ) -> None:
        self._palm = palm
        self._executor = executor
        self._options = {"size": size, "function": function}
        self._most = min(MOST_MESSAGES, MOST_BYTES // size)
        #: Seconds of a run, and of the latencies; rounds.
        self._seconds, self._span, self._rounds = (0.1, 0.2, 1) if quick else (0.2, 0.5, 3)

    def measure(self, found: Curve, row: str, column: str) -> None:
        """Take messages a second, and latencies."""
        n, n_1 = self._enough(self._palm), self._enough(self._executor)
        chunk, n_chunk = self._best_chunk(n_1)
        systems = {
            PALM: partial(self._rate, self._palm, n),
            EXECUTOR: partial(self._rate, self._executor, n_1),
            BEST: partial(self._rate, self._executor, n_chunk, chunksize=chunk),
        }
        runs: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(self._rounds):
            for name, run in systems.items():
                runs[name].append(run())
        for name, values in runs.items():
            found.put(RATES[name], row, column, values)
        slower = min(median(runs[PALM]), median(runs[EXECUTOR]))
        best = max(median(runs[EXECUTOR]), median(runs[BEST]))
        found.put(RATIO, row, column, [median(runs[PALM]) / best])
        found.put(CHUNKS, row, column, [chunk if best == median(runs[BEST]) else 1])
        self._latencies(found, row, column, slower / 2)

    def _rate(self, system: Counted, n: int, **options: Any) -> float:
        return float(system.ask("rate", n=n, **self._options, **options)["rate"])

    def _enough(self, system: Counted, **options: Any) -> int:
        """Return how many messages take a system so long, about; it is warm then."""
        n = 4 * system.workers
        while True:
            rate = self._rate(system, n, **options)
            wanted = max(int(rate * self._seconds), 2 * system.workers)
            if n >= min(wanted / 3, self._most):
                return min(wanted, self._most)
            n = min(wanted, 10 * n, self._most)

    def _best_chunk(self, n: int) -> tuple[int, int]:
        """Return the chunksize that is fastest in one run each, and how many messages suit it.

        ``n`` messages are enough for chunksize 1.
        """
        best, best_rate = (1, n), 0.0
        for chunk in CHUNK_SIZES:
            least = SHARE * chunk * self._executor.workers
            if least > min(2 * n, self._most):
                break  # it would take longer than its turn
            n = max(n, least)
            rate = self._rate(self._executor, n, chunksize=chunk)
            if rate > best_rate:
                best, best_rate = (chunk, n), rate
            n = min(max(n, int(rate * self._seconds)), self._most)
        return best

    def _latencies(self, found: Curve, row: str, column: str, rate: float) -> None:
        """Take those of both, with messages due at the same rate."""
        n = min(max(int(rate * self._span), LATENCIES), self._most)
        for name, system in (("palm", self._palm), ("executor", self._executor)):
            seconds = system.ask("paced", n=n, rate=rate, **self._options)
            for figure in ("p50", "p99", "max"):
                table = f"curve: latency {figure}"
                found.put(table, row, f"{name}, {column}", [1000 * seconds[figure]])


def publish(report: Report, found: Curve) -> None:
    """Add the tables: the ratio in sight, what it is made of folded."""
    units = {RATIO: "x", CHUNKS: "messages"} | dict.fromkeys(RATES.values(), "messages/s")
    for name in sorted(found.tables, key=lambda name: name != RATIO):
        report.add_grid(name, units.get(name, "ms"), found.tables[name], folded=name != RATIO)
    report.remarks.append(LEGEND)
