"""What the workers of every system run, and the files in which they say what they ran.

A message is ``INPUT``: its job, its index and for how long (microseconds) it takes. A worker
writes a line to a file of its own when it begins a message and another one when it has ended it.
Each line is written at once: what a process wrote before ``kill -9`` is there after it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

__all__ = ["FOLDER", "INPUT", "RESULT", "Log", "answer", "inputs_of", "now", "work"]

#: The variable that names the folder of a run, to all of its processes.
FOLDER: Final = "CHAOS_FOLDER"

#: Job, index, microseconds.
INPUT: Final = struct.Struct("<QII")

#: Job, index, and what `answer` gives for them.
RESULT: Final = struct.Struct("<QIQ")

#: Which part of the messages takes some time, and how long, in microseconds.
SLOW_PART: Final = 0.05
SLOW: Final = (1_000, 50_000)


def now() -> int:
    """Return microseconds of a clock that all processes of the machine share."""
    return time.monotonic_ns() // 1000


def answer(job: int, index: int) -> int:
    """Return what belongs to no other message."""
    mixed = (job * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03) & (1 << 64) - 1
    return mixed ^ mixed >> 29


def inputs_of(job: int, n: int) -> Iterator[bytes]:
    """Yield the messages of a job: many small ones, and some that take 1 to 50 ms."""
    random = Random(job)
    for index in range(n):
        slow = random.random() < SLOW_PART
        yield INPUT.pack(job, index, random.randint(*SLOW) if slow else 0)


class Log:
    """A file that grows by whole lines, and nothing of which is kept back."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, line: str) -> None:
        """Write a line."""
        os.write(self._fd, f"{line}\n".encode())


_logs: dict[int, Log] = {}


def _log() -> Log:
    pid = os.getpid()  # workers may be forked
    if pid not in _logs:
        folder = Path(os.environ[FOLDER]) / "workers"
        _logs[pid] = Log(folder / f"{pid}-{now()}")
    return _logs[pid]


def work(message: bytes) -> bytes:
    """Take the time that a message asks for, and return what belongs to it."""
    job, index, took = INPUT.unpack(message)
    log = _log()
    log.write(f"begin {job} {index} {now()}")
    if took:
        time.sleep(took / 1e6)
    result = RESULT.pack(job, index, answer(job, index))
    log.write(f"end {job} {index} {now()}")
    return result
