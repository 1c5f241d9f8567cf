"""The rules by which one process is kept running. Pure: time and chance are arguments.

``handle(event, now)`` is the only way to change the machine and returns what is to be done;
``next_deadline`` says when it wants a `Tick`. Each start is a *run* with a number of its own;
what is reported of an earlier run is ignored, except that a process nobody wants is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palm.spec.exits import START_AGAIN
from palm.spec.process import ProcessSpec, State

__all__ = [
    "Effect",
    "Event",
    "Exited",
    "LimitExceeded",
    "Ready",
    "Signal",
    "Spawn",
    "SpawnFailed",
    "Spawned",
    "StartRequested",
    "StopRequested",
    "Supervisor",
    "Tick",
    "describe_exit",
]

#: Seconds before the first restart; each further one in a row waits twice as long.
BACKOFF_FIRST = 0.5
#: Seconds that a restart waits at most: a repaired component is back soon.
BACKOFF_LIMIT = 10.0
#: Part of a delay, either way, by which chance moves it, so that replicas do not restart at once.
JITTER = 0.25
#: Starts in a row that did not become ready before giving up: it will not help.
MAX_FAILED_STARTS = 5
#: Ends in a row after having been ready before giving up. Higher, as each message of a job may
#: have ended one of them while the others got through.
MAX_FAILURES = 30
#: Seconds to end in for one that uses more than it may, if its grace is longer: it may go on.
LIMIT_GRACE = 1.0
#: Seconds of being ready after which earlier failures are forgotten.
STABLE_AFTER = 10.0


# Events


@dataclass(slots=True)
class StartRequested:
    """Someone wants the process to run."""


@dataclass(slots=True)
class StopRequested:
    """Someone wants the process to end, within ``grace`` seconds (of the spec, if None)."""

    grace: float | None = None


@dataclass(slots=True)
class Spawned:
    """The process of this run exists."""

    run: int
    pid: int


@dataclass(slots=True)
class SpawnFailed:
    """The process of this run could not be made."""

    run: int
    reason: str


@dataclass(slots=True)
class Ready:
    """The process of this run says that it is ready."""

    run: int


@dataclass(slots=True)
class Exited:
    """The process of this run is gone; ``signal`` is the name of the signal that ended it.

    ``code`` is None if nobody could see how it ended: it was not a child of ours.
    """

    run: int
    code: int | None
    signal: str = ""


@dataclass(slots=True)
class LimitExceeded:
    """The process of this run uses more than it may; ``reason`` continues "it"."""

    run: int
    reason: str


@dataclass(slots=True)
class Tick:
    """Time went by."""


Event = (
    StartRequested | StopRequested | Spawned | SpawnFailed | Ready | Exited | LimitExceeded | Tick
)


# Effects


@dataclass(slots=True)
class Spawn:
    """Start a process and answer with `Spawned` or `SpawnFailed` of this run."""

    run: int


@dataclass(slots=True)
class Signal:
    """Send the signal of this name to the process group of this run."""

    run: int
    signal: str


Effect = Spawn | Signal

_SIGNALS = {
    "SIGABRT": "aborted",
    "SIGBUS": "bus error",
    "SIGFPE": "arithmetic error",
    "SIGILL": "illegal instruction",
    "SIGKILL": "by hand, or for lack of memory",
    "SIGSEGV": "segmentation fault",
    "SIGXCPU": "it used up the processor time of its limits",
    "SIGXFSZ": "it wrote a larger file than its limits allow",
}


def describe_exit(code: int | None, signal: str = "") -> str:
    """Why a process is gone, in words that continue "it"."""
    if code is None:
        return "ended, and its exit code is not known"
    if code == START_AGAIN:
        return "ended, to be started again"
    if not signal:
        return f"ended with exit code {code}"
    verb = "was ended by" if signal in ("SIGTERM", "SIGINT", "SIGHUP") else "was killed by"
    meaning = _SIGNALS.get(signal)
    return f"{verb} {signal} ({meaning})" if meaning else f"{verb} {signal}"


class Supervisor:
    """Rules for one process; ``random`` gives numbers from 0 to 1."""

    def __init__(self, spec: ProcessSpec, random: Callable[[], float]) -> None:
        self.spec = spec
        self.state: State = "stopped"
        self.reason = ""
        self.pid: int | None = None
        self.exit: int | None = None
        self.restarts = 0
        self.run = 0
        self.next_deadline: float | None = None
        #: True once an attempt to start failed and none succeeded before.
        self.start_failed = False
        self._random = random
        self._ready_at: float | None = None
        self._ever_ready = False
        self._failed_starts = 0
        self._failures = 0
        self._wanted = False  # what to do when a process that is being stopped is gone
        self._blame = ""  # why a process is being stopped, if not on request
        self._forced = False
        self._too_late = False

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in one event; every event is valid in every state."""
        run = getattr(event, "run", self.run)
        if run != self.run:
            return [Signal(run, "SIGKILL")] if isinstance(event, Spawned) else []
        return _TABLE[self.state][type(event)](self, event, now)

    def adopt(self, state: State, pid: int | None, now: float, **known: Any) -> None:
        """Go on, as run 1, where another supervisor of the same process left off.

        ``known`` may hold ``reason``, ``exit``, ``restarts`` and ``asked``, whether someone asked
        it to stop. A process that is gone by now is still to be told by `Exited`.
        """
        self.run, self.pid = 1, pid
        self.exit, self.restarts = known.get("exit"), known.get("restarts", 0)
        waits = {"starting": self.spec.ready_timeout, "stopping": self.spec.grace}
        deadline = now + waits.get(state, 0.0)
        over = state in ("ready", "stopped", "failed")
        self._enter(state, known.get("reason", ""), None if over else deadline)
        self._wanted = state == "starting" or (state == "stopping" and not known.get("asked"))
        self._ever_ready = state == "ready"
        self._ready_at = now if state == "ready" else None

    @property
    def timed_out(self) -> bool:
        """Whether the latest run was not ready in time."""
        return self._too_late

    # One method per rule; the table below says which holds where.

    def _nothing(self, event: Event, now: float) -> list[Effect]:
        return []

    def _start(self, event: Event, now: float) -> list[Effect]:
        self._failures = self._failed_starts = self.restarts = 0
        self.start_failed = self._ever_ready = False
        self.exit = None
        return self._spawn(now)

    def _spawn(self, now: float) -> list[Effect]:
        self.run += 1
        self._enter("starting", "", now + self.spec.ready_timeout)
        self.pid = self._ready_at = None
        self._wanted, self._blame, self._forced, self._too_late = True, "", False, False
        return [Spawn(self.run)]

    def _spawned(self, event: Spawned, now: float) -> list[Effect]:
        self.pid = event.pid
        return []

    def _spawned_too_late(self, event: Spawned, now: float) -> list[Effect]:
        self.pid = event.pid
        return [Signal(self.run, "SIGKILL" if self._forced else "SIGTERM")]

    def _unwanted(self, event: Spawned, now: float) -> list[Effect]:
        return [Signal(event.run, "SIGKILL")]

    def _spawn_failed(self, event: SpawnFailed, now: float) -> list[Effect]:
        self.pid = None
        self._attempt_failed()
        return self._again_or_give_up(event.reason, now, failed=True)

    def _ready(self, event: Ready, now: float) -> list[Effect]:
        self._enter("ready", "", None)
        self._ready_at = now
        self._ever_ready = True
        self._failed_starts = 0
        return []

    def _exited(self, event: Exited, now: float) -> list[Effect]:
        if event.code == START_AGAIN and self._ready_at is not None:
            return self._wants_another_life(event, now)
        return self._ended(event, describe_exit(event.code, event.signal), now)

    def _ended(self, event: Exited, reason: str, now: float) -> list[Effect]:
        """A run that nobody asked to stop is over."""
        self.pid, self.exit = None, event.code
        if self._ready_at is None:
            self._attempt_failed()
            reason += "" if self._blame else " before it was ready"
        elif now - self._ready_at >= STABLE_AFTER:
            self._failures = 0
        return self._again_or_give_up(reason, now, failed=event.code != 0 or bool(self._blame))

    def _wants_another_life(self, event: Exited, now: float) -> list[Effect]:
        """A run that was well is over: no failure, and nothing to wait for."""
        self.pid, self.exit = None, event.code
        self._failures = 0
        if self.spec.restart == "never":
            self._enter("stopped", describe_exit(event.code), None)
            return []
        self.restarts += 1
        return self._spawn(now)

    def _attempt_failed(self) -> None:
        self._failed_starts += 1
        self.start_failed = not self._ever_ready

    def _again_or_give_up(self, reason: str, now: float, *, failed: bool) -> list[Effect]:
        policy = self.spec.restart
        if policy == "never" or (policy == "on-failure" and not failed):
            self._enter("failed" if failed else "stopped", reason, None)
            return []
        self._failures += 1
        if self._failed_starts >= MAX_FAILED_STARTS or self._failures >= MAX_FAILURES:
            self._enter("failed", f"{reason}, {self._failures} times in a row", None)
            return []
        self._enter("backing-off", reason, now + self._delay())
        return []

    def _delay(self) -> float:
        delay = min(BACKOFF_LIMIT, BACKOFF_FIRST * 2.0 ** (self._failures - 1))
        return delay * (1.0 + JITTER * (2.0 * self._random() - 1.0))

    def _stop(self, event: StopRequested, now: float) -> list[Effect]:
        return self._end(event, now, wanted=False)

    def _end(self, event: StopRequested, now: float, *, wanted: bool) -> list[Effect]:
        self._wanted = wanted
        reason = f"{self._blame}, is being stopped" if self._blame else "is being stopped"
        self._enter("stopping", reason, now + self._grace(event))
        return [Signal(self.run, "SIGTERM")]

    def _stop_sooner(self, event: StopRequested, now: float) -> list[Effect]:
        self._wanted = False
        if self.next_deadline is not None:
            self.next_deadline = min(self.next_deadline, now + self._grace(event))
        return []

    def _stop_waiting(self, event: StopRequested, now: float) -> list[Effect]:
        self._enter("stopped", f"{self.reason}; was not started again", None)
        return []

    def _start_after_stop(self, event: StartRequested, now: float) -> list[Effect]:
        self._wanted, self._blame, self._too_late = True, "", False
        return []

    def _stopped(self, event: Exited, now: float) -> list[Effect]:
        if self._wanted and self._blame:
            return self._ended(event, self._blame, now)
        if self._wanted:
            return self._start(event, now)
        self.pid, self.exit = None, event.code
        forced = "was killed, as it did not stop within its grace" if self._forced else ""
        self._enter("stopped", forced or "was stopped", None)
        return []

    def _never_spawned(self, event: SpawnFailed, now: float) -> list[Effect]:
        if self._wanted and not self._blame:
            return self._start(event, now)
        self._enter("stopped", event.reason, None)
        return []

    def _too_slow(self, event: Tick, now: float) -> list[Effect]:
        if not self._due(now):
            return []
        self._too_late = True
        return self._end_for(f"was not ready within {self.spec.ready_timeout:g} s", None, now)

    def _beyond(self, event: LimitExceeded, now: float) -> list[Effect]:
        return self._end_for(event.reason, min(self.spec.grace, LIMIT_GRACE), now)

    def _end_for(self, blame: str, grace: float | None, now: float) -> list[Effect]:
        """End a run that nobody asked to stop; what follows is as after an end of its own."""
        self._blame = blame
        self.start_failed = not self._ever_ready
        return self._end(StopRequested(grace), now, wanted=True)

    def _force(self, event: Tick, now: float) -> list[Effect]:
        if not self._due(now):
            return []
        self._forced = True
        self.next_deadline = None
        return [Signal(self.run, "SIGKILL")]

    def _retry(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Tick) and not self._due(now):
            return []
        self.restarts += 1
        return self._spawn(now)

    def _due(self, now: float) -> bool:
        return self.next_deadline is not None and now >= self.next_deadline

    def _grace(self, event: StopRequested) -> float:
        return self.spec.grace if event.grace is None else event.grace

    def _enter(self, state: State, reason: str, deadline: float | None) -> None:
        self.state, self.reason, self.next_deadline = state, reason, deadline


