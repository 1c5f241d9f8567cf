"""Processes of a measurement: started with a folder of their own, ended by pid, bounded in time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psutil

#: Seconds within which processes must be there, or gone.
BOUND = 30.0

#: Seconds that one measurement may take before it counts as hanging.
MEASURED_WITHIN = 180.0

ROOT = Path(__file__).parents[1]


class BrokenError(Exception):
    """A system ended, hung or gave no answer."""


class Place:
    """A short-lived folder, the environment that names it, and the processes started in it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="pb-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {
            **os.environ,
            "PALM_RUN_DIR": str(self.folder / "run"),
            "PALM_STATE_DIR": str(self.folder / "state"),
            "PALM_CLUSTER": "bench",
            **_cached_bytecode(),
        }
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spawn(
        self, source: str, *args: str, talk: bool = False, python: str = sys.executable
    ) -> subprocess.Popen[str]:
        """Start a Python on a source text; it is ended, whatever happens, with the place."""
        self._started += 1
        with open(self.folder / f"{self._started}.err", "w") as errors:
            process = subprocess.Popen(
                [python, "-c", source, *args],
                stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talk else subprocess.DEVNULL,
                stderr=errors,
                cwd=ROOT,
                env=self.environment,
                text=True,
                start_new_session=True,
            )
        self._stack.callback(end, process)
        return process

    def complaints(self) -> str:
        """Return the last lines that processes wrote to their stderr."""
        texts = [path.read_text(errors="replace") for path in sorted(self.folder.glob("*.err"))]
        return "\n".join(text.strip()[-2000:] for text in texts if text.strip())

    def await_(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        until = time.monotonic() + BOUND
        while not condition():
            if time.monotonic() > until:
                raise BrokenError(f"{what} did not come up\n{self.complaints()}")
            time.sleep(0.002)


class Caller:
    """A process that calls a system and measures what it gets; see `benchmarks.caller`.

    ``python`` is the interpreter of the environment that the system is installed in.
    """

    def __init__(self, place: Place, system: str, *args: str, python: str = sys.executable) -> None:
        self._place = place
        self._system = system
        source = "from benchmarks.caller import main; main()"
        self.process = place.spawn(source, system, *args, talk=True, python=python)

    def ask(
        self,
        measure: str,
        *,
        meanwhile: Callable[[], None] | None = None,
        on_news: Callable[[], None] | None = None,
        within: float = MEASURED_WITHIN,
        **options: Any,
    ) -> dict[str, Any]:
        """Have it measure something and return its figures.

        ``meanwhile`` is called every few milliseconds, ``on_news`` when it says that it is
        halfway.
        """
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            kill(self.process)

        timer = threading.Timer(within, give_up)
        timer.daemon = True
        timer.start()
        with _Sampler(meanwhile):
            try:
                return self._exchange({"measure": measure, **options}, on_news)
            except (BrokenPipeError, json.JSONDecodeError) as error:
                reason = f"took more than {within:g} s" if hung.is_set() else "ended"
                text = f"{self._system}, {measure}: {reason}\n{self._place.complaints()}"
                raise BrokenError(text) from error
            finally:
                timer.cancel()

    def _exchange(
        self, request: dict[str, Any], on_news: Callable[[], None] | None
    ) -> dict[str, Any]:
        to, of = self.process.stdin, self.process.stdout
        if to is None or of is None:
            raise BrokenPipeError
        to.write(json.dumps(request) + "\n")
        to.flush()
        while True:
            answer = json.loads(of.readline())
            if "error" in answer:
                raise BrokenError(f"{self._system}, {request['measure']}: {answer['error']}")
            if "news" not in answer:
                return dict(answer)
            if on_news is not None:
                on_news()


class _Sampler:
    """Calls a function every few milliseconds, in a thread."""

    def __init__(self, sample: Callable[[], None] | None, every: float = 0.005) -> None:
        self._sample = sample or (lambda: None)
        self._wanted = sample is not None
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._wanted:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._sample()


def end(process: subprocess.Popen[str]) -> None:
    """End a process, whatever state it is in, and what it leaves behind."""
    started = descendants(process.pid)
    if process.stdin is not None:  # it ends by itself, and what it started before it
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        kill(process)
    if process.stdout is not None:
        process.stdout.close()
    _kill_all(started)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process, and what it started."""
    started = descendants(process.pid)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _kill_all(started)


def descendants(pid: int) -> list[psutil.Process]:
    """Return the processes that a process started, and those that they did."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill_all(processes: list[psutil.Process]) -> None:
    """Kill those that are left; some systems start theirs in groups and sessions of their own."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it also knows when another has the pid
            process.kill()
    psutil.wait_procs(processes, BOUND)


_bytecode: tempfile.TemporaryDirectory[str] | None = None


def _cached_bytecode() -> dict[str, str]:
    """Let modules be compiled once, also where the environment forbids it: users have them so."""
    global _bytecode
    if not sys.dont_write_bytecode:
        return {}
    if _bytecode is None:
        _bytecode = tempfile.TemporaryDirectory(prefix="pb-pyc-")
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _bytecode.name}
