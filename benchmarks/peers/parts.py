"""The table of palm and its peers: every system by every measure."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import Any

import psutil

from benchmarks.memory import MIB
from benchmarks.peers.environments import PEERS, environment, version
from benchmarks.peers.systems import OF_THIS_ENVIRONMENT, PEERS_SYSTEMS, WORKERS, Plan, System
from benchmarks.processes import BrokenError, Place
from benchmarks.report import Report

__all__ = ["EACH", "FAST", "FIRST", "P50", "P99", "TABLE", "peers"]

#: The name of the table.
TABLE = "palm and its peers"

#: Columns of the table.
FAST, EACH = "16 B/s, fast way", "16 B/s, each"
P50, P99 = "eval p50, us", "p99, us"
LARGE, GROWTH = "1 MiB echo, MB/s", "growth of middle, MiB"
FIRST, MIDDLE, WORKER = "first result, s", "idle middle, MiB", "idle worker, MiB"
SURVIVED = "kill -9: results of 2,000"
MEASURES = (FAST, EACH, P50, P99, LARGE, GROWTH, FIRST, MIDDLE, WORKER, SURVIVED)

#: Messages of a millisecond, during which a worker is killed.
NAPS = 2000

#: Seconds for one measurement: the slowest takes a tenth of it.
WITHIN = 60.0

#: Seconds after which a system has done what it does after work.
CALM = 2.0

LEGEND = (
    "fast way: what each offers for many small calls - palm: `job`, the same as for each; "
    "ProcessPoolExecutor, Pool.imap: chunksize 1000; Dask: a bag, 1,000 a partition; ipyparallel: "
    "DirectView.map, a half for each engine; Ray: its multiprocessing.Pool, chunksize 1000. each: "
    "every message is a task, results as they come. middle: what is between caller and workers "
    "(palm's master, the scheduler, the controller and its schedulers, gcs and raylet and their "
    "agents), all of its processes. kill -9: of one of the two workers, halfway."
)


#: What a measurement found, by column.
Found = dict[str, float]


def peers(report: Report) -> None:
    """palm and its peers, each in an environment of its own: all measures in one table"""
    plans = plans_of(report)
    table = Table(report, list(plans))
    rounds = 1 if report.quick else 3
    with ExitStack() as stack:
        running = all_started(table, plans, "stamp", stack)
        idling(table, running, plans)
        take_turns(table, throughput, running, plans, rounds)
        # Large messages come last: what they leave behind in a system is not measured here.
        bound = {name: plan for name, plan in plans.items() if plan.one_function}
        echoing = running | all_started(table, bound, "echo", stack)
        take_turns(table, echo, echoing, plans, rounds)
    for at in range(-1, rounds):
        for name, plan in plans.items():
            table.measure(name, alone, plan, counts=at >= 0)
    for _ in range(rounds):
        for name, plan in plans.items():
            table.measure(name, partial(killed, table, name), plan)
    table.publish()


def take_turns(
    table: Table,
    measure: Callable[[System, Plan], Found],
    running: dict[str, System],
    plans: dict[str, Plan],
    rounds: int,
) -> None:
    """Measure all in turn, after a round that does not count; who fails is left out from then."""
    for at in range(-1, rounds):
        for name, system in list(running.items()):
            if not table.measure(name, measure, system, plans[name], counts=at >= 0):
                del running[name]


def plans_of(report: Report) -> dict[str, Plan]:
    """Return the systems that there are; say which are missing."""
    plans = dict(OF_THIS_ENVIRONMENT)
    for name, plan in PEERS_SYSTEMS.items():
        try:
            plans[name] = replace(plan, python=environment(name))
            report.machine["packages"][PEERS[name]] = version(name)
        except BrokenError as error:
            report.warn(f"NOT MEASURED: {name} could not be installed: {error}")
    return plans


class Table:
    """What was found, by system and column; what failed is said, and missing."""

    def __init__(self, report: Report, names: list[str]) -> None:
        self._report = report
        self._found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
        #: How each run ended in which a worker was killed.
        self.ends: dict[str, list[str]] = {name: [] for name in names}

    def attempt(self, name: str, act: Callable[..., Any], *args: Any) -> Any:
        """Return what an act for a system gives, None if it fails."""
        try:
            return act(*args)
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            lines = str(error).strip().splitlines() or [""]
            # The last one is what a process complained of at its end.
            text = lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[-1]}"
            what = getattr(act, "func", act).__name__
            self._report.warn(f"FAILED: {name}, {what}: {type(error).__name__}: {text}")
            return None

    def measure(
        self, name: str, act: Callable[..., Found], *args: Any, counts: bool = True
    ) -> bool:
        """Take the figures of a measurement, unless it is one that does not count."""
        found = self.attempt(name, act, *args)
        for column, value in (found or {}).items() if counts else ():
            self._found[name].setdefault(column, []).append(value)
        return found is not None

    def publish(self) -> None:
        """Add the table to the report."""
        rows = {
            name: {column: row[column] for column in MEASURES if column in row}
            for name, row in self._found.items()
        }
        notes = {name: ", ".join(dict.fromkeys(ends)) for name, ends in self.ends.items()}
        self._report.add_grid(TABLE, "two workers, medians", rows, notes)
        self._report.remarks.append(LEGEND)


def all_started(
    table: Table, plans: dict[str, Plan], function: str, stack: ExitStack
) -> dict[str, System]:
    """Start systems; those that do not come up are said, and left out."""
    found = {
        name: table.attempt(name, started, plan, function, stack) for name, plan in plans.items()
    }
    return {name: system for name, system in found.items() if system is not None}


def started(plan: Plan, function: str, stack: ExitStack) -> System:
    """Start a system, and wait until both of its workers are there."""
    system = plan.start(stack.enter_context(Place()), function)
    system.caller.ask("calls", function=function, n=20, within=WITHIN)
    await_workers(plan, system)
    return system


def await_workers(plan: Plan, system: System) -> None:
    """Wait until each worker has answered; the relay begins when they are there."""
    if not plan.one_function:
        system.caller.ask("executions", workers=WORKERS, within=WITHIN)


def idling(table: Table, running: dict[str, System], plans: dict[str, Plan]) -> None:
    """Look at the memory of all, after a little work."""
    for name, system in running.items():
        table.attempt(name, partial(throughput, system, plans[name], share=0.1))
    time.sleep(CALM)
    for name, system in running.items():
        table.measure(name, memory, system)


def memory(system: System) -> Found:
    """MiB of what is in the middle, and of a worker."""
    middle, workers = ([rss(pid) for pid in pids()] for pids in (system.middle, system.workers))
    found = {WORKER: mean(workers)}
    return found | {MIDDLE: sum(middle)} if middle else found


def rss(pid: int) -> float:
    """MiB of a process."""
    return float(psutil.Process(pid).memory_info().rss / MIB)


def throughput(system: System, plan: Plan, share: float = 1.0) -> Found:
    """16-byte messages a second, in both ways; where there is but one it is that for both."""
    ask = partial(system.caller.ask, "rate", function="stamp", within=WITHIN)
    each = ask(n=int(share * plan.each))["rate"]
    if not plan.fast:
        return {EACH: each, FAST: each}
    return {EACH: each, FAST: ask(n=int(share * plan.fast), **plan.fast_options)["rate"]}


def echo(system: System, plan: Plan) -> Found:
    """Megabytes a second of large messages, and what the middle has grown by since the first."""
    sizes = system.sizes

    def look() -> None:
        for size in sizes:
            size.look()

    found = system.caller.ask("large", n=plan.large, meanwhile=look, within=WITHIN)
    look()
    growth = {GROWTH: sum(size.growth for size in sizes)} if sizes else {}
    return {LARGE: found["rate"], **growth}


def alone(plan: Plan) -> Found:
    """Seconds from nothing to the first result; microseconds of single calls after that.

    Nothing else is up: nine systems that have nothing to do are still in one another's way.
    """
    with Place() as place:
        begun = time.perf_counter()
        system = plan.start(place)
        ask = partial(system.caller.ask, "calls", function="stamp", within=WITHIN)
        ask(n=1)
        seconds = time.perf_counter() - begun
        await_workers(plan, system)
        ask(n=20)
        found = ask(n=plan.calls)
    return {FIRST: seconds, P50: 1e6 * found["p50"], P99: 1e6 * found["p99"]}


def killed(table: Table, name: str, plan: Plan) -> Found:
    """Results out of `NAPS` when one of the workers is killed halfway."""
    with Place() as place:
        system = plan.start(place, "nap")
        await_workers(plan, system)
        system.caller.ask("rate", function="nap", n=100, within=WITHIN)
        victim = system.workers()[0]
        found = system.caller.ask(
            "killed",
            function="nap",
            n=NAPS,
            on_news=partial(os.kill, victim, signal.SIGKILL),
            within=2 * WITHIN,
        )
        if psutil.pid_exists(victim) and psutil.Process(victim).status() != psutil.STATUS_ZOMBIE:
            raise BrokenError("the worker was not killed: nothing was measured")
    wrong = f" ({found['wrong']} wrong)" if found["wrong"] else ""
    table.ends[name].append(found["ended"] + wrong)
    return {SURVIVED: found["outcomes"]}