_Rule = Callable[..., list[Effect]]
_M = Supervisor
_TABLE: dict[State, dict[type[Event], _Rule]] = {
    "starting": {
        StartRequested: _M._nothing,
        StopRequested: _M._stop,
        Spawned: _M._spawned,
        SpawnFailed: _M._spawn_failed,
        Ready: _M._ready,
        Exited: _M._exited,
        LimitExceeded: _M._beyond,
        Tick: _M._too_slow,
    },
    "ready": {
        StartRequested: _M._nothing,
        StopRequested: _M._stop,
        Spawned: _M._spawned,
        SpawnFailed: _M._nothing,
        Ready: _M._nothing,
        Exited: _M._exited,
        LimitExceeded: _M._beyond,
        Tick: _M._nothing,
    },
    "backing-off": {
        StartRequested: _M._retry,
        StopRequested: _M._stop_waiting,
        Spawned: _M._unwanted,
        SpawnFailed: _M._nothing,
        Ready: _M._nothing,
        Exited: _M._nothing,
        LimitExceeded: _M._nothing,
        Tick: _M._retry,
    },
    "stopping": {
        StartRequested: _M._start_after_stop,
        StopRequested: _M._stop_sooner,
        Spawned: _M._spawned_too_late,
        SpawnFailed: _M._never_spawned,
        Ready: _M._nothing,
        Exited: _M._stopped,
        LimitExceeded: _M._nothing,
        Tick: _M._force,
    },
    "stopped": {
        StartRequested: _M._start,
        StopRequested: _M._nothing,
        Spawned: _M._unwanted,
        SpawnFailed: _M._nothing,
        Ready: _M._nothing,
        Exited: _M._nothing,
        LimitExceeded: _M._nothing,
        Tick: _M._nothing,
    },
    "failed": {
        StartRequested: _M._start,
        StopRequested: _M._nothing,
        Spawned: _M._unwanted,
        SpawnFailed: _M._nothing,
        Ready: _M._nothing,
        Exited: _M._nothing,
        LimitExceeded: _M._nothing,
        Tick: _M._nothing,
    },
}
