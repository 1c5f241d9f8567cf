"""The measurements; each adds its figures to a report."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import Pool
from statistics import median

import psutil

from benchmarks import relay, work
from benchmarks.cluster import PalmCluster
from benchmarks.report import Goal, Report
from palm.clients import Client

__all__ = ["PARTS"]

CURVE = "palm, tcp + CURVE"
IPC = "palm, ipc"
POOL = "ProcessPoolExecutor"
IMAP = "Pool.imap, chunksize 1000"
RELAY = "raw pyzmq relay"


def throughput(report: Report) -> None:
    """16-byte messages through two workers, result by result to the caller."""
    n = 300_000 if report.quick else 2_000_000
    rounds = 2 if report.quick else 5
    ports = free_ports(2)
    with (
        ProcessPoolExecutor(2) as pool,
        Pool(2) as imap,
        relay.Relay("stamp", *ports) as raw,
    ):
        rates = interleave(
            rounds,
            {
                IPC: lambda: palm_rate(n, tcp=False),
                CURVE: lambda: palm_rate(n, tcp=True),
                f"{POOL}, chunksize 1000": lambda: rate(
                    n, pool.map(work.stamp, repeat(work.PAYLOAD, n), chunksize=1000)
                ),
                f"{POOL}, chunksize 1": lambda: rate(
                    n // 100, pool.map(work.stamp, repeat(work.PAYLOAD, n // 100))
                ),
                IMAP: lambda: rate(
                    n, imap.imap(work.stamp, repeat(work.PAYLOAD, n), chunksize=1000)
                ),
                RELAY: lambda: relay_rate(raw, n // 20),
            },
        )
    base = rates[f"{POOL}, chunksize 1000"]
    for system, value in rates.items():
        goal = None
        if system == IPC:
            goal = Goal("executor, chunksize 1000", base, 1.2, at_least=True)
        elif system == CURVE:
            goal = Goal("executor, chunksize 1000", base, 1.0, at_least=True)
        note = f"{value / rates[RELAY]:.2f} x raw relay"
        report.add("16-byte messages", system, value, "results/s", goal, note)


def evaluation(report: Report) -> None:
    """One message at a time on an idle cluster."""
    n, rounds = (500, 3) if report.quick else (5000, 5)
    with PalmCluster() as cluster, relay.Relay("stamp", *free_ports(2)) as raw:
        cluster.await_workers()
        with cluster.client() as client, ProcessPoolExecutor(2) as pool:
            calls: dict[str, Callable[[], object]] = {
                IPC: lambda: client.eval("foo.stamp", work.PAYLOAD),
                RELAY: lambda: raw.call(work.PAYLOAD),
                POOL: lambda: pool.submit(work.stamp, work.PAYLOAD).result(),
            }
            rows: dict[str, list[tuple[float, float]]] = {system: [] for system in calls}
            for _ in range(rounds):
                for system, call in calls.items():
                    rows[system].append(percentiles(call, n))
    for at, (name, limit) in enumerate((("p50", 1.4), ("p99", 2.0))):
        values = {system: median(row[at] for row in rows[system]) for system in rows}
        for system, value in values.items():
            goal = None
            if system == IPC:
                goal = Goal(RELAY, values[RELAY], limit, at_least=False)
            report.add(f"eval, {name}", system, 1e6 * value, "us", scaled(goal, 1e6))


def start(report: Report) -> None:
    """From nothing - interpreters, imports, sockets - to the first result."""
    rounds = 3 if report.quick else 7
    firsts = interleave(
        rounds,
        {
            IPC: palm_first,
            RELAY: lambda: relay.first_result(*free_ports(2)),
            POOL: lambda: python_first(
                "from concurrent.futures import ProcessPoolExecutor\n"
                "from benchmarks import work\n"
                "with ProcessPoolExecutor(2) as pool: list(pool.map(work.stamp, [b'x'] * 2))"
            ),
        },
    )
    for system, value in firsts.items():
        goal = Goal("0.3 s", 0.3, 1.0, at_least=False) if system == IPC else None
        report.add("start to first result", system, value, "s", goal)


def echo(report: Report) -> None:
    """200 messages of 1 MiB there and back, and what the master's memory grows by."""
    n = 60 if report.quick else 200
    rounds = 2 if report.quick else 3
    growths: list[float] = []
    with relay.Relay("echo", *free_ports(2)) as raw:

        def through_relay() -> float:
            begun = time.perf_counter()
            raw.stream(work.BIG, n, window=16)
            return n * len(work.BIG) / 1e6 / (time.perf_counter() - begun)

        rates = interleave(
            rounds,
            {
                IPC: lambda: palm_echo(n, growths, tcp=False),
                CURVE: lambda: palm_echo(n, [], tcp=True),
                RELAY: through_relay,
            },
        )
    for system, value in rates.items():
        goal = None
        if system != RELAY:
            limit = 2.0 if system == IPC else 0.7
            goal = Goal(RELAY, rates[RELAY], limit, at_least=True)
        report.add("1 MiB echo", system, value, "MB/s", goal)
    goal = Goal("64 MiB", 64, 1.0, at_least=False)
    report.add("1 MiB echo, master's growth", IPC, max(growths), "MiB", goal)


