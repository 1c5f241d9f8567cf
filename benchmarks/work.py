"""The functions that everybody runs, and what they are given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

#: Bytes of a small message.
SMALL = 16

#: Bytes of a large one.
LARGE = 1 << 20

#: What `stamp` puts before its payload.
PREFIX = b"ok "


def stamp(payload: bytes) -> bytes:
    """Return the payload with a short prefix."""
    return PREFIX + payload


def echo(payload: bytes) -> bytes:
    """Return what was sent."""
    return payload


def nap(payload: bytes) -> bytes:
    """Sleep for a millisecond and return what was sent."""
    time.sleep(0.001)
    return payload


def total(row: dict[str, float]) -> dict[str, float]:
    """Return a row of a frame with a column more."""
    return {**row, "total": row["c0"] + row["c9"]}


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "stamp": stamp, "echo": echo, "nap": nap, "total": total,
}  # fmt: skip


def payloads(n: int, size: int = SMALL) -> list[bytes]:
    """Return distinct payloads: of equal ones a pickle holds only the first."""
    filling = b"." * (size - SMALL)
    return [b"%016d" % i + filling for i in range(n)]


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
