"""How long until there is work done again, fault by fault."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from benchmarks.processes import BOUND, BrokenError, Place
from benchmarks.reliability.cluster import Calls, Cluster, Loss
from benchmarks.reliability.proxy import Proxy
from benchmarks.report import Goal, Report
from benchmarks.systems import PalmHouse
from palm.errors import PalmError
from palm.registry_api.client import RegistryClient
from palm.runner.registry import find_registry, read_registry
from palm.runtime.folders import Folders

__all__ = ["IPC", "TCP", "losses", "recovery"]

IPC, TCP = "palm, ipc", "palm, tcp + CURVE"

#: Seconds of an outage: connections end and none is made, and nothing is heard.
REFUSED, SILENT = 1.0, 3.0

#: Seconds without results after which an outage counts as one, and of calm after it.
EFFECT, CALM = 0.3, 0.3

#: Seconds within which a line of output counts as just written.
FRESH = 0.2

#: Prints a line every 10 ms: its number, and when it was written.
TALKER = """
import itertools, time
for number in itertools.count():
    print(number, f"{time.monotonic():.6f}", flush=True)
    time.sleep(0.01)
"""


def recovery(report: Report) -> None:
    """faults, one at a time, until there is work done again"""
    n = 3 if report.quick else 20
    of_workers(report, n)
    of_connections(report, n)
    of_masters(report, n)
    of_registries(report, n)


# Workers


def of_workers(report: Report, n: int) -> None:
    """Kill workers, one of which has begun a message."""
    idle = {IPC: begun_again(n, "dwell", 1), TCP: begun_again(n, "dwell", 1, tcp=True)}
    busy = {IPC: begun_again(n, "pulse", 32), TCP: begun_again(n, "pulse", 32, tcp=True)}
    goals = {name: Goal(1000) for name in (IPC, TCP)}
    note = "no wait of ours: the end of the process ends its connection"
    part = f"worker killed (-9), {n} times, until its message is begun again"
    report.add(f"{part}; the other worker is idle", "ms", idle, goals, note=note)
    note = "as above; the other worker is at a message of 5 ms, and has more"
    report.add(f"{part}; the other worker is busy", "ms", busy, goals, note=note)


def begun_again(n: int, function: str, ahead: int, *, tcp: bool = False) -> list[float]:
    """Return milliseconds from kills to when the messages that they hit were begun again."""
    with Place() as place:
        cluster = Cluster(place, tcp=tcp)
        cluster.start_workers(2)
        with Calls(cluster, function, ahead):
            hits = losses(cluster, signal.SIGKILL, n)
            return [1000 * (loss.begun_again().time - loss.at) for loss in hits]


def losses(cluster: Cluster, number: int, n: int) -> Iterator[Loss]:
    """Send a signal to ``n`` workers, each in the middle of a message; yield what that did.

    Each is replaced when the next one is asked for.
    """
    hits = 0
    for tries in range(3 * n):
        time.sleep(spread(tries))
        loss = Loss(cluster, number)
        if loss.message is not None:
            hits += 1
            yield loss
        loss.replace()
        if hits == n:
            return
    raise BrokenError(f"only {hits} of {3 * n} signals hit a worker in the middle of a message")


def spread(at: int, over: float = 0.5) -> float:
    """Return seconds, other ones each time, over the time between two heartbeats."""
    return over * (at * 0.618 % 1)


# Connections


def of_connections(report: Report, n: int) -> None:
    """Cut connections, and heal them."""
    refused = "of it up to 250 ms are ours: the time between two attempts to connect"
    silent = "no wait of ours: new connections are there, and wait to be let through"
    for who, outage in (("client", client_cut), ("worker", worker_cut)):
        for what, seconds, silence, note in (
            ("cut off", REFUSED, False, refused), ("silent", SILENT, True, silent),
        ):  # fmt: skip
            runs = {TCP: outage(n, seconds, silence)}
            part = f"{who} and master {what} for {seconds:g} s, {n} times"
            report.add(f"{part}, from the end of that to a result", "ms", runs, note=note)


def client_cut(n: int, seconds: float, silence: bool) -> list[float]:
    """The way between the client and its master."""
    with Place() as place:
        cluster = Cluster(place, tcp=True)
        with Proxy(cluster.port) as proxy:
            cluster.start_workers(2)
            with Calls(cluster, "pulse", 32, proxy.address):
                return [outage(cluster, proxy, seconds, silence, at) for at in range(n)]


def worker_cut(n: int, seconds: float, silence: bool) -> list[float]:
    """The way between the only worker and its master."""
    with Place() as place:
        cluster = Cluster(place, tcp=True)
        with Proxy(cluster.port) as proxy:
            cluster.start_workers(1, proxy.address)
            with Calls(cluster, "pulse", 32):
                return [outage(cluster, proxy, seconds, silence, at) for at in range(n)]


def outage(cluster: Cluster, proxy: Proxy, seconds: float, silence: bool, at: int) -> float:
    """Cut a connection, heal it, and return the milliseconds to the first result after that."""
    time.sleep(CALM + spread(at))
    begun = time.monotonic()
    if silence:
        proxy.silence()
    else:
        proxy.refuse()
    time.sleep(seconds + spread(at))
    if cluster.journal.find(lambda e: e.word == "result", begun + EFFECT) is not None:
        raise BrokenError("there are results though nothing comes through")
    healed = time.monotonic()
    proxy.heal()
    return 1000 * cluster.await_result(healed)


# The master


def of_masters(report: Report, n: int) -> None:
    """Kill masters, and start them again at once."""
    ipc, tcp = masters_killed(n, tcp=False), masters_killed(n, tcp=True)
    part = f"master killed (-9) and started again, {n} times"
    note = "of it up to 250 ms are ours: the time between two looks for a master, or attempts"
    report.add(f"{part}, until a result", "ms", {IPC: ipc[0], TCP: tcp[0]}, note=note)
    note = "the start of Python is in it"
    report.add(
        f"{part}, of it until the new one is there", "ms", {IPC: ipc[1], TCP: tcp[1]}, note=note
    )


def masters_killed(n: int, *, tcp: bool) -> tuple[list[float], list[float]]:
    """Return milliseconds to a result of the new master, and to its readiness."""
    firsts, starts = [], []
    with Place() as place:
        cluster = Cluster(place, tcp=tcp)
        cluster.start_workers(2)
        with Calls(cluster, "pulse", 32):
            for at in range(n):
                time.sleep(CALM + spread(at))
                begun = time.monotonic()
                cluster.master.kill()
                cluster.master.wait(BOUND)
                cluster.start_master()
                ready = time.monotonic()
                # What the old one had sent comes a moment after its end.
                firsts.append(1000 * (ready - begun + cluster.await_result(ready)))
                starts.append(1000 * (ready - begun))
    return firsts, starts


# The registry


def of_registries(report: Report, n: int) -> None:
    """Kill registries; the runner starts another one each time."""
    caught_up, answers = registries_killed(n)
    part = f"registry killed (-9), {n} times"
    name = "palm, its runner"
    note = "of it 0.1 s are ours: what the runner waits before it sends output again"
    report.add(f"{part}, until all output is there", "ms", {name: caught_up}, note=note)
    note = "the start of Python is in it"
    report.add(f"{part}, of it until another one answers", "ms", {name: answers}, note=note)


def registries_killed(n: int) -> tuple[list[float], list[float]]:
    """Return milliseconds until all output was there, and until there was an answer.

    Nobody but the runner is there to start a registry again.
    """
    caught_up, answers = [], []
    with Place() as place, closing(PalmHouse(place)) as house:
        script = place.folder / "talker.py"
        script.write_text(TALKER)
        file = place.folder / "cluster.toml"
        file.write_text(f'[components.talker]\nscript = "{script}"\n')
        house.command("up", str(file))
        output = Output(place)
        for at in range(n):
            output.await_(output.is_fresh, "output")
            time.sleep(CALM + spread(at))
            pid = output.registry_pid()
            begun = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            output.await_(partial(output.answers, pid), "a registry")
            answers.append(1000 * (time.monotonic() - begun))
            output.await_(output.is_fresh, "output of now")
            caught_up.append(1000 * (time.monotonic() - begun))
        output.check()
    return caught_up, answers


class Output:
    """What the registry has of the output of the talker."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folders = Folders.find(place.environment)
        self._client: RegistryClient | None = None

    def registry_pid(self) -> int:
        """Return the process of the registry, 0 while there is none."""
        record = read_registry(self._folders)
        return record.pid if record is not None and record.is_running else 0

    def newest(self) -> float:
        """Return when the newest line was written, 0 without an answer."""
        try:
            page = self._find().output("bench", "talker", stream="stdout", lines=1)
            return float(page.records[-1].raw.split()[1])
        except (PalmError, IndexError, ValueError):
            self._client = None
            return 0.0

    def answers(self, but: int) -> bool:
        """Whether a registry answers, but not that of a process."""
        return self.registry_pid() not in (0, but) and bool(self.newest())

    def is_fresh(self) -> bool:
        """Whether the newest line was written just now."""
        return time.monotonic() - self.newest() < FRESH

    def check(self) -> None:
        """Raise unless each line is there once."""
        lines: list[bytes] = []
        cursor = ""
        while True:
            page = self._find().output("bench", "talker", stream="stdout", cursor=cursor)
            if not page.records:
                break
            lines.append(b"".join(record.raw for record in page.records))
            cursor = page.cursor
        numbers = [int(line.split()[0]) for line in b"".join(lines).splitlines()[:-1]]
        if numbers != list(range(len(numbers))) or not numbers:
            raise BrokenError(f"output: of {len(numbers)} lines some are lost or doubled")

    def await_(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        self._place.await_(condition, what)

    def _find(self) -> RegistryClient:
        if self._client is None:
            self._client = find_registry(self._folders, retry=0.0)  # it does not start one
        if self._client is None:
            raise PalmError("there is no registry")
        return self._client
