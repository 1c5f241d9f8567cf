"""A cluster whose parts are lost and replaced, and one who calls it all the while."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from benchmarks.processes import BOUND, BrokenError, Caller, Place
from benchmarks.reliability.journal import VARIABLE, Entry, Journal
from benchmarks.systems import free_ports
from palm.runtime.folders import Folders
from palm.runtime.records import live_records, read_record

__all__ = ["Calls", "Cluster", "Loss"]

MASTER = """
import logging, sys
from benchmarks.reliability.journal import Journal, JournalHandler
from palm.servers import Master
logging.getLogger("palm").addHandler(JournalHandler(Journal()))
Master("foo", db_address=sys.argv[1] or None).start()
"""
WORKER = """
import sys
from benchmarks.reliability.functions import FUNCTIONS
from benchmarks.reliability.leases import count_leases
from palm.servers import Worker
count_leases(sys.argv[3])
Worker(sys.argv[1], master=sys.argv[2], functions=FUNCTIONS).start()
"""

#: Seconds between two looks at what is waited for, and for an end that a signal brings about.
LOOK = 0.001

T = TypeVar("T")


class Loss:
    """A worker that was taken away from a message: by what, when, and what came of it."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._cluster = cluster
        begun = cluster.await_(cluster.just_begun, "a message that has just begun")
        self.pid = begun.pid
        self.at = time.monotonic()
        os.kill(self.pid, number)
        cluster.await_(self._is_hit, "the end of a worker")
        #: None if it hit none.
        self.message = cluster.journal.under_way(self.pid)

    @property
    def name(self) -> str:
        """Of the worker."""
        return self._cluster.name_of(self.pid)

    def begun_again(self) -> Entry:
        """Wait until its message was begun by another."""
        return self._cluster.await_entry(
            lambda e: (
                e.word == "begun"
                and e.pid != self.pid
                and self.message is not None
                and e.text == self.message.text
            ),
            self.at,
            "a message that was begun again",
        )

    def noticed(self) -> Entry:
        """Wait until the master has said that it misses the worker."""
        text = f"worker {self.name} was lost"
        return self._cluster.await_entry(
            lambda e: e.word == "log" and e.text.startswith(text), self.at, text
        )

    def replace(self) -> None:
        """End it for good, and have another one in its place."""
        self._cluster.replace_worker(self.pid)

    def _is_hit(self) -> bool:
        try:
            status = psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return True
        return status in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)


class Cluster:
    """A master and workers, over ipc or, with ``tcp``, at one port over tcp with CURVE."""

    def __init__(self, place: Place, *, tcp: bool = False) -> None:
        self.place = place
        self.folders = Folders.find(place.environment)
        path = str(place.folder / "journal")
        place.environment[VARIABLE] = path
        self.journal = Journal(path)
        self.port = free_ports(1)[0] if tcp else 0
        self.address = f"tcp://127.0.0.1:{self.port}" if tcp else ""
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._started = 0
        self.master = self.start_master()

    def start_master(self) -> subprocess.Popen[str]:
        """Start one, and wait until it is there."""
        self.master = self.place.spawn(MASTER, self.address)
        self.await_(lambda: self._is_master() or None, "a master")
        return self.master

    def start_workers(self, n: int, address: str = "") -> list[str]:
        """Start some, wait until they are there and return their names."""
        names = []
        for _ in range(n):
            names.append(f"w{self._started}")
            self._started += 1
            args = (names[-1], address or self.address or "foo", self.leases_of(names[-1]))
            self.processes[names[-1]] = self.place.spawn(WORKER, *args)
        self.await_(lambda: set(names) <= self._ready() or None, "workers")
        return names

    def caller(self) -> Caller:
        """Return a process with a client."""
        return Caller(self.place, "palm", self.address)

    def leases_of(self, name: str) -> str:
        """Return the file in which a worker counts its leases."""
        return str(self.place.folder / f"{name}.leases")

    def replace_worker(self, pid: int) -> None:
        """Kill it, if it is not dead, and start another one."""
        process = self.processes.pop(self.name_of(pid))
        process.kill()
        process.wait()
        self.start_workers(1)

    def name_of(self, pid: int) -> str:
        """Return the name of the worker that is, or was, this process."""
        return next(name for name, process in self.processes.items() if process.pid == pid)

    def just_begun(self) -> Entry | None:
        """Return a message that a worker has begun since a moment, and not ended."""
        entry = self.journal.under_way()
        if entry is None or time.monotonic() - entry.time > 0.1:
            return None
        return entry if entry.pid in {p.pid for p in self.processes.values()} else None

    def await_entry(self, wanted: Callable[[Entry], bool], since: float, what: str) -> Entry:
        """Wait until the journal has an entry."""
        return self.await_(lambda: self.journal.find(wanted, since), what)

    def await_result(self, since: float) -> float:
        """Wait for a result after a time; return how long after."""
        entry = self.await_entry(lambda e: e.word == "result", since, "a result")
        return entry.time - since

    def await_(self, find: Callable[[], T | None], what: str) -> T:
        """Wait until there is something, and return it."""
        until = time.monotonic() + BOUND
        while (found := find()) is None:
            if time.monotonic() > until:
                raise BrokenError(f"{what}: not within {BOUND:g} s\n{self.place.complaints()}")
            time.sleep(LOOK)
        return found

    def _is_master(self) -> bool:
        record = read_record(self.folders, "foo")
        return record is not None and record.pid == self.master.pid

    def _ready(self) -> set[str]:
        return {each.name for each in live_records(self.folders) if each.role == "worker"}


class Calls:
    """One who calls a function without end; each result is noted in the journal.

    ``ahead`` is how many messages are under way; with 1 it makes one call after the other.
    """

    def __init__(self, cluster: Cluster, function: str, ahead: int, address: str = "") -> None:
        self._caller = Caller(cluster.place, "palm", address or cluster.address)
        self._until = Path(f"{cluster.place.folder}/{self._caller.process.pid}.over")
        self._cluster = cluster
        self._request: dict[str, Any] = {
            "function": function,
            "ahead": ahead,
            "until": str(self._until),
        }
        self._error: BrokenError | None = None
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.outcomes = 0

    def __enter__(self) -> Self:
        since = time.monotonic()
        self._thread.start()
        self._cluster.await_result(since)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._until.touch()
        self._thread.join(2 * BOUND)
        if kind is None:
            if self._thread.is_alive():
                raise BrokenError(f"calls that do not end\n{self._cluster.place.complaints()}")
            if self._error is not None:
                raise self._error

    def _ask(self) -> None:
        try:
            found = self._caller.ask("endless", within=900.0, **self._request)
            self.outcomes = found["outcomes"]
        except BrokenError as error:
            self._error = error
