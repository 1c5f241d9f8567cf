"""The runner's side of the fork server: asks it for components, and does well without it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from palm.runner.forkable import (
    BOOT,
    CHANGED,
    GO,
    MOST,
    READY,
    REFUSED,
    is_forkable,
    pack,
)

__all__ = ["Forked", "ForkServer"]

#: Seconds that a fork may take; then the component is started in the plain way.
PATIENCE: Final = 0.25
#: Seconds until a server is replaced that ended or hung: the first time, and at most.
RETRY_FIRST: Final = 1.0
RETRY_LIMIT: Final = 60.0

_log = logging.getLogger("palm.runner")


class Forked:
    """A child that the fork server made for us; as `subprocess.Popen` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self) -> int:
        """Wait for the end; the exit code, or minus the number of a signal."""
        if self.returncode is None:
            try:
                _, status = os.waitpid(self.pid, 0)
                self.returncode = os.waitstatus_to_exitcode(status)
            except ChildProcessError:  # someone else waited for it
                self.returncode = 0
        return self.returncode


class ForkServer:
    """A fork server that is there when it is needed, if it can be; safe to use from any thread.

    It is started in the background, and replaced when it ends, hangs or is out of date. No call
    takes longer than `PATIENCE`, beyond what starting a process takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._failures = 0
        self._not_before = 0.0
        self._closed = sys.platform != "linux"

    def start(self) -> None:
        """Start it, if none runs; return at once."""
        with self._lock:
            self._ensure()

    def is_ready(self) -> bool:
        """Whether it forks by now."""
        with self._lock:
            return self._running is not None and self._running.is_ready()

    @property
    def pid(self) -> int | None:
        """The process of the server, None while there is none."""
        running = self._running
        return None if running is None else running.pid

    def fork(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        outputs: tuple[int, int],
        pipes: Mapping[str, int],
    ) -> Forked | None:
        """Have a component forked as a child of ours; None if it must be started.

        ``outputs`` are its stdout and stderr; ``pipes`` descriptors by the variables that name
        them.
        """
        with self._lock:
            server = self._usable(argv, environment)
            if server is None:
                return None
            try:
                folder = folder or os.getcwd()
            except FileNotFoundError:  # it was removed: who starts in it has none either
                return None
            request = pack(argv, environment, folder, list(pipes))
            try:
                found = server.ask(request, [*outputs, *pipes.values()])
            except OSError as error:  # it has ended, or takes no more
                self._replace(f"ended ({error.strerror})")
                return None
            self._note(server)
            return found

    def close(self) -> None:
        """End the server; nothing is forked any more."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.end()
                self._running = None

    # Below: with the lock held.

    def _usable(self, argv: Sequence[str], environment: Mapping[str, str]) -> _Running | None:
        server = self._running
        if server is not None and server.is_ready():
            if server.inherited != _inherited():
                self._replace("has not what this process has by now")
                return None
            suits = is_forkable(argv, environment, sys.executable, server.environment)
            return server if suits else None
        if server is not None and server.refusal:
            _log.info("components are not forked here: %s", server.refusal)
            self._closed = True
            server.end()
            self._running = None
        elif server is not None and server.has_ended():
            self._replace("ended before it was ready")
        self._ensure()
        return None

    def _note(self, server: _Running) -> None:
        if server.is_mute:
            self._replace("did not answer")
        elif server.is_old:
            self._replace("has loaded what has changed")
        elif server.said:
            _log.debug("a component is started, not forked: %s", server.said)
        else:
            self._failures = 0

    def _ensure(self) -> None:
        if self._running is None and not self._closed and time.monotonic() >= self._not_before:
            try:
                self._running = _Running()
            except OSError as error:
                self._back_off()
                _log.warning("the fork server cannot be started: %s", error)

    def _replace(self, why: str) -> None:
        _log.info("the fork server %s; another one is started", why)
        if self._running is not None:
            self._running.end()
            self._running = None
        self._back_off()
        self._ensure()

    def _back_off(self) -> None:
        """The first replacement is at once; later ones wait, unless a fork went well between."""
        if self._failures:
            wait = min(RETRY_FIRST * 2 ** (self._failures - 1), RETRY_LIMIT)
            self._not_before = time.monotonic() + wait
        self._failures += 1


class _Running:
    """One process of the server."""

    def __init__(self) -> None:
        self.inherited = _inherited()
        self.environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self.environment["PYTHONUNBUFFERED"] = "1"  # as components have it
        #: Why it can never fork; "" if it may.
        self.refusal = ""
        #: Of the latest request: why it was refused, whether there was no answer, and whether the
        #: server is out of date.
        self.said = ""
        self.is_mute = self.is_old = False
        self._ready = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=self.environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                self._channel.close()
                raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it can fork."""
        if not self._ready and not self.refusal:
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                said = self._channel.recv(4096)
                self._ready = said == READY
                self.refusal = "" if self._ready else said.decode("utf-8", "replace")
        return self._ready

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def ask(self, request: bytes, fds: Sequence[int]) -> Forked | None:
        """Ask for a component; None if it refuses, or does not answer in time.

        Raises
        ------
        OSError
            It is gone.
        """
        self.said, self.is_mute, self.is_old = "", False, False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                if not self._send(request, [theirs.fileno(), *fds]):
                    self.said = "its environment is too large"
                    return None
            found = _answer(ours, PATIENCE)
            if not found:
                self.is_mute = True
                self.end()  # before anything else is started in its place
                found = _answer(ours, 0.0)
            return self._take(found, ours)

    def _send(self, request: bytes, fds: Sequence[int]) -> bool:
        """Send a request; say whether it has room in one message."""
        if len(request) > MOST:
            return False
        try:
            socket.send_fds(self._channel, [request], fds)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:  # this system sends less at once
                raise
            return False
        return True

    def _take(self, answer: bytes, line: socket.socket) -> Forked | None:
        if answer.isdigit():
            with contextlib.suppress(BrokenPipeError):  # killed already; it is ours all the same
                line.send(GO)
            return Forked(int(answer))
        self.is_old = answer.startswith(CHANGED)
        self.said = answer.removeprefix(REFUSED).decode("utf-8", "replace")
        return None

    def end(self) -> None:
        """End it now, with what it forked that has not become anything."""
        # What was forked leads a session of its own from before it is known to anybody.
        self._channel.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self._process.pid, 0)[0] != self._process.pid:
                    pass
            self._process.wait()


def _command(channel: int) -> list[str]:
    places = [os.path.abspath(place) for place in sys.path]
    return [sys.executable, "-c", BOOT, str(channel), *dict.fromkeys(places)]


def _answer(line: socket.socket, timeout: float) -> bytes:
    """Return what comes; empty if nothing does, or nobody is left to say it."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    if not poll.poll(1000 * timeout):
        return b""
    return line.recv(4096)


def _inherited() -> bytes:
    """Return what a process has of the one that starts it, and can change while both run."""
    with contextlib.ExitStack() as files:
        read = [
            files.enter_context(open(f"/proc/self/{name}", "rb")).read()
            for name in ("limits", "cgroup", "oom_score_adj", "status")
        ]
    kept = (b"Umask", b"Uid", b"Gid", b"Groups", b"Cap", b"NoNewPrivs", b"Seccomp", b"Cpus_allowed")
    status = [line for line in read.pop().splitlines() if line.startswith(kept)]
    nice = b"%d" % os.getpriority(os.PRIO_PROCESS, 0)
    return b"\n".join([*read, *status, nice])
