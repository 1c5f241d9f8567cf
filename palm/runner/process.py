"""One real process: made in a session of its own, and tied to us by two pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Protocol, TypeVar

from palm.runner.forking import Forked, ForkServer
from palm.runner.limiting import limited
from palm.runner.spool import Spool, SpoolState
from palm.runtime.lifeline import READY_VARIABLE, TIE_VARIABLE
from palm.runtime.processes import let_go_on
from palm.runtime.records import is_running, process_identity, process_start_time
from palm.spec.process import ProcessSpec

__all__ = [
    "AdoptedProcess",
    "Process",
    "Watchable",
    "component_environment",
    "own_variables_removed",
    "signal_name",
    "spawn",
]

#: Never handed on: ours alone, or a tie of ipykernel to the notebook's kernel that would end a
#: component (and that palm replaces by a tie of its own).
_PRIVATE = (
    "JPY_PARENT_PID",
    "PALM_BIND",
    "PALM_COMPONENT",
    "PALM_INSTANCE",
    "PALM_KEY_FILE",
    "PALM_REPLICA",
    READY_VARIABLE,
    TIE_VARIABLE,
)

_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def component_environment(
    base: Mapping[str, str], spec: ProcessSpec, instance: str
) -> dict[str, str]:
    """The environment of a component: ``base``, what the spec adds, and what palm says of it."""
    env = own_variables_removed(base)
    if "PALM_COMPONENT" in base:  # we are a component ourselves: our master is not the child's
        env.pop("PALM_MASTER", None)
    env |= {"PALM_COMPONENT": spec.name, "PALM_REPLICA": str(spec.replica)}
    env["PYTHONUNBUFFERED"] = "1"
    env |= {key: value for key, value in spec.env.items() if key != "JPY_PARENT_PID"}
    env["PALM_INSTANCE"] = instance
    return env


def own_variables_removed(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without what makes one process that very component."""
    return {key: value for key, value in env.items() if key not in _PRIVATE}


_Exit = TypeVar("_Exit", covariant=True)


class Watchable(Protocol[_Exit]):
    """A process whose end, and whose being ready before it, can be waited for."""

    pid: int
    ready: int | None

    def read_ready(self) -> bytes | None:
        """What it wrote into its ready pipe; empty at its end, None if nothing is new."""

    def close_ready(self) -> None:
        """Stop listening for readiness."""

    def has_ended(self) -> bool:
        """Whether it is gone."""

    def reap(self) -> _Exit:
        """How it ended, once it is gone."""

    def close(self) -> None:
        """Let go of all that connects us with it."""


class Process:
    """A child that we started. Not thread-safe: one thread owns it."""

    def __init__(
        self, popen: subprocess.Popen[bytes] | Forked, ready: int, tie: int | None
    ) -> None:
        self.pid = popen.pid
        self.started = time.time()
        self.start_time = process_start_time(popen.pid) or self.started
        self.identity = process_identity(popen.pid)
        #: Our end of the ready pipe, non-blocking; None once it is closed.
        self.ready: int | None = ready
        self._tie = tie
        self._popen = popen

    def facts(self) -> dict[str, Any]:
        """What tells this process from every other, as fields of `SpoolState`."""
        return {
            "pid": self.pid,
            "start_time": self.start_time,
            "identity": self.identity,
            "started": self.started,
        }

    def release(self) -> None:
        """Let an untied child live on without us."""
        self.close()
        self._popen.returncode = 0  # we do not answer for it any more

    def signal(self, name: str) -> None:
        """Send a signal to the whole group of a child that was not reaped yet."""
        # Its pid, and so the number of its group, cannot be in use again before that.
        if self._popen.returncode is None:
            _signal_group(self.pid, name)

    def has_ended(self) -> bool:
        """Whether the child is gone, reaped or not."""
        if self._popen.returncode is not None:
            return True
        try:
            # It stays a zombie, so its pid and its group stay ours.
            return os.waitid(os.P_PID, self.pid, _LOOK) is not None
        except ChildProcessError:  # someone else waited for it
            self._popen.wait()
            return True

    def reap(self) -> int:
        """Wait for the end; the exit code, or minus the number of a signal."""
        code = self._popen.wait()
        self.close()
        return code

    def read_ready(self) -> bytes | None:
        """What the child wrote into its ready pipe; empty at its end, None if nothing is new."""
        if self.ready is None:
            return None
        try:
            return os.read(self.ready, 64)
        except BlockingIOError:
            return None

    def close_ready(self) -> None:
        """Stop listening for readiness."""
        if self.ready is not None:
            os.close(self.ready)
            self.ready = None

    def close(self) -> None:
        """Close our ends of the pipes; a child that still runs takes us for dead and ends."""
        self.close_ready()
        if self._tie is not None:
            os.close(self._tie)
            self._tie = None


