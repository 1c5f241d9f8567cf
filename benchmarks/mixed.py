"""Tasks that take from a tenth of a millisecond to a hundred: does a worker hoard them?"""

from __future__ import annotations

import math
import random
from functools import partial

from benchmarks.processes import Caller, Place
from benchmarks.report import Goal, Report
from benchmarks.rounds import asking, interleaved
from benchmarks.systems import PalmCluster

__all__ = ["mixed"]

PALM, EXECUTOR, IDEAL = "palm, ipc", "executor, chunksize 1", "ideal"

WORKERS = 8

#: Milliseconds of the shortest and the longest task.
SHORTEST, LONGEST = 0.1, 100.0

#: One task of so many is run by one plain process, to know what sleeping takes beyond its time.
SAMPLED = 10


def mixed(report: Report) -> None:
    """sleeps of 0.1 to 100 ms on eight workers, beside the least time that they can take"""
    tasks, rounds = (lengths(800), 1) if report.quick else (lengths(1500), 3)
    orders = {
        "any order": random.Random(1).sample(tasks, len(tasks)),
        "shortest first": sorted(tasks),
        "longest first": sorted(tasks, reverse=True),
    }
    with Place() as ipc, Place() as others:
        callers = {
            PALM: PalmCluster(ipc, WORKERS).caller(),
            EXECUTOR: Caller(others, "executor", str(WORKERS), "1"),
        }
        for caller in callers.values():
            caller.ask("executions", workers=WORKERS)
        here = Caller(others, "here")
        least = [ideal(here, tasks) for _ in range(rounds)]
        for order, microseconds in orders.items():
            asked = partial(asking, measure="makespan", figure="seconds", microseconds=microseconds)
            runs = interleaved(
                rounds,
                {system: asked(caller) for system, caller in callers.items()},
                warm_up=False,
            )
            part = f"{len(tasks):,} tasks of 0.1-100 ms, 8 workers, {order}"
            goals = {PALM: Goal(1.1, base=IDEAL)}
            report.add(part, "s", {IDEAL: least, **runs}, goals, executor=EXECUTOR)


def lengths(n: int) -> list[int]:
    """Return microseconds, the same each time; each doubling holds as many of them."""
    spread = random.Random(0)
    low, high = math.log(1000 * SHORTEST), math.log(1000 * LONGEST)
    return [round(math.exp(spread.uniform(low, high))) for _ in range(n)]


def ideal(here: Caller, microseconds: list[int]) -> float:
    """Return the least seconds that tasks can take on all workers, as one process sleeps them.

    Sleeping takes somewhat longer than it should, each time by as much; a sample tells.
    """
    sample = sorted(microseconds)[::SAMPLED]
    measured = float(here.ask("makespan", microseconds=sample)["seconds"])
    excess = measured / len(sample) - sum(sample) / len(sample) / 1e6
    longest = max(microseconds) / 1e6 + excess
    return max(longest, (sum(microseconds) / 1e6 + excess * len(microseconds)) / WORKERS)
