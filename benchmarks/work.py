"""The functions that everybody runs."""

from __future__ import annotations

import time

PAYLOAD = b"0123456789abcdef"
BIG = bytes(1 << 20)


def stamp(payload: bytes) -> bytes:
    """Return 16 bytes with a short prefix."""
    return b"ok " + payload


def echo(payload: bytes) -> bytes:
    """Return what was sent."""
    return payload


def nap(seconds: float) -> float:
    """Sleep, and return for how long."""
    time.sleep(seconds)
    return seconds
