"""What workers run; each start and end of a message is noted in the journal."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.reliability.journal import Journal

__all__ = ["FUNCTIONS", "HELD"]

#: Seconds that a message keeps the interpreter to itself.
HELD = 10.0

#: Seconds of a message that is to be found under way, and of one of many.
DWELL, PULSE = 0.3, 0.005


@contextmanager
def _noted(payload: bytes) -> Iterator[None]:
    global _journal
    if _journal is None:
        _journal = Journal()
    _journal.note("begun", payload.decode())
    yield
    _journal.note("ended", payload.decode())


_journal: Journal | None = None


def dwell(payload: bytes) -> bytes:
    """Take a while."""
    with _noted(payload):
        time.sleep(DWELL)
    return payload


def pulse(payload: bytes) -> bytes:
    """Take a moment."""
    with _noted(payload):
        time.sleep(PULSE)
    return payload


def hold(payload: bytes) -> bytes:
    """Keep the GIL, as a library in C that does not let go of it."""
    with _noted(payload):
        ctypes.PyDLL(None).usleep(int(HELD * 1e6))  # unlike CDLL, it keeps it
    return payload


def spin(payload: bytes) -> bytes:
    """Be busy in Python."""
    with _noted(payload):
        until = time.monotonic() + HELD
        while time.monotonic() < until:
            sum(range(1000))
    return payload


def grow(payload: bytes) -> bytes:
    """Be busy in C for long at once, over and over, as sorting and pickling are."""
    with _noted(payload):
        until = time.monotonic() + HELD
        while time.monotonic() < until:
            sorted(str(n) for n in range(500_000))
    return payload


def _sleeps(seconds: float) -> Callable[[bytes], bytes]:
    def work(payload: bytes) -> bytes:
        if seconds:
            time.sleep(seconds)
        return payload

    return work


#: Functions that return what they are given, and how long they sleep (seconds). With what a sleep
#: takes by itself the shortest comes to what makes leases of about 64.
WORK = {"none": 0.0, "sixty_four": 10e-6, "sixteen": 230e-6, "one": 5e-3}

FUNCTIONS: dict[str, Callable[[bytes], bytes]] = {
    "dwell": dwell, "pulse": pulse, "hold": hold, "spin": spin, "grow": grow,
    **{name: _sleeps(seconds) for name, seconds in WORK.items()},
}  # fmt: skip
