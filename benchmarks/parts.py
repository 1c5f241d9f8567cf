"""The measurements; each adds its figures to a report.

Systems take turns, and the median of the rounds counts: what else the machine does changes from
minute to minute, and so meets all of them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import psutil

from benchmarks.crowd import crowd
from benchmarks.growth import MOST_GROWTH, SIZES, calls_of_a_message
from benchmarks.memory import MIB, Memory, cpu_seconds
from benchmarks.mixed import mixed
from benchmarks.output.parts import output
from benchmarks.processes import BOUND, BrokenError, Caller, Place
from benchmarks.report import Goal, Report
from benchmarks.rounds import asking, interleaved
from benchmarks.systems import PalmCluster, PalmHouse, RelayCluster
from benchmarks.workers import workers

__all__ = ["GROWTH", "PARTS"]

IPC = "palm, ipc"
CURVE = "palm, tcp + CURVE"
EXECUTOR = "executor"
EXECUTOR_1 = "executor, chunksize 1"
EXECUTOR_1000 = "executor, chunksize 1000"
IMAP = "Pool.imap, chunksize 1000"
RELAY = "raw relay, tcp"

#: The part that counts what a message costs the master.
GROWTH = "rules of the master, 4 ms messages"


def throughput(report: Report) -> None:
    """16-byte messages through two workers, result by result to the caller"""
    n = 200_000 if report.quick else 1_000_000
    rounds = 3 if report.quick else 5
    with Place() as ipc, Place() as curve, Place() as others:
        callers = {
            IPC: PalmCluster(ipc).caller(),
            CURVE: PalmCluster(curve, tcp=True).caller(),
            EXECUTOR_1: Caller(others, "executor", "2", "1"),
            EXECUTOR_1000: Caller(others, "executor", "2", "1000"),
            IMAP: Caller(others, "imap", "2", "1000"),
            RELAY: RelayCluster(others, "stamp").caller(),
        }
        sizes = {EXECUTOR_1: n // 50, RELAY: n // 10}
        runs = interleaved(
            rounds,
            {
                system: asking(caller, "rate", "rate", function="stamp", n=sizes.get(system, n))
                for system, caller in callers.items()
            },
        )
    goals = {
        IPC: Goal(1.2, at_least=True, base=EXECUTOR_1000),
        CURVE: Goal(1.0, at_least=True, base=EXECUTOR_1000),
    }
    report.add("16-byte messages", "/s", runs, goals, relay=RELAY, executor=EXECUTOR_1000)


def evaluation(report: Report) -> None:
    """one message at a time on an idle cluster"""
    n, rounds = (500, 3) if report.quick else (5000, 5)
    with Place() as ipc, Place() as curve, Place() as others:
        callers = {
            IPC: PalmCluster(ipc).caller(),
            CURVE: PalmCluster(curve, tcp=True).caller(),
            EXECUTOR: Caller(others, "executor", "2", "1"),
            RELAY: RelayCluster(others, "stamp").caller(),
        }
        runs: dict[str, dict[str, list[float]]] = {"p50": {}, "p99": {}}
        for at in range(-1, rounds):
            for system, caller in callers.items():
                found = caller.ask("calls", function="stamp", n=n if at >= 0 else 50)
                for name in runs if at >= 0 else ():
                    runs[name].setdefault(system, []).append(1e6 * found[name])
    for name, limit in (("p50", 1.4), ("p99", 2.0)):
        goal = Goal(limit, base=RELAY)
        report.add(f"eval, {name}", "us", runs[name], {IPC: goal}, relay=RELAY, executor=EXECUTOR)


def start(report: Report) -> None:
    """from nothing - interpreters, imports, master, two workers, client - to the first result"""
    rounds = 3 if report.quick else 7
    runs = interleaved(
        rounds, {IPC: first_of_palm, EXECUTOR: first_of_executor, RELAY: first_of_relay}
    )
    goals = {IPC: Goal(0.3)}
    report.add("start to first result", "s", runs, goals, relay=RELAY, executor=EXECUTOR)
    with Place() as place:
        runs = interleaved(rounds, {IPC: PalmCluster(place, 1).add_worker})
    report.add("a worker, until it is ready", "s", runs, {IPC: Goal(0.1)})


def house(report: Report) -> None:
    """from nothing - registry, runner, master, two workers, client - to the first result"""
    firsts: list[float] = []
    ups: list[float] = []
    commands: list[float] = []
    for at in range(-1, 3 if report.quick else 5):
        with Place() as place, closing(PalmHouse(place)) as palm:
            found = palm.first()
        with Place() as place, closing(PalmHouse(place)) as palm:
            seconds = palm.command("up")
        if at >= 0:  # a round before them has compiled the modules
            firsts.append(found["first"])
            ups.append(found["up"])
            commands.append(seconds)
    name = "palm, registry + runner"
    report.add("a whole cluster, to first result", "s", {name: firsts}, {name: Goal(1.0)})
    report.add("of it: registry and runner", "s", {"palm.up()": ups, "palm up": commands})


def echo(report: Report) -> None:
    """messages of 1 MiB there and back, and what the memory in between grows by"""
    n = 60 if report.quick else 200
    growths: dict[str, list[float]] = {}
    with Place() as others:
        relay = RelayCluster(others, "echo")
        relay_caller = relay.caller(window=16)

        def through_palm(system: str) -> float:
            with Place() as place:
                cluster = PalmCluster(place, tcp=system == CURVE)
                caller = cluster.caller()
                return through(system, caller, cluster.master.pid)

        def through(system: str, caller: Caller, pid: int) -> float:
            caller.ask("rate", function="echo", n=100)
            memory = Memory(pid)
            found = caller.ask("large", n=n, meanwhile=memory.look)
            memory.look()
            growths.setdefault(system, []).append(memory.growth)
            return float(found["rate"])

        runs = interleaved(
            2 if report.quick else 5,
            {
                IPC: lambda: through_palm(IPC),
                CURVE: lambda: through_palm(CURVE),
                RELAY: lambda: through(RELAY, relay_caller, relay.relay.pid),
            },
            warm_up=False,
        )
    goals = {
        IPC: Goal(2.0, at_least=True, base=RELAY),
        CURVE: Goal(0.7, at_least=True, base=RELAY),
    }
    report.add("1 MiB echo", "MB/s", runs, goals, relay=RELAY)
    # Of the relay, which serves all rounds, only the first says what it takes.
    report.add(
        "1 MiB echo, growth of master", "MiB", growths | {RELAY: growths[RELAY][:1]},
        {IPC: Goal(64), CURVE: Goal(64)},
    )  # fmt: skip


def tasks(report: Report) -> None:
    """sleeps of 1 ms on eight workers, beside eight times one sleeper"""
    n = 2_000 if report.quick else 8_000
    linear = "linear (8 x one)"
    with Place() as ipc, Place() as others:
        callers = {
            IPC: PalmCluster(ipc, 8).caller(),
            EXECUTOR_1: Caller(others, "executor", "8", "1"),
            RELAY: RelayCluster(others, "nap", 8).caller(),
            linear: Caller(others, "here"),
        }
        sizes = {linear: n // 8}
        runs = interleaved(
            3 if report.quick else 5,
            {
                system: asking(caller, "rate", "rate", function="nap", n=sizes.get(system, n))
                for system, caller in callers.items()
            },
        )
    runs[linear] = [8 * value for value in runs[linear]]
    goals = {IPC: Goal(0.95, at_least=True, base=linear)}
    report.add("1 ms tasks, 8 workers", "/s", runs, goals, relay=RELAY, executor=EXECUTOR_1)


def frame(report: Report) -> None:
    """a DataFrame of ten columns, each row through a function, to the DataFrame of results"""
    n = 50_000 if report.quick else 1_000_000
    here = "encode, decode, DataFrame()"
    with Place() as ipc, Place() as others:
        callers = {IPC: PalmCluster(ipc).caller(), here: Caller(others, "here")}
        runs = interleaved(
            3,
            {system: asking(caller, "frame", "seconds", n=n) for system, caller in callers.items()},
            warm_up=False,
        )
    report.add(f"{n:,} rows x 10 columns", "s", runs, {IPC: Goal(1.5, base=here)})


def kill(report: Report) -> None:
    """2,000 messages of 1 ms over two workers, one killed with -9 halfway"""
    gaps, seconds, outcomes = [], [], []
    for _ in range(1 if report.quick else 3):
        with Place() as place:
            cluster = PalmCluster(place)
            caller = cluster.caller()
            caller.ask("calls", function="stamp", n=20)
            victim = cluster.workers[0].pid
            found = caller.ask(
                "watched",
                function="nap",
                n=2000,
                on_news=partial(os.kill, victim, signal.SIGKILL),
            )
            if cluster.workers[0].wait(BOUND) != -signal.SIGKILL:
                raise BrokenError("the worker was not killed: nothing was measured")
        gaps.append(found["gap"])
        seconds.append(found["seconds"])
        outcomes.append(found["outcomes"])
    part = "kill -9 of a worker"
    report.add(f"{part}, longest gap", "s", {IPC: gaps}, {IPC: Goal(1.0)})
    report.add(f"{part}, 2,000 x 1 ms", "s", {IPC: seconds})
    # The caller has compared them: a lost, repeated or wrong one would have ended this part.
    goal = Goal(2000, at_least=True)
    report.add(f"{part}, outcomes", "once each", {IPC: outcomes}, {IPC: goal})


def idle(report: Report) -> None:
    """memory and processor time of a cluster that has nothing to do"""
    with Place() as place:
        cluster = PalmCluster(place)
        caller = cluster.caller()
        caller.ask("rate", function="stamp", n=2_000)
        caller.ask("calls", function="stamp", n=20)
        time.sleep(2.0)  # the state after work, when what work had started has ended
        pids = {"palm, master": cluster.master.pid, "palm, worker": cluster.workers[0].pid}
        begun, before = time.monotonic(), {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(5 if report.quick else 30)
        wall = time.monotonic() - begun
        shares = {
            name: [100 * (cpu_seconds(pid) - before[name]) / wall] for name, pid in pids.items()
        }
        sizes = {name: [psutil.Process(pid).memory_info().rss / MIB] for name, pid in pids.items()}
    report.add("idle, memory (RSS)", "MiB", sizes, {"palm, worker": Goal(25)})
    report.add("idle, processor", "%", shares, {name: Goal(0.3) for name in pids})


def growth(report: Report) -> None:
    """calls of functions that the master's rules take for a message, as a cluster grows"""
    runs = {str(size): [calls_of_a_message(size)] for size in SIZES}
    smallest, *others = runs
    goals = {name: Goal(MOST_GROWTH, base=smallest) for name in others}
    report.add(GROWTH, "calls", runs, goals)