def tasks(report: Report) -> None:
    """1 ms (sleeping) tasks on 8 workers, as a share of what 8 sleepers could do."""
    n = 2_000 if report.quick else 8_000
    single = nap_rate(200)
    with PalmCluster(8) as cluster:
        cluster.await_workers()
        with cluster.client() as client:
            warm_up(client)
            begun = time.perf_counter()
            count = sum(1 for _ in client.job("foo.nap", repeat(0.001, n)))
            value = count / (time.perf_counter() - begun)
    with ProcessPoolExecutor(8) as pool:
        list(pool.map(work.nap, [0.001] * 8))
        executor = rate(n, pool.map(work.nap, repeat(0.001, n)))
    goal = Goal("linear", 8 * single, 0.95, at_least=True)
    report.add("1 ms tasks, 8 workers", IPC, value, "results/s", goal)
    note = f"{executor / (8 * single):.2f} x linear"
    report.add("1 ms tasks, 8 workers", f"{POOL}, chunksize 1", executor, "results/s", None, note)


def kill(report: Report) -> None:
    """2,000 messages of 1 ms over two workers, one killed -9 halfway."""
    seen: Counter[int] = Counter()
    gap = 0.0
    with PalmCluster() as cluster:
        cluster.await_workers()
        with cluster.client() as client:
            warm_up(client)
            last = time.perf_counter()
            items = [0.001 + i / 1e9 for i in range(2000)]
            for value in client.job("foo.nap", items):
                now = time.perf_counter()
                gap, last = max(gap, now - last), now
                seen[round((value - 0.001) * 1e9)] += 1
                if sum(seen.values()) == 1000:
                    os.kill(cluster.workers[0].pid, signal.SIGKILL)
    if seen != Counter(range(2000)):
        raise AssertionError(f"{len(seen)} distinct outcomes, {sum(seen.values())} in all")
    goal = Goal("1 s", 1.0, 1.0, at_least=False)
    report.add("kill -9 of one of two workers", IPC, gap, "s longest gap", goal)
    report.add("kill -9 of one of two workers", IPC, len(seen), "outcomes, each once")


def idle(report: Report) -> None:
    """Memory and processor time of a cluster that has nothing to do."""
    seconds = 3 if report.quick else 10
    with PalmCluster() as cluster:
        cluster.await_workers()
        with cluster.client() as client:
            warm_up(client)
            worker = psutil.Process(cluster.workers[0].pid)
            master = psutil.Process(cluster.master.pid)
            before = sum(worker.cpu_times()[:2])
            time.sleep(seconds)
            share = 100 * (sum(worker.cpu_times()[:2]) - before) / seconds
            sizes = [p.memory_info().rss / 2**20 for p in (worker, master)]
    goal = Goal("25 MiB", 25, 1.0, at_least=False)
    report.add("idle", "palm, worker", sizes[0], "MiB", goal)
    report.add("idle", "palm, master", sizes[1], "MiB")
    report.add("idle", "palm, worker", share, "% CPU", Goal("0.3 %", 0.3, 1.0, at_least=False))


PARTS: dict[str, Callable[[Report], None]] = {
    "throughput": throughput,
    "eval": evaluation,
    "start": start,
    "echo": echo,
    "tasks": tasks,
    "kill": kill,
    "idle": idle,
}


def interleave(rounds: int, runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Run all in turn, ``rounds`` times; return the median of each."""
    values: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            values[name].append(run())
    return {name: median(row) for name, row in values.items()}


def scaled(goal: Goal | None, factor: float) -> Goal | None:
    """Return a goal whose base is in another unit."""
    if goal is not None:
        goal.base *= factor
    return goal


def rate(n: int, results: object) -> float:
    """Return results a second of an iterator that was just made."""
    begun = time.perf_counter()
    count = sum(1 for _ in results)  # type: ignore[attr-defined]
    if count != n:
        raise AssertionError(f"{count} results of {n}")
    return n / (time.perf_counter() - begun)


def palm_rate(n: int, *, tcp: bool) -> float:
    with PalmCluster(tcp=tcp) as cluster:
        cluster.await_workers()
        with cluster.client() as client:
            warm_up(client)
            return rate(n, client.job("foo.stamp", repeat(work.PAYLOAD, n)))


def palm_echo(n: int, growths: list[float], *, tcp: bool) -> float:
    with PalmCluster(tcp=tcp) as cluster:
        cluster.await_workers()
        master = psutil.Process(cluster.master.pid)
        with cluster.client() as client:
            warm_up(client)
            before = master.memory_info().rss
            begun = time.perf_counter()
            largest = before
            for result in client.job("foo.echo", repeat(work.BIG, n)):
                if len(result) != len(work.BIG):
                    raise AssertionError("a payload arrived cut")
                largest = max(largest, master.memory_info().rss)
            growths.append((largest - before) / 2**20)
            return n * len(work.BIG) / 1e6 / (time.perf_counter() - begun)


def relay_rate(raw: relay.Relay, n: int) -> float:
    begun = time.perf_counter()
    raw.stream(work.PAYLOAD, n)
    return n / (time.perf_counter() - begun)


def nap_rate(n: int) -> float:
    begun = time.perf_counter()
    for _ in range(n):
        work.nap(0.001)
    return n / (time.perf_counter() - begun)


def warm_up(client: Client) -> None:
    for _ in range(20):
        client.eval("foo.stamp", work.PAYLOAD, timeout=30.0)


def percentiles(call: Callable[[], object], n: int) -> tuple[float, float]:
    clock = time.perf_counter
    seconds = []
    for _ in range(n):
        begun = clock()
        call()
        seconds.append(clock() - begun)
    seconds.sort()
    return seconds[n // 2], seconds[n * 99 // 100]


def palm_first() -> float:
    begun = time.perf_counter()
    with PalmCluster() as cluster:
        source = "from palm.clients import Client\nClient('foo').eval('foo.stamp', b'x')"
        subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begun
        cluster.await_workers()
        return seconds


def python_first(source: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", source], check=True, cwd=os.getcwd())
    return time.perf_counter() - begun


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
