"""What runs inside a worker of Dask that is a node: it starts a runner, and ends it.

The runner is a child of the worker, tied to it by a pipe: when the worker is gone, however that
came, the runner ends what it runs, leaves the cluster, and removes its folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from palm.engines.orders import NodeOrder, NodeReport
from palm.runner.process import own_variables_removed

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["NodeOnWorker", "begin", "end", "look"]

#: Seconds for a runner to end what it runs; after that it goes on without us.
_END = 25.0
#: Seconds until a runner that has died is started again: the first time, and at most.
_AGAIN, _AGAIN_AT_MOST = 1.0, 30.0
#: Bytes of the log that a problem shows.
_TAIL = 2000
#: Longer ones leave no room for the paths of sockets.
_LONG_FOLDER = 40

_log = logging.getLogger("distributed.worker.palm")


class NodeOnWorker(WorkerPlugin):
    """One node of one pool, on the worker whose plugin this is."""

    def __init__(self, order: NodeOrder) -> None:
        self._order = order
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._problem = ""

    def setup(self, worker: Worker) -> None:
        """Start the runner, which does not wait for anything."""
        base = tempfile.gettempdir()
        self._folder = Path(
            tempfile.mkdtemp(prefix="palm-", dir=base if len(base) < _LONG_FOLDER else "/tmp")  # noqa: S108 - mkdtemp makes it ours alone
        )
        self._start("-", secret=self._order.join)
        threading.Thread(target=self._watch, name="palm-node", daemon=True).start()

    async def teardown(self, worker: Worker) -> None:
        """Let the runner end what it runs, and itself."""
        self._ending.set()
        with self._lock:
            process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, _END)

    def report(self) -> NodeReport:
        """How it is now."""
        with self._lock:
            running = self._process is not None and self._process.poll() is None
        return NodeReport(self._order.node, running, self._problem)

    def _start(self, *what: str, secret: str = "") -> None:
        order = self._order
        command = [sys.executable, "-m", "palm", "--cluster", order.cluster, "nodes", "join"]
        command += [*what, "--attached", "--scratch", str(self._folder), "--name", order.node]
        if order.beside is not None and order.beside.is_here():
            command += ["--run", order.beside.run]
        elif secret and order.address:
            command.append(f"--address={order.address}")
        with self._lock:
            if self._ending.is_set():
                return
            with (self._folder / "runner.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, *(order.options if secret else ())],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=own_variables_removed(os.environ),
                    start_new_session=True,  # what a terminal says to the worker is not for us
                )
            if secret and self._process.stdin is not None:
                with suppress(BrokenPipeError):  # it has ended already, and `_watch` says why
                    self._process.stdin.write(f"{secret}\n".encode())
                    self._process.stdin.flush()

    def _watch(self) -> None:
        """Start the runner again when it has died, and not when it was let go."""
        delay = _AGAIN
        while self._process is not None and not self._ending.is_set():
            code = self._process.wait()
            if code == 0 or self._ending.is_set():
                return
            self._problem = f"its runner ended with {code}: {self._tail()}"
            _log.warning("%s: %s", self._order.node, self._problem)
            if not self._has_joined() or self._ending.wait(delay):
                return
            delay = min(_AGAIN_AT_MOST, 2 * delay)
            self._start()

    def _has_joined(self) -> bool:
        joined = f"state/{self._order.cluster}/joined-{self._order.node}.json"
        return (self._folder / joined).exists()

    def _tail(self) -> str:
        with suppress(OSError), (self._folder / "runner.log").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "backslashreplace").strip()
        return "it has no log"


# Called by `distributed.Client.run`, which gives them the worker.


async def begin(plugin: str, order: NodeOrder, dask_worker: Any = None) -> str:
    """Be a node; return why that cannot be, "" if it can."""
    if plugin in dask_worker.plugins:
        await dask_worker.plugin_remove(plugin)
    answer = await dask_worker.plugin_add(NodeOnWorker(order), plugin)
    return "" if answer["status"] == "OK" else str(answer.get("exception") or answer)


def look(plugin: str, dask_worker: Any = None) -> NodeReport | None:
    """Say as which node it runs, None if as none."""
    found = dask_worker.plugins.get(plugin)
    return found.report() if isinstance(found, NodeOnWorker) else None


async def end(plugin: str, dask_worker: Any = None) -> None:
    """Be a node no more."""
    if plugin in dask_worker.plugins:
        await dask_worker.plugin_remove(plugin)