class AdoptedProcess:
    """A process that somebody else started, who is gone: it runs, and is not our child.

    What it ends with cannot be known. Not thread-safe: one thread owns it.
    """

    def __init__(self, state: SpoolState) -> None:
        self.pid = state.pid
        self.started = state.started
        self.identity = state.identity
        #: Its ready pipe went with the one who started it.
        self.ready: int | None = None
        self._state = state

    def facts(self) -> dict[str, Any]:
        """What tells this process from every other, as fields of `SpoolState`."""
        state = self._state
        return {
            "pid": state.pid,
            "start_time": state.start_time,
            "identity": state.identity,
            "started": state.started,
        }

    def release(self) -> None:
        """Let it live on without us."""

    def signal(self, name: str) -> None:
        """Send a signal to the whole group, if the process is still there."""
        # As long as its leader runs, the group's number means that group.
        if not self.has_ended():
            _signal_group(self.pid, name)

    def has_ended(self) -> bool:
        """Whether that very process is gone."""
        return not is_running(self.pid, self._state.start_time, self._state.identity)

    def reap(self) -> None:
        """Do nothing: whose child it is by now has seen to it."""

    def read_ready(self) -> bytes | None:
        """Nothing."""
        return None

    def close_ready(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: nothing connects us with it."""


def _signal_group(group: int, name: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if name == "SIGTERM":
            let_go_on(group, lambda: os.killpg(group, signal.SIGCONT))
        os.killpg(group, signal.Signals[name])


def spawn(
    spec: ProcessSpec,
    spool: Spool,
    *,
    tied: bool = True,
    base: Mapping[str, str] | None = None,
    forks: ForkServer | None = None,
) -> Process:
    """Start the process of a spec with its output in the spool.

    Parameters
    ----------
    tied
        Whether it ends when we are gone.
    base
        The environment it starts from, ours if not given.
    forks
        What forks it, if it can: that is faster, and the same otherwise.

    Raises
    ------
    OSError
        There is no such program, no such folder, ...
    """
    env = component_environment(os.environ if base is None else base, spec, spool.instance)
    with ExitStack() as ours, ExitStack() as theirs:
        ready, ready_child = _pipe(ours, theirs)
        pipes, tie = {READY_VARIABLE: ready_child}, None
        if tied:
            pipes[TIE_VARIABLE], tie = _pipe(theirs, ours)
        stdout = _owned(theirs, spool.open("stdout"))
        stderr = _owned(theirs, spool.open("stderr"))
        argv = limited(spec.argv, spec.limits, env, spec.cwd)
        popen: subprocess.Popen[bytes] | Forked | None = None
        if forks is not None:
            popen = forks.fork(argv, env, spec.cwd, (stdout, stderr), pipes)
        if popen is None:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=env | {name: str(fd) for name, fd in pipes.items()},
                cwd=spec.cwd or None,
                pass_fds=list(pipes.values()),
                start_new_session=True,
            )
        ours.pop_all()
    os.set_blocking(ready, False)
    return Process(popen, ready, tie)


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """The two ends of a new pipe, each closed by its stack; neither survives an exec."""
    read, write = os.pipe()
    return _owned(reader, read), _owned(writer, write)


def _owned(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def signal_name(code: int) -> str:
    """The name of the signal in an exit code, or "" if it is none."""
    try:
        return signal.Signals(-code).name if code < 0 else ""
    except ValueError:
        return f"signal {-code}"
