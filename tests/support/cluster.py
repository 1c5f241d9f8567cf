"""Clusters for tests: in threads of the test's process, and in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palm.clients import Client, Job
from palm.runtime.component import Component, State
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.servers import Master, Worker

ROOT = Path(__file__).parents[2]


def until(holds: Callable[[], Any], *, within: float = 10.0, what: str = "") -> Any:
    """Wait until something holds, and return it; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or holds}")
        time.sleep(0.002)
    return value


@contextmanager
def interrupted(when: Callable[[], Any]) -> Iterator[None]:
    """Send the main thread a SIGINT, as Ctrl-C does, as soon as ``when()`` holds.

    It may hold at once: what expects the KeyboardInterrupt goes around this.
    """
    left = threading.Event()

    def interrupt() -> None:
        while not left.is_set():
            if when():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return
            left.wait(0.002)

    thread = threading.Thread(target=interrupt)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        yield
    finally:
        left.set()
        thread.join()
        signal.signal(signal.SIGINT, previous)


def is_waited_for(job: Job) -> bool:
    """Whether somebody waits for results of a job: an interrupt would come into that wait."""
    return bool(job._changed._waiters)  # type: ignore[attr-defined]


class Served:
    """A component that serves in a thread of its own."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.error: BaseException | None = None
        # A daemon, so that not even a broken test hangs the run; the leak check sees it anyway.
        name = f"test-{component.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.component.start()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def wait_until_open(self) -> None:
        """Wait until it serves; raises what went wrong instead."""
        state = self.component
        until(lambda: state.state not in (State.NEW, State.STARTING), what=f"{state} opens")
        if self.error is not None or state.state is State.FAILED:
            self._thread.join(10)
            raise self.error or AssertionError(f"{state} failed")

    def join(self, timeout: float = 10.0) -> None:
        """Wait until it has ended by itself."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.component} does not end"

    def stop(self, grace: float = 2.0) -> None:
        """Stop it and wait."""
        self.component.stop(grace)
        self.join()


class ThreadCluster:
    """Masters, workers and clients in this process; `close` ends them all."""

    def __init__(self) -> None:
        self._served: list[Served] = []
        self._clients: list[Client] = []
        self.folders = Folders.find()

    def serve(self, component: Component) -> Served:
        """Serve a component; returns as soon as it is open."""
        served = Served(component)
        self._served.append(served)
        served.wait_until_open()
        return served

    def master(self, name: str = "foo", **options: Any) -> Served:
        """Start a master."""
        return self.serve(Master(name, **options))

    def worker(
        self,
        functions: Mapping[str, Callable[[Any], Any]] | Worker,
        name: str = "",
        master: str = "foo",
        **options: Any,
    ) -> Served:
        """Start a worker of functions, or the given one, and wait until its master knows it."""
        if not isinstance(functions, Worker):
            functions = Worker(name, master=master, functions=functions, **options)
        served = self.serve(functions)
        until(lambda: read_record(self.folders, functions.name), what="the worker is welcome")
        return served

    def client(self, name: str = "foo", *addresses: str, **options: Any) -> Client:
        """Make a client."""
        client = Client(name, *addresses, **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """End clients, then workers, then masters."""
        for client in self._clients:
            client.close()
        for served in reversed(self._served):
            served.stop()


class Script:
    """A Python process that runs a piece of source; its output is in ``output``."""

    def __init__(self, source: str, folder: Path, name: str, env: Mapping[str, str]) -> None:
        self.path = folder / f"{name}.py"
        self.path.write_text(textwrap.dedent(source))
        self._output = folder / f"{name}.out"
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(self.path)],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT), **env},
                cwd=folder,
            )

    @property
    def output(self) -> str:
        """What it has written so far, on stdout and stderr."""
        return self._output.read_text()

    def wait_for(self, text: str, within: float = 15.0) -> None:
        """Wait until it has written a text."""
        until(lambda: text in self.output, within=within, what=f"{text!r} in {self.path.name}")

    def wait_for_line(self, text: str, within: float = 15.0) -> str:
        """Wait for a line with a text, until its end is written too, and return it."""

        def line() -> str | None:
            whole = (line for line in self.output.splitlines(True) if line.endswith("\n"))
            return next((line.rstrip("\n") for line in whole if text in line), None)

        return str(until(line, within=within, what=f"a line with {text!r} in {self.path.name}"))

    def wait(self, timeout: float = 15.0) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout)

    def stop(self, timeout: float = 10.0) -> int:
        """End it as a supervisor does, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.wait()


class ProcessCluster:
    """Scripts in processes of their own; `close` ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._scripts: list[Script] = []

    def run(self, source: str, **env: str) -> Script:
        """Start a script."""
        name = f"script{len(self._scripts)}"
        script = Script(source, self.folder, name, env)
        self._scripts.append(script)
        return script

    def master(self, name: str = "foo", arguments: str = "") -> Script:
        """Start a master, and wait until it is ready."""
        source = f"from palm.servers import Master\nMaster({name!r}, {arguments}).start()\n"
        script = self.run(source)
        script.wait_for("ready")
        return script

    def worker(self, source: str, start: str) -> Script:
        """Start what the expression ``start`` makes of the definitions in ``source``."""
        script = self.run(
            "from palm.servers import Worker\n"
            f"{textwrap.dedent(source)}\n"
            f"if __name__ == '__main__':\n    ({start}).start()\n"
        )
        script.wait_for("Got worker pull address")
        return script

    def close(self) -> None:
        """End them, the latest first."""
        for script in reversed(self._scripts):
            script.stop()
