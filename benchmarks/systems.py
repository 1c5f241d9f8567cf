"""The systems, as processes: a palm cluster and the bare relay."""

from __future__ import annotations

import json
import socket
import subprocess
import time

from benchmarks.processes import BOUND, BrokenError, Caller, Place
from palm.runtime.folders import Folders
from palm.runtime.records import live_records, read_record

__all__ = ["PalmCluster", "PalmHouse", "RelayCluster", "free_ports"]

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
# A program as a user writes it; the clock runs from the call that has everything started.
HOUSE = """
import json, time
import palm
begun = time.perf_counter()
with palm.up() as cluster:
    up = time.perf_counter() - begun
    cluster.start("master", "foo")
    source = "def stamp(payload):\\n    return b'ok ' + payload\\n"
    cell = palm.clusters.CellSource(source, "<cell>")
    cluster.start("worker", "foo-worker", cell, replicas=2, args=("--master", "foo"))
    with cluster.client("foo", logging_level=30) as client:
        job = client.job("foo.stamp", [b"x"] * 10)
        result = next(job)
        first = time.perf_counter() - begun
        rest = list(job)
    cluster.down(grace=1.0)
right = [result, *rest] == [b"ok x"] * 10
print(json.dumps({"up": up, "first": first, "right": right}), flush=True)
"""
COMMAND = """
import sys
from palm.cli import main
sys.exit(main(sys.argv[1:]))
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

    def add_worker(self) -> float:
        """Start one more; return the seconds until its master knows it."""
        self.await_workers()
        begun = time.perf_counter()
        self.workers.append(
            self._place.spawn(WORKER, f"w{len(self.workers)}", self.address or "foo")
        )
        self.await_workers()
        return time.perf_counter() - begun

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


class PalmHouse:
    """A registry and a runner in the background, from nothing; `close` ends what is left."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def first(self) -> dict[str, float]:
        """Return the seconds until `palm.up` was back, and until a first result was there."""
        process = self._place.spawn(HOUSE, talk=True)
        answer, _ = process.communicate(timeout=BOUND)
        if process.returncode:
            raise BrokenError(f"no result of a whole cluster\n{self._place.complaints()}")
        found = json.loads(answer)
        if not found.pop("right"):
            raise BrokenError("wrong results of a whole cluster")
        return dict(found)

    def command(self, *args: str) -> float:
        """Run ``palm`` as a shell does, and return the seconds that it takes."""
        begun = time.perf_counter()
        process = self._place.spawn(COMMAND, *args)
        if code := process.wait(BOUND):
            raise BrokenError(f"palm {args[0]}: exit code {code}\n{self._place.complaints()}")
        return time.perf_counter() - begun

    def close(self) -> None:
        """End it; what has ended stays so."""
        self.command("down")


class RelayCluster:
    """The relay and its workers, each of which runs one function."""

    def __init__(self, place: Place, function: str, workers: int = 2) -> None:
        self._place = place
        front, back = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        self.front = front
        self.relay: subprocess.Popen[str] = place.spawn(RELAY, front, back, str(workers))
        self.workers = [place.spawn(RELAY_WORKER, back, function) for _ in range(workers)]

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
