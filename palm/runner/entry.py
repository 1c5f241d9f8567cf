"""One supervised process: its rules, its spool and, while it runs, the process itself."""

from __future__ import annotations

import logging
import random
import time

import msgspec

from palm.runner.process import AdoptedProcess, Process
from palm.runner.readiness import Probe
from palm.runner.spool import Spool, SpoolState
from palm.runner.supervisor import Supervisor
from palm.runtime.processes import Row
from palm.spec.process import OVER, ProcessSpec, ProcessState, StartFailed

__all__ = ["Entry"]

#: Lines of stderr that a failed start shows.
_STDERR_LINES = 20

#: Of the error output of one that has ended, what a status shows.
LAST_LINES = 10
LAST_CHARACTERS = 2000

#: States in which it may be suspended: who is to stop needs its time for that.
_CAN_PAUSE = ("starting", "ready")

_log = logging.getLogger("palm.runner")


class Entry:
    """One supervised process: its rules, its spool and, while it runs, the process."""

    def __init__(self, spec: ProcessSpec, spool: Spool) -> None:
        self.spec = spec
        self.spool = spool
        self.machine = Supervisor(spec, random.random)
        self.run = 0  # the number of the latest run, to which the process belongs
        self.process: Process | AdoptedProcess | None = None
        self.probe: Probe | None = None
        #: All of it, as far as known when it was told to end.
        self.family: list[Row] = []
        self.started: float | None = None
        self.paused = ""  # why it is suspended, "" if it is not
        self._paused_at = 0.0
        self.stderr_start = 0  # where the error output of the latest run begins
        self.saved = spool.read_state() or SpoolState(instance=spool.instance, name=spec.name)

    @property
    def is_over(self) -> bool:
        """Whether it is gone, and will not come back by itself."""
        return self.machine.state in OVER

    @property
    def is_decided(self) -> bool:
        """Whether whoever waits for it to be ready knows enough."""
        machine = self.machine
        return machine.state == "ready" or self.is_over or machine.start_failed

    def state(self) -> ProcessState:
        """What others may know of it."""
        machine = self.machine
        return ProcessState(
            self.spec.name,
            self.spec.role,
            machine.state,
            machine.pid,
            machine.exit,
            machine.restarts,
            self.spool.instance,
            self.started,
            str(self.spool.folder),
            self.paused or machine.reason,
        )

    @property
    def next_deadline(self) -> float | None:
        """When the rules want to know that time went by; who is suspended cannot become ready."""
        if self.paused and self.machine.state == "starting":
            return None
        return self.machine.next_deadline

    def pause(self, reason: str, now: float) -> bool:
        """Note that it is suspended; say whether that is news, and possible."""
        if self.paused or self.machine.pid is None or self.machine.state not in _CAN_PAUSE:
            return False
        self.paused, self._paused_at = reason, now
        return True

    def resume(self, now: float) -> bool:
        """Note that it goes on; say whether that is news. It has as long as before to be ready."""
        if not self.paused:
            return False
        if self.machine.state == "starting" and self.machine.next_deadline is not None:
            self.machine.next_deadline += now - self._paused_at
        self.paused = ""
        return True

    def save(self) -> None:
        """Write what is known into the spool, for other processes to read."""
        self.saved.state, self.saved.reason = self.machine.state, self.machine.reason
        self.saved.restarts = self.machine.restarts
        try:
            self.spool.write_state(self.saved)
        except OSError as error:  # a full disk must not end the supervision
            _log.warning("cannot write the state of %s: %s", self.spec.name, error)

    def note_start(self, process: Process) -> None:
        """Note that a run has begun."""
        self.process, self.started, self.paused = process, process.started, ""
        self.saved = msgspec.structs.replace(self.saved, **process.facts(), exit=None, ended=0.0)

    def note_exit(self, code: int | None) -> None:
        """Note that a run is over."""
        self.process, self.paused = None, ""
        self.stop_probe()
        self.saved.exit, self.saved.ended = code, time.time()

    def stop_probe(self) -> None:
        """Look no more whether it is ready."""
        if self.probe is not None:
            self.probe.stop()
            self.probe = None

    def failure(self) -> StartFailed:
        """Why it is not ready."""
        stderr = self.spool.tail("stderr", _STDERR_LINES, since=self.stderr_start)
        machine = self.machine
        return StartFailed(self.spec.name, machine.reason, stderr, timed_out=machine.timed_out)

    def last_lines(self) -> str:
        """The last of the error output of the latest run, a little of it."""
        text = self.spool.tail("stderr", LAST_LINES, since=self.stderr_start)
        return text[-LAST_CHARACTERS:]

    def too_slow(self, limit: float) -> StartFailed:
        """The error of one that is still not ready after so many seconds."""
        error = self.failure()
        reason = f"was not ready within {limit:g} s"
        return StartFailed(error.name, reason, error.stderr, timed_out=True)
