"""The systems, as processes: a palm cluster and the bare relay."""

from __future__ import annotations

import socket
import subprocess

from benchmarks.processes import Caller, Place
from palm.runtime.folders import Folders
from palm.runtime.records import live_records, read_record

__all__ = ["PalmCluster", "RelayCluster", "free_ports"]

MASTER = """
import sys
from palm.servers import Master
Master("foo", db_address=sys.argv[1] or None).start()
"""
WORKER = """
import sys
from benchmarks.work import FUNCTIONS
from palm.servers import Worker
Worker(sys.argv[1], master=sys.argv[2], functions=FUNCTIONS).start()
"""
RELAY = """
import sys
from benchmarks.relay import serve
serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""
RELAY_WORKER = """
import sys
from benchmarks.relay import work_for
work_for(sys.argv[1], sys.argv[2])
"""


class PalmCluster:
    """A master and workers, over ipc or over tcp with CURVE, in a place of its own."""

    def __init__(self, place: Place, workers: int = 2, *, tcp: bool = False) -> None:
        self._place = place
        self._folders = Folders.find(place.environment)
        self.address = ""
        self.master = place.spawn(MASTER, "tcp://127.0.0.1:0" if tcp else "")
        if tcp:
            place.await_(self._has_address, "a master")
        self.workers = [
            place.spawn(WORKER, f"w{number}", self.address or "foo") for number in range(workers)
        ]

    def await_workers(self) -> None:
        """Wait until all workers are welcome."""
        self._place.await_(lambda: self._ready() >= len(self.workers), "workers")

    def caller(self) -> Caller:
        """Return a process with a client, when all workers are there."""
        self.await_workers()
        return Caller(self._place, "palm", self.address)

    def _has_address(self) -> bool:
        record = read_record(self._folders, "foo")
        if record is not None:
            self.address = record.endpoints["db"]
        return record is not None

    def _ready(self) -> int:
        return sum(record.role == "worker" for record in live_records(self._folders))


class RelayCluster:
    """The relay and its workers, each of which runs one function."""

    def __init__(self, place: Place, function: str, workers: int = 2) -> None:
        self._place = place
        front, back = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        self.front = front
        self.relay: subprocess.Popen[str] = place.spawn(RELAY, front, back, str(workers))
        for _ in range(workers):
            place.spawn(RELAY_WORKER, back, function)

    def caller(self, window: int = 1000) -> Caller:
        """Return a process with a client."""
        return Caller(self._place, "relay", self.front, str(window))


def free_ports(n: int) -> list[int]:
    """Return ports that nobody listens at, a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
