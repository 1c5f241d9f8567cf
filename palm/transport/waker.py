"""Ends a poll from any thread, or from a signal's handler."""

from __future__ import annotations

import contextlib
import os
import threading

__all__ = ["Waker"]


class Waker:
    """A pipe that ends a poll; it is written to only while somebody polls."""

    def __init__(self) -> None:
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self.write_fd, False)
        self._lock = threading.RLock()  # a signal's handler may wake while its thread does
        self._closed = False
        self._woken = False
        self._armed = False

    def arm(self) -> bool:
        """Prepare for a poll; return whether it need not wait."""
        self._armed = True  # before the look: a wake-up in between is seen by one of the two
        return self._woken

    def disarm(self) -> None:
        """Note that the poll is over; what was woken meanwhile is up to who polled."""
        self._woken = False  # in this order: see `wake`
        self._armed = False

    def wake(self) -> None:
        """End the poll, this one or the next."""
        self._woken = True
        if not self._armed:
            return
        with self._lock, contextlib.suppress(BlockingIOError):  # it is full: the poll will end
            if not self._closed:
                os.write(self.write_fd, b"!")

    def clear(self) -> None:
        """Empty the pipe: a poll was ended by it."""
        with contextlib.suppress(BlockingIOError):  # it is empty
            while len(os.read(self.fd, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close the pipe; to wake is harmless from then on."""
        with self._lock:
            self._closed = True
        os.close(self.fd)
        os.close(self.write_fd)
