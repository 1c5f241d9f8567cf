"""``-d``: a component of its own, that outlives the shell and writes into the spool."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence

import msgspec

from palm.cli.failures import NOT_READY, OK, CommandFailed
from palm.runner.process import Process, signal_name, spawn
from palm.runner.spool import Spool, make_spool
from palm.runner.supervisor import describe_exit
from palm.runner.watch import Watcher
from palm.runtime.folders import Folders
from palm.spec.process import ProcessSpec, StartFailed

__all__ = ["start"]

#: Seconds that a component which was too slow gets to end by itself.
_GRACE = 5.0
_STDERR_LINES = 20


def start(name: str, role: str, command: Sequence[str], arguments: Namespace) -> int:
    """Start ``palm COMMAND``, wait until it is ready, and leave it to itself."""
    folders = Folders.find()
    spec = ProcessSpec(name, (sys.executable, "-m", "palm", *command), role=role)
    spool = make_spool(folders.spool, name, role=role, cluster=folders.cluster)
    try:
        process = spawn(spec, spool, tied=False)
    except OSError as error:
        raise StartFailed(name, f"could not be started: {error}") from error
    start = _Start(process, spool, name)
    try:
        start.wait(arguments.timeout)
    finally:
        start.close()
    _report(name, process.pid, spool.instance, arguments.json)
    return OK


class _Start:
    """The time between the start of a component and its being ready, or not."""

    def __init__(self, process: Process, spool: Spool, name: str) -> None:
        self._process = process
        self._spool = spool
        self._name = name
        self._ready = False
        self._code: int | None = None
        self._watcher = Watcher()
        self._watcher.add(process, self._on_ready, self._on_exit)
        self._save("starting")

    def wait(self, timeout: float) -> None:
        """Return once it is ready; raise if it ends, or is too slow, after ending it."""
        if not self._wait_until(time.monotonic() + timeout):
            self._end()
            reason = f"was not ready within {timeout:g} s"
            raise CommandFailed(str(self._failure(reason)), NOT_READY)
        if self._code is not None:
            reason = describe_exit(self._code, signal_name(self._code))
            raise self._failure(f"{reason} before it was ready")

    def close(self) -> None:
        """Leave a component that is ready to itself, and end one that is not."""
        if self._ready and self._code is None:
            self._save("detached")
            self._process.release()
        elif self._code is None:  # an interrupt
            self._end()
        self._watcher.close()

    def _wait_until(self, deadline: float) -> bool:
        while not self._ready and self._code is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._watcher.wait(left)
        return True

    def _end(self) -> None:
        for signal in ("SIGTERM", "SIGKILL"):
            self._process.signal(signal)
            deadline = time.monotonic() + _GRACE
            while self._code is None and (left := deadline - time.monotonic()) > 0:
                self._watcher.wait(left)

    def _on_ready(self) -> None:
        self._ready = True

    def _on_exit(self, code: int) -> None:
        self._code = code
        self._save("failed")

    def _failure(self, reason: str) -> StartFailed:
        return StartFailed(self._name, reason, self._spool.tail("stderr", _STDERR_LINES))

    def _save(self, state: str) -> None:
        if known := self._spool.read_state():
            changes = {**self._process.facts(), "state": state, "exit": self._code}
            self._spool.write_state(msgspec.structs.replace(known, **changes))


def _report(name: str, pid: int, instance: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"name": name, "pid": pid, "instance": instance}))
    else:
        print(f"{name} is ready (pid {pid}); see palm logs {name}")
