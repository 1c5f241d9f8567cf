"""The functions that everybody runs, and what they are given."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

#: Bytes of a small message.
SMALL = 16

#: Bytes of a large one.
LARGE = 1 << 20

#: What `stamp` puts before its payload.
PREFIX = b"ok "


#: How often `echo` and the naps ran in this process.
_runs = 0


def stamp(payload: bytes) -> bytes:
    """Return the payload with a short prefix."""
    return PREFIX + payload


def echo(payload: bytes) -> bytes:
    """Return what was sent."""
    global _runs
    _runs += 1
    return payload


def nap_100us(payload: bytes) -> bytes:
    """Sleep for a tenth of a millisecond and return what was sent."""
    time.sleep(0.0001)
    return echo(payload)


def nap(payload: bytes) -> bytes:
    """Sleep for a millisecond and return what was sent."""
    time.sleep(0.001)
    return echo(payload)


def nap_10ms(payload: bytes) -> bytes:
    """Sleep for ten milliseconds and return what was sent."""
    time.sleep(0.01)
    return echo(payload)


def spend(payload: bytes) -> bytes:
    """Sleep for as many microseconds as the last eight digits say, and return what was sent."""
    time.sleep(int(payload[-8:]) / 1e6)
    return payload


def runs(payload: bytes) -> bytes:
    """Tell how often `echo` and the naps ran in this process: its pid, and the count.

    It takes a millisecond, so that all workers have their share of a few of these.
    """
    time.sleep(0.001)
    return b"%d %d" % (os.getpid(), _runs)


def total(row: dict[str, float]) -> dict[str, float]:
    """Return a row of a frame with a column more."""
    return {**row, "total": row["c0"] + row["c9"]}


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "stamp": stamp, "echo": echo, "nap": nap, "nap_100us": nap_100us, "nap_10ms": nap_10ms,
    "spend": spend, "runs": runs, "total": total,
}  # fmt: skip


def each(function: str, payloads: list[bytes]) -> list[bytes]:
    """Return what a function makes of each of several payloads."""
    return list(map(FUNCTIONS[function], payloads))


def payloads(n: int, size: int = SMALL) -> list[bytes]:
    """Return distinct payloads: of equal ones a pickle holds only the first."""
    filling = b"." * (size - SMALL)
    return [b"%016d" % i + filling for i in range(n)]


def timed_payloads(microseconds: list[int]) -> list[bytes]:
    """Return distinct payloads for `spend`."""
    return [b"%08d%08d" % (at, time) for at, time in enumerate(microseconds)]


def check(function: str, sent: list[bytes], results: list[bytes]) -> None:
    """Raise unless there is exactly one right result for each payload."""
    prefix = PREFIX if function == "stamp" else b""
    differing = {prefix + payload for payload in sent} ^ set(results)
    if differing or len(results) != len(sent):
        raise WrongResultsError(
            f"{function}: {len(results)} results of {len(sent)} messages, "
            f"{len(differing)} of them missing or wrong, such as {_some(differing)}"
        )


class WrongResultsError(Exception):
    """A system lost, repeated or changed results."""


def _some(values: Iterable[bytes]) -> str:
    return ", ".join(sorted(repr(value[:24]) for value in values)[:3]) or "-"
