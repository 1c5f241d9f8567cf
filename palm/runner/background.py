"""Processes that go on without us: the registry and the runner of a local cluster."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from palm.errors import RegistryError
from palm.runner.process import own_variables_removed
from palm.runtime.records import is_running, process_start_time

__all__ = ["Background"]

#: Bytes of a log after which the next start puts it aside.
_LONG = 1024 * 1024
_TAIL = 4096
# The shell ends at once: nobody has to wait for what it leaves behind, and no signal of a
# terminal, or of a notebook, reaches it.
_DETACH = '"$@" </dev/null >>"$0" 2>&1 & echo $!'


@dataclass(slots=True)
class Background:
    """A process that was left to itself; ``log`` has all that it says, from byte ``begun`` on."""

    pid: int
    start_time: float
    log: Path
    begun: int = 0
    _ended: float | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls, command: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Background:
        """Start a command in a session of its own; it writes into ``log``, for us alone to read."""
        begun = _prepare(log)
        done = subprocess.run(
            ["/bin/sh", "-c", _DETACH, str(log), *command],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=cwd,
            env=_environment(env or {}),
            text=True,
            check=False,
        )
        if not done.stdout.strip().isdecimal():
            raise RegistryError(f"{command[0]} cannot be started")
        pid = int(done.stdout)
        return cls(pid, process_start_time(pid) or 0.0, log, begun)

    @property
    def is_running(self) -> bool:
        """Whether it is still there."""
        running = is_running(self.pid, self.start_time)
        if not running and self._ended is None:
            self._ended = time.monotonic()
        return running

    def ended(self) -> float:
        """When it was first seen to be gone, as `time.monotonic` has it; now, if it is not."""
        return time.monotonic() if self.is_running or self._ended is None else self._ended

    def log_tail(self) -> str:
        """The last lines that it wrote, and where there are more."""
        with self.log.open("rb") as file:
            file.seek(max(self.begun, self.log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "backslashreplace").splitlines()
        return "\n".join([*lines[-10:], f"(more in {self.log})"])


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, but for what says that we are a component: what is left to itself is part of none."""
    env = own_variables_removed(os.environ)
    return {**env, "PALM_INSTANCE": "", **more}


def _prepare(log: Path) -> int:
    """Make the log, and return how much others have written into it."""
    if log.exists() and log.stat().st_size > _LONG:
        log.replace(log.with_suffix(".log.old"))
    os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return log.stat().st_size
