"""Who can be held: a connection takes a descriptor, and of these a process has so many.

At its limit of open files libzmq (4.3.5) does one of two things with the next connection: its
listener for tcp tries to take it again and again, with a whole core, and its listener for ipc
aborts the process. So the highest descriptors are kept free. A system gives a connection the lowest
one that is free; who gets one of those is told that there is no room, and leaves or is cut off. As
long as there is such a peer, no other can come by ipc: the path is not there.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import Final

__all__ = ["Gate", "Overflow", "backlog", "cut", "kept", "limit", "raise_limit"]

#: Connections that libzmq takes, at most, before it is seen: then its thread waits until the events
#: of a socket's monitor, 1001 by default, are read.
UNSEEN: Final = 1001

#: Most connections by ipc that wait to be taken.
BACKLOG: Final = 256

#: Descriptors that are kept free: a part of what the process may have, and at most as many as leave
#: some to files when all that comes unseen takes one: then the gate is closed, and what waits at
#: it comes in, with as much by tcp.
KEPT_PART: Final = 4
KEPT_MOST: Final = UNSEEN + 2 * BACKLOG + 87

#: Of those kept the part that may be taken by what waits to be taken.
BACKLOG_PART: Final = 4

#: Most descriptors that are asked for, where the hard limit is none: what Linux gives by default.
MOST: Final = 1 << 20

#: Seconds that who was told that there is no room has to leave.
LEAVE_WITHIN: Final = 1.0


def raise_limit() -> None:
    """Let this process have as many descriptors as it may.

    For a process that holds many peers and runs no functions of users: the soft limit is there for
    programs that call select(), which cannot take a descriptor above 1023, and is inherited.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # a system that has a lower one of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def limit() -> int:
    """Return how many descriptors this process can have; it may change while it runs."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if soft == resource.RLIM_INFINITY else soft


def kept() -> int:
    """Return how many of them are kept free."""
    return min(limit() // KEPT_PART, KEPT_MOST)


def backlog() -> int:
    """Return how many connections by ipc may wait to be taken."""
    return max(1, min(kept() // BACKLOG_PART, BACKLOG))


class Overflow:
    """The connections of a listener that it has no room for, by their descriptors."""

    def __init__(self) -> None:
        self._first_kept = 0
        self._cut_at: dict[int, float] = {}
        self._told: dict[int, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._cut_at)

    def has(self, fd: int) -> bool:
        """Whether there is no room for a connection that comes with this descriptor."""
        if fd >= self._first_kept:  # seldom, and the limit may have been raised since
            self._first_kept = limit() - kept()
        return fd >= self._first_kept

    def opened(self, fd: int, now: float) -> None:
        """Note a new connection."""
        if self.has(fd):
            self._cut_at[fd] = now + LEAVE_WITHIN

    def closed(self, fd: int) -> None:
        """Note the end of a connection."""
        self._cut_at.pop(fd, None)
        self._told.pop(fd, None)

    def tell(self, fd: int, peer: bytes) -> bool:
        """Return whether the peer of a connection is still to be told, once."""
        first = self._told.get(fd) != peer
        self._told[fd] = peer
        return first

    def patience(self, now: float) -> float | None:
        """Return the seconds until somebody is to be cut off; None: nobody is here."""
        return max(0.0, min(self._cut_at.values()) - now) if self._cut_at else None

    def overdue(self, now: float) -> list[int]:
        """Return those that are to be cut off, now and again until they are closed."""
        due = [fd for fd, at in self._cut_at.items() if at <= now]
        self._cut_at |= dict.fromkeys(due, now + LEAVE_WITHIN)
        return due

    @staticmethod
    def reason() -> str:
        """Say why there is no room, and what to do."""
        return (
            f"it may have {limit()} files open, and has no descriptor for another connection "
            "(raise the limit of open files where it is started, `ulimit -Hn`)"
        )


def cut(fd: int) -> None:
    """End a connection whose descriptor is libzmq's, which then sees its end and closes it.

    If it was closed a moment ago the descriptor may be a file's, to which nothing happens.
    """
    import socket  # slow to load, and hardly anybody is cut off

    with contextlib.suppress(OSError):
        connection = socket.socket(fileno=fd)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()


class Gate:
    """The paths of a listener's ipc sockets; when they are not there, nobody can connect.

    What is connected, or waits to be accepted, does not notice. (To unbind would close it all.)
    """

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._open = True

    def add(self, path: Path) -> None:
        """Guard the path of a socket, too."""
        self._paths.append(path)

    def set(self, *, is_open: bool) -> None:
        """Take the paths away, or put them back."""
        if is_open == self._open:
            return
        self._open = is_open
        for path in self._paths:
            with contextlib.suppress(OSError):  # the folder was removed
                os.rename(*((_aside(path), path) if is_open else (path, _aside(path))))

    def remove(self) -> None:
        """Remove the sockets: libzmq leaves them behind, and who was killed left others aside."""
        for path in self._paths:
            path.unlink(missing_ok=True)
            _aside(path).unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.full")
