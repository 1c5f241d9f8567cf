"""What a client that reads nothing costs others, and whether a busy worker counts as dead.

``python -m tests.chaos.pressure`` starts a master and three workers, and prints

* the master's memory while one client has a million messages to send and takes no result, and the
  time that single calls of another client take meanwhile, beside those on an idle cluster;
* of workers that hold the GIL in C for ten seconds each, how many had their message begun again.

``--held SECONDS`` measures that alone, with another time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from unittest import mock

import psutil

from palm.clients import Client, Job
from tests.chaos.processes import Place, Slot
from tests.support.cluster import until

WORKERS = 3
MESSAGES = 1_000_000
CALLS = 1000
HELD = 10.0

_MASTER = "from palm.servers import Master; Master('foo').start()"
_WORKER = """
import ctypes, sys
from palm.servers import Worker

def echo(value):
    return value

def hold(seconds):
    ctypes.PyDLL(None).sleep(seconds)  # unlike CDLL, it keeps the GIL

Worker(sys.argv[1], master="foo", functions={"echo": echo, "hold": hold}).start()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.pressure", description=__doc__)
    parser.add_argument("--held", metavar="SECONDS", type=float, help="see above")
    held = parser.parse_args().held
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder, ExitStack() as stack:
        place = Place(Path(folder) / "place")
        stack.callback(place.end_rest)
        master = Slot("master", "master", lambda _: ["-c", _MASTER], place)
        master.start()
        for number in range(WORKERS):
            name = f"worker-{number}"
            Slot("worker", name, lambda _, name=name: ["-c", _WORKER, name], place).start()
        stack.enter_context(mock.patch.dict(os.environ, place.environment))
        client = stack.enter_context(Client("foo", logging_level=30))
        if held is None:
            _measure_pressure(client, psutil.Process(master.pid))
        _measure_busy(client, HELD if held is None else held)


def _measure_pressure(client: Client, master: psutil.Process) -> None:
    calls(client, 50)
    print(f"idle      calls {calls(client)}, master {size(master)}")
    with Client("foo", logging_level=30) as stalled:
        job = stalled.job("foo.echo", range(MESSAGES), messages=MESSAGES)
        until(lambda: job.state == "paused", within=30, what="the job is paused")
        print(f"stalled   calls {calls(client)}, master {size(master)}, {_under_way(job)}")
        begun = time.perf_counter()
        count = sum(1 for _ in job)
        seconds = time.perf_counter() - begun
        print(f"then      {count} results in {seconds:.0f} s, master {size(master)}")


def _measure_busy(client: Client, held: float) -> None:
    job = client.job("foo.hold", [int(held)] * WORKERS)
    frame = job.to_frame()
    again = int((frame["attempts"] > 1).sum())
    print(f"busy      {again} of {len(frame)} messages that held the GIL for {held:g} s ran again")


def calls(client: Client, n: int = CALLS) -> str:
    """Call one after the other; say how long that takes."""
    seconds = []
    for _ in range(n):
        begun = time.perf_counter()
        client.eval("foo.echo", 1, timeout=60.0)
        seconds.append(time.perf_counter() - begun)
    seconds.sort()
    p99 = seconds[n * 99 // 100]
    return f"{median(seconds) * 1000:.2f} ms (median), {p99 * 1000:.2f} ms (p99)"


def size(process: psutil.Process) -> str:
    """Say how much memory a process has."""
    return f"{process.memory_info().rss / 2**20:.0f} MiB"


def _under_way(job: Job) -> str:
    return f"{job.progress.done} of {MESSAGES} messages have their outcome"


if __name__ == "__main__":
    sys.exit(main())