PARTS: dict[str, Callable[[Report], None]] = {
    "throughput": throughput,
    "eval": evaluation,
    "start": start,
    "house": house,
    "workers": workers,
    "echo": echo,
    "tasks": tasks,
    "mixed": mixed,
    "frame": frame,
    "kill": kill,
    "idle": idle,
    "growth": growth,
    "crowd": crowd,
    "output": output,
}


# To the first result


def first_of_palm() -> float:
    """Start everything at once and wait for the first result."""
    with Place() as place:
        begun = time.perf_counter()
        cluster = PalmCluster(place)
        source = """
from palm.clients import Client
print(Client("foo", logging_level=30).eval("foo.stamp", b"x"), flush=True)
"""
        seconds = first(place, source, begun)
        cluster.await_workers()  # of processes that are ended while they start, some complain
        return seconds


def first_of_executor() -> float:
    """Start an interpreter with a pool of two."""
    source = """
from concurrent.futures import ProcessPoolExecutor
from benchmarks.work import stamp
with ProcessPoolExecutor(2) as pool:
    print(pool.submit(stamp, b"x").result(), flush=True)
"""
    with Place() as place:
        return first(place, source, time.perf_counter())


def first_of_relay() -> float:
    """Start the relay, its workers and its client at once."""
    source = """
import sys
from benchmarks.relay import RelayClient
print(RelayClient(sys.argv[1], 1).call(b"x"), flush=True)
"""
    with Place() as place:
        begun = time.perf_counter()
        return first(place, source, begun, RelayCluster(place, "stamp").front)


def first(place: Place, source: str, begun: float, *args: str) -> float:
    """Return the seconds until a caller has printed its first result."""
    process = place.spawn(source, *args, talk=True)
    if process.stdout is None:
        raise BrokenError("no pipe to the caller")
    answer = process.stdout.readline()
    seconds = time.perf_counter() - begun
    if answer.strip() != repr(b"ok x"):
        raise BrokenError(f"{answer!r} is not the first result\n{place.complaints()}")
    return seconds
