"""What processes of this machine use, each with all that it started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from palm.runtime.processes import Row, read_processes, trees

__all__ = ["Usage", "Used"]


@dataclass(slots=True)
class Used:
    """By one process and its descendants: percent of a processor since the look before, and so on.

    ``rss`` is in bytes; what two of them share counts twice. ``files`` counts what they have open,
    sockets and pipes too; None: not known.
    """

    #: Tells the process from another one of its number.
    start: int
    cpu: float | None = None
    rss: int | None = None
    threads: int | None = None
    files: int | None = None
    #: When it was looked at, and the seconds of processors that had been used by then.
    time: float = 0.0
    seconds: float = 0.0


class Usage:
    """Of several processes, looked at again and again."""

    def __init__(self) -> None:
        self._found: dict[int, Used] = {}

    def look(self, pids: Iterable[int], now: float) -> None:
        """See what they use now; ``now`` is in seconds."""
        rows, asked = read_processes(), set(pids)
        members = trees(rows, asked)
        known, self._found = self._found, {}
        for pid in asked & rows.keys():
            before = known.get(pid)
            if before is not None and before.start != rows[pid].start:  # another has its number
                before = None
            self._found[pid] = _used(rows, pid, members[pid], before, now)

    def of(self, pid: int | None) -> Used | None:
        """Return what a process used at the last look; None: it was not there."""
        return self._found.get(pid) if pid is not None else None


def _used(
    rows: Mapping[int, Row], pid: int, members: Iterable[int], before: Used | None, now: float
) -> Used:
    found = [rows[member] for member in members]
    used = Used(rows[pid].start, time=now, seconds=sum(row.cpu for row in found))
    used.rss = sum(row.rss for row in found)
    used.threads = sum(row.threads for row in found)
    files = [_open_files(row.pid) for row in found]
    used.files = None if None in files else sum(filter(None, files))
    if before is not None and now > before.time:
        # A descendant that left the tree takes its share along.
        used.cpu = max(100 * (used.seconds - before.seconds) / (now - before.time), 0.0)
    return used


def _open_files(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return 0 if os.path.isdir("/proc/self") else _foreign_open_files(pid)
    except OSError:
        return None


def _foreign_open_files(pid: int) -> int | None:
    import psutil  # only where there is no /proc; slow to load

    try:
        return int(psutil.Process(pid).num_fds())
    except psutil.Error:
        return None
