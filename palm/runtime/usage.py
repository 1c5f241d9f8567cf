"""What processes of this machine use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["Usage", "Used"]


@dataclass(slots=True)
class Used:
    """By one process: percent of a processor since the look before, bytes of memory, and so on.

    ``files`` counts what it has open, sockets and pipes too.
    """

    process: psutil.Process
    cpu: float | None = None
    rss: int | None = None
    threads: int | None = None
    files: int | None = None
    #: When it was looked at, and the seconds of processors that it had used by then.
    time: float = 0.0
    seconds: float = 0.0


class Usage:
    """Of several processes, looked at again and again."""

    def __init__(self) -> None:
        self._found: dict[int, Used] = {}

    def look(self, pids: Iterable[int], now: float) -> None:
        """See what they use now; ``now`` is in seconds."""
        import psutil  # slow to load

        known, self._found = self._found, {}
        for pid in set(pids):
            try:
                used = known.get(pid) or Used(psutil.Process(pid))
                if not used.process.is_running():  # another one has its number
                    used = Used(psutil.Process(pid))
                with used.process.oneshot():
                    times = used.process.cpu_times()
                    used.rss = used.process.memory_info().rss
                    used.threads = used.process.num_threads()
                    used.files = used.process.num_fds()
            except psutil.Error:
                continue
            seconds = times.user + times.system
            if used.time and now > used.time:
                used.cpu = max(100 * (seconds - used.seconds) / (now - used.time), 0.0)
            used.time, used.seconds = now, seconds
            self._found[pid] = used

    def of(self, pid: int | None) -> Used | None:
        """Return what a process used at the last look; None: it was not there."""
        return self._found.get(pid) if pid is not None else None
