"""What processes take of the machine."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["MIB", "Memory", "cpu_seconds"]

#: Bytes of a megabyte, in the memory of a process.
MIB = 2**20


class Memory:
    """The growth of a process's memory since this was made, at its largest."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self._most = self._now()

    def look(self) -> None:
        """Take its size into account."""
        self._most = max(self._most, self._now())

    @property
    def growth(self) -> float:
        """MiB."""
        return (self._most - self._before) / MIB

    def _now(self) -> int:
        return int(self._process.memory_info().rss)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process, as exactly as the system tells."""
    paths = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if paths:
        return sum(int(path.read_text().split()[0]) for path in paths) / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
