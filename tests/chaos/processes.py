"""The processes of a run: each in its place, where another follows when it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from tests.chaos.work import FOLDER

__all__ = ["Place", "Slot"]

ROOT: Final = Path(__file__).parents[2]

#: Seconds after which a process that ended by itself is followed by another.
_AGAIN: Final = 0.3
#: Seconds in which what ends by itself is gone.
_ENDING: Final = 5.0

#: Makes the arguments of Python for the n-th process of a place.
Command = Callable[[int], list[str]]


class Slot:
    """The place of one process: ``worker-2``, say, whichever process has it by now.

    With ``group`` a signal is for all processes that it started, too.
    """

    def __init__(
        self, role: str, name: str, command: Command, place: Place, *, group: bool = False
    ) -> None:
        self.role = role
        self.name = name
        self.born = 0.0
        #: How often its process ended though nobody had ended it.
        self.ended = 0
        self._command = command
        self._place = place
        self._group = group
        self._count = 0
        self._ended_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that has this place, 0 without one."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_there(self) -> bool:
        """Whether it runs, or is stopped."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a process here."""
        self._process = self._place.spawn(self.name, self._command(self._count))
        self._count += 1
        self.born = time.monotonic()
        self._ended_at = 0.0

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process is None or self._process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            if self._group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the process; return whether it came."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return not self.is_there

    def tend(self) -> None:
        """Start another one where the process has ended, a moment after it."""
        if self.is_there:
            return
        if not self._ended_at:
            self._ended_at = time.monotonic()
            self.ended += 1
        elif time.monotonic() - self._ended_at > _AGAIN:
            self.start()


class Place:
    """A folder, the environment that names it, and all processes that have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("workers", "clients", "output"):
            (folder / name).mkdir(parents=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PALM_")},
            FOLDER: str(folder),
            "PALM_RUN_DIR": str(folder / "run"),
            "PALM_STATE_DIR": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "registry")]),
            "IPYTHONDIR": str(folder / "ipython"),
        }

    def spawn(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start Python; what it writes is added to a file of this name."""
        with open(self.folder / "output" / name, "ab") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self.environment,
                start_new_session=True,
            )

    def processes(self) -> Iterator[psutil.Process]:
        """Yield whatever runs with this folder in its environment."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get(FOLDER) == str(self.folder)
                if ours and process.pid != os.getpid():
                    yield process

    def end_rest(self) -> int:
        """Kill what is left, and return how many that were.

        What is ending by itself, as the fork server of a runner that is gone, has the time for it.
        """
        _, left = psutil.wait_procs(list(self.processes()), timeout=_ENDING)
        for process in left:
            print(f"left behind: {process}")
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=5)
        return len(left)
