"""What the promises cost: throughput and single calls, by promise, transport, size and work."""

from __future__ import annotations

from typing import Any

from benchmarks.processes import Caller, Place
from benchmarks.reliability.cluster import Cluster
from benchmarks.reliability.leases import Leases
from benchmarks.report import Report

__all__ = ["promises"]

#: Options of a job, by what it promises.
PROMISES: dict[str, dict[str, Any]] = {
    "at most once": {"at_most_once": True},
    "default": {},
    "durable": {"durable": True},
}

SIZES = {100: "100 B", 10_000: "10 kB", 1_000_000: "1 MB"}

#: What the work of a message is, by the function that does it.
WORKS = {"none": "no work", "sixty_four": "0.08 ms", "sixteen": "0.3 ms", "one": "5 ms"}

#: Messages, and bytes of them, that a run may have for each second it is to last: about what two
#: workers can do.
MOST_MESSAGES = {"none": 100_000, "sixty_four": 20_000, "sixteen": 5_000, "one": 400}
MOST_BYTES = 100e6

WORKERS = 2


def promises(report: Report) -> None:
    """messages through two workers, and single ones, by promise, transport, size and work"""
    with Place() as ipc, Place() as curve:
        clusters = {"ipc": Cluster(ipc), "CURVE": Cluster(curve, tcp=True)}
        for cluster in clusters.values():
            cluster.start_workers(WORKERS)
        callers = {name: cluster.caller() for name, cluster in clusters.items()}
        offered = [name for name in PROMISES if _is_offered(report, callers, name)]
        throughput(report, clusters, callers, offered)
        single_calls(report, callers, offered)


def throughput(
    report: Report, clusters: dict[str, Cluster], callers: dict[str, Caller], offered: list[str]
) -> None:
    """All sizes and works; systems take turns."""
    seconds, rounds = (0.1, 1) if report.quick else (0.5, 3)
    runs: dict[str, dict[str, list[float]]] = {}
    notes: dict[str, str] = {}
    for size, size_name in SIZES.items():
        for function, work in WORKS.items():
            part = f"{size_name}, {work}"
            n = int(seconds * min(MOST_MESSAGES[function], MOST_BYTES / size))
            n = max(n, 20)
            means: dict[str, list[float]] = {name: [] for name in offered}
            for at in range(-1, rounds):
                for transport, caller in callers.items():
                    for promise in offered:
                        leases = _leases(clusters[transport])
                        request: dict[str, Any] = {"function": function, "n": n, "size": size}
                        found = caller.ask("rate", **request, **PROMISES[promise])
                        if at < 0:  # it has taught the master how long the work takes
                            continue
                        means[promise].append(leases.mean())
                        row = runs.setdefault(part, {})
                        row.setdefault(f"{transport}, {promise}", []).append(found["rate"])
            sizes = (f"{sum(row) / len(row):.0f}" for row in means.values())
            notes[part] = f"leases of {' / '.join(sizes)}"
    report.add_grid("messages a second, two workers", "/s", runs, notes)


def single_calls(report: Report, callers: dict[str, Caller], offered: list[str]) -> None:
    """Jobs of one message, one after the other."""
    n, rounds = (100, 1) if report.quick else (1000, 3)
    runs: dict[str, dict[str, list[float]]] = {}
    for at in range(-1, rounds):
        for transport, caller in callers.items():
            for promise in offered:
                request: dict[str, Any] = {"function": "none", "n": n, "size": 100}
                found = caller.ask("singles", **request, **PROMISES[promise])
                for name in found if at >= 0 else ():
                    row = runs.setdefault(f"{name} of {n} jobs", {})
                    row.setdefault(f"{transport}, {promise}", []).append(1e6 * found[name])
    report.add_grid("one message of 100 B at a time", "us", runs)


def _is_offered(report: Report, callers: dict[str, Caller], promise: str) -> bool:
    """Whether jobs may be promised that; if not, the report says why."""
    request: dict[str, Any] = {"function": "none", "within": 30.0}
    for caller in callers.values():
        found = caller.ask("accepts", **request, **PROMISES[promise])
        if not found["accepts"]:
            report.remarks.append(f"{promise}: not measured ({found['reason']})")
            return False
    return True


def _leases(cluster: Cluster) -> Leases:
    return Leases(cluster.leases_of(name) for name in cluster.processes)
