"""How long until a master misses a worker, and that it misses none that is there."""

from __future__ import annotations

import signal

from benchmarks.processes import BrokenError, Place
from benchmarks.reliability.cluster import Calls, Cluster
from benchmarks.reliability.functions import HELD
from benchmarks.reliability.recovery import IPC, TCP, losses
from benchmarks.report import Goal, Report

__all__ = ["detection"]

#: Seconds of the heartbeats between processes of one machine: the interval and the time-out. It
#: runs from the last one of the worker, or from the next one of the master.
HEARTBEAT = (0.5, 1.5)

#: Workers that are busy at once, over each transport.
BUSY = 2


def detection(report: Report) -> None:
    """the time until a master misses a worker, and workers that it must not miss"""
    n = 3 if report.quick else 20
    interval, patience = HEARTBEAT
    goal = Goal(1000)
    runs = {IPC: missed(n, signal.SIGKILL), TCP: missed(n, signal.SIGKILL, tcp=True)}
    note = "no wait of ours: the end of the process ends its connection"
    part = f"worker killed (-9), {n} times, until its master misses it"
    report.add(part, "ms", runs, {IPC: goal, TCP: goal}, note=note)
    runs = {IPC: missed(n, signal.SIGSTOP), TCP: missed(n, signal.SIGSTOP, tcp=True)}
    first, last = patience - interval, patience + interval
    note = f"of it {first:g} to {last:g} s are ours: {patience:g} s around the last heartbeat"
    part = f"worker stopped (SIGSTOP), {n} times, until its master misses it"
    report.add(part, "ms", runs, note=note)
    for function, what in (
        ("hold", "hold the GIL in C, once"),
        ("grow", "sort, which holds the GIL for long at once"),
        ("spin", "are busy in Python"),
    ):
        counts = [false_deaths(function) for _ in range(1 if report.quick else 3)]
        of = 2 * BUSY * len(counts)
        part = f"workers missed of {of} that {what}, for {HELD:g} s"
        total = {"palm, ipc and tcp": [float(sum(counts))]}
        report.add(part, "missed", total, {"palm, ipc and tcp": Goal(0)})


def missed(n: int, number: int, *, tcp: bool = False) -> list[float]:
    """Return milliseconds from signals to when the master missed who got them."""
    with Place() as place:
        cluster = Cluster(place, tcp=tcp)
        cluster.start_workers(2)
        with Calls(cluster, "dwell", 1):
            milliseconds = []
            for loss in losses(cluster, number, n):
                milliseconds.append(1000 * (loss.noticed().time - loss.at))
                loss.begun_again()
            return milliseconds


def false_deaths(function: str) -> int:
    """Return how many workers were missed, or lost their message, while they were busy."""
    with Place() as place:
        cluster = Cluster(place, tcp=True)
        cluster.start_workers(BUSY)
        cluster.start_workers(BUSY, "foo")
        caller = cluster.caller()
        caller.ask("rate", function=function, n=2 * BUSY, within=6 * HELD)
        entries = cluster.journal.entries()
        begun = [entry for entry in entries if entry.word == "begun"]
        if len({entry.pid for entry in begun}) != 2 * BUSY:
            raise BrokenError("not all workers were busy: nothing was measured")
        lost = sum(entry.word == "log" and "was lost" in entry.text for entry in entries)
        return max(lost, len(begun) - 2 * BUSY)
