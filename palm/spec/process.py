"""What is to run as one process, what is known of it, and the error of a start that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from palm.errors import ConfigError, PalmError
from palm.spec.limits import Limits
from palm.spec.names import check_name
from palm.spec.spool import QUOTA, SpoolPolicy

__all__ = [
    "OVER",
    "RESTART_POLICIES",
    "ProcessSpec",
    "ProcessState",
    "Restart",
    "StartFailed",
    "State",
]

Restart = Literal["never", "on-failure", "always"]
RESTART_POLICIES: tuple[Restart, ...] = ("never", "on-failure", "always")

State = Literal["starting", "ready", "backing-off", "stopping", "stopped", "failed"]
#: Of a process that is gone and will not come back by itself.
OVER: tuple[State, ...] = ("stopped", "failed")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process that a supervisor keeps running.

    ``env`` is added to the environment of the supervisor; ``cwd`` is the supervisor's if empty.
    ``grace`` and ``ready_timeout`` are seconds. ``restart`` says when an exit that nobody asked
    for is followed by another start: "on-failure" means an exit code other than 0 or a signal.
    Unless it is "never", one that was ready and ends with `palm.spec.exits.START_AGAIN` is
    started at once. ``ready`` says how it is known to be ready: "palm" (it says so itself),
    "tcp:PORT", "http:URL", "log:RE" or "delay:SECONDS".

    Of a component with replicas, ``component`` and ``replica`` say which one this is, and
    ``generation`` which version of it. ``kernel_file`` is where a kernel can be connected to.
    ``sockets`` are the tcp addresses in its arguments, by the names of the sockets. ``limits`` say
    what it may use. ``needs`` names components that it works with, and that are to outlive it.
    ``spool`` says what happens when more than ``spool_quota`` bytes of its output wait for a
    registry.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    role: str = ""
    restart: Restart = "on-failure"
    grace: float = 5.0
    ready_timeout: float = 30.0
    ready: str = "palm"
    component: str = ""
    replica: int = 0
    generation: int = 0
    kernel_file: str = ""
    sockets: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    needs: tuple[str, ...] = ()
    spool: SpoolPolicy = "block"
    spool_quota: int | None = QUOTA

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.argv:
            raise ConfigError(f"there is no command to start {self.name!r} with", key="argv")
        if self.restart not in RESTART_POLICIES:
            policies = ", ".join(RESTART_POLICIES)
            raise ConfigError(f"no such restart policy: {self.restart!r}", key="restart",
                              hint=f"one of {policies}")  # fmt: skip
        for key in ("grace", "ready_timeout"):
            if not getattr(self, key) >= 0:
                raise ConfigError("a time in seconds cannot be negative", key=key)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What a supervisor knows of one process.

    ``pid`` is None while nothing runs. ``exit`` is that of the latest run that ended: a code,
    or minus the number of a signal. ``reason`` says in words why the state is what it is.
    ``started`` is the time of the latest start in seconds since the epoch, ``spool`` the path
    of the folder with the output of all runs of this ``instance``.
    """

    name: str
    role: str
    state: State
    pid: int | None
    exit: int | None
    restarts: int
    instance: str
    started: float | None
    spool: str
    reason: str = ""


class StartFailed(PalmError):  # noqa: N818 - reads as a sentence, as the other errors do
    """A component did not become ready.

    ``reason`` says why in words, ``stderr`` holds its last error output; ``timed_out`` tells a
    component that was too slow from one that ended.
    """

    def __init__(
        self, name: str, reason: str, stderr: str = "", *, timed_out: bool = False
    ) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason
        self.stderr = stderr
        self.timed_out = timed_out

    def __str__(self) -> str:
        text = f"{self.name} did not become ready: it {self.reason}"
        if not self.stderr.strip():
            return f"{text} and wrote nothing to stderr"
        return f"{text}; its last error output:\n\n{self.stderr.rstrip()}"
