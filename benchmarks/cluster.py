"""A palm cluster of real processes, for as long as a measurement takes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from palm.clients import Client
from palm.runtime.folders import Folders
from palm.runtime.records import live_records, read_record

#: Seconds within which processes must be there, or gone.
BOUND = 30.0

MASTER = (
    "import sys; from palm.servers import Master; Master('foo', db_address={address!r}).start()"
)
WORKER = """
import sys
from benchmarks import work
from palm.servers import Worker
functions = {{"stamp": work.stamp, "echo": work.echo, "nap": work.nap}}
Worker(sys.argv[1], master={master!r}, functions=functions).start()
"""


class PalmCluster:
    """A master and ``workers`` workers, over ipc or over tcp with CURVE."""

    def __init__(self, workers: int = 2, *, tcp: bool = False) -> None:
        self._workers = workers
        self._tcp = tcp
        self._folder = tempfile.mkdtemp(prefix="palm-bench-")
        self._before = {name: os.environ.get(name) for name in ("PALM_RUN_DIR", "PALM_STATE_DIR")}
        self.master: subprocess.Popen[bytes]
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address: str | None = None

    def __enter__(self) -> Self:
        os.environ["PALM_RUN_DIR"] = f"{self._folder}/run"
        os.environ["PALM_STATE_DIR"] = f"{self._folder}/state"
        address = "tcp://127.0.0.1:0" if self._tcp else None
        self.master = spawn(MASTER.format(address=address))
        if self._tcp:
            self.address = self._await_address()
        for number in range(self._workers):
            source = WORKER.format(master=self.address or "foo")
            self.workers.append(spawn(source, f"w{number}"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in [*self.workers, self.master]:
            end(process)
        shutil.rmtree(self._folder, ignore_errors=True)
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def client(self) -> Client:
        """Return a client."""
        return Client("foo", self.address)

    def await_workers(self) -> None:
        """Wait until all workers are ready."""
        folders = Folders.find()
        _await(lambda: sum(r.role == "worker" for r in live_records(folders)) == self._workers)

    def _await_address(self) -> str:
        folders = Folders.find()
        _await(lambda: read_record(folders, "foo") is not None)
        record = read_record(folders, "foo")
        if record is None:
            raise RuntimeError("the master is gone")
        return record.endpoints["db"]


def spawn(source: str, *args: str) -> subprocess.Popen[bytes]:
    """Start Python on a source text."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *args],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[1],
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, whatever state it is in."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(condition: object) -> None:
    until = time.monotonic() + BOUND
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            raise TimeoutError("the cluster did not come up")
        time.sleep(0.002)
