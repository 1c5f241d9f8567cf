"""Waiting for what processes do: say that they are ready, and end."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from palm.runner.process import Watchable

__all__ = ["Watcher"]

#: Seconds between two looks at a process where the system has no pidfd (macOS).
_POLL = 0.05

_Exit = TypeVar("_Exit")


@dataclass(eq=False, slots=True)
class _Watched:
    process: Watchable[Any]
    on_ready: Callable[[], None]
    on_exit: Callable[[Any], None]
    on_end: Callable[[], None]
    pidfd: int | None


class Watcher:
    """Calls back, within `wait`, what happens to processes. One thread owns it.

    Only `wake` may be called from other threads.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: list[_Watched] = []
        #: When the latest wait was over: what it found to be ended, had ended by then.
        self.woke = time.monotonic()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain)
        _WATCHERS.add(self)

    def add(
        self,
        process: Watchable[_Exit],
        on_ready: Callable[[], None],
        on_exit: Callable[[_Exit], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Watch a process until it has ended; it is reaped before ``on_exit`` gets its code.

        ``on_end`` is called before that, while its number is still its own.
        """
        watched = _Watched(process, on_ready, on_exit, on_end, _open_pidfd(process.pid))
        self._watched.append(watched)
        if process.ready is not None:
            self._register(process.ready, lambda: self._look_at_pipe(watched))
        if watched.pidfd is not None:
            self._register(watched.pidfd, lambda: self._look_at_process(watched))
            # If it is no child, its id may have been another's before we had the descriptor.
            self.woke = time.monotonic()
            self._look_at_process(watched)

    def wake(self) -> None:
        """Make `wait` return now, or the next one at once."""
        with contextlib.suppress(BlockingIOError):  # full of earlier calls: it will return
            os.write(self._wake_write, b"!")

    def wait(self, timeout: float | None) -> None:
        """Wait, at most ``timeout`` seconds, until something happens, and call back."""
        polled = [each for each in self._watched if each.pidfd is None]
        if polled:
            timeout = _POLL if timeout is None else min(timeout, _POLL)
        found = self._selector.select(timeout)
        self.woke = time.monotonic()
        for key, _ in found:
            key.data()
        for watched in polled:
            self.woke = time.monotonic()
            self._look_at_process(watched)

    def close(self) -> None:
        """Release everything; children that are tied take us for dead."""
        _WATCHERS.discard(self)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        for watched in self._watched:
            self._close_pidfd(watched)
            watched.process.close()
        self._watched.clear()

    def _look_at_pipe(self, watched: _Watched) -> None:
        said = watched.process.read_ready()
        if said is None:
            return
        self._stop_listening(watched)
        if b"ready" in said:
            watched.on_ready()

    def _stop_listening(self, watched: _Watched) -> None:
        if watched.process.ready is not None:
            self._selector.unregister(watched.process.ready)
            watched.process.close_ready()

    def _look_at_process(self, watched: _Watched) -> None:
        if not watched.process.has_ended():
            return
        self._look_at_pipe(watched)  # its last word comes before its end
        self._stop_listening(watched)
        if watched.pidfd is not None:
            self._selector.unregister(watched.pidfd)
        self._close_pidfd(watched)
        self._watched.remove(watched)
        watched.on_end()
        watched.on_exit(watched.process.reap())

    def _close_pidfd(self, watched: _Watched) -> None:
        if watched.pidfd is not None:
            os.close(watched.pidfd)
            watched.pidfd = None

    def _register(self, fd: int, callback: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, callback)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _drop_ties(self) -> None:
        for watched in self._watched:
            watched.process.close()


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or a sandbox
        return None


_WATCHERS: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _drop_ties_in_fork() -> None:
    # A forked child has copies of the ties' ends: with them open, the death of its parent would
    # not be seen by the components.
    for watcher in list(_WATCHERS):
        watcher._drop_ties()


os.register_at_fork(after_in_child=_drop_ties_in_fork)
