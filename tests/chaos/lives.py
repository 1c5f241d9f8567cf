"""Which processes there are, by the files in which they say so, and whether two had one name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from palm.runtime.records import is_running

__all__ = ["Life", "Lives", "read_life"]


@dataclass(frozen=True, slots=True)
class Life:
    """One process, as it was noted by itself."""

    name: str
    pid: int
    start_time: float
    identity: str

    @property
    def is_running(self) -> bool:
        """Whether that very process is still there, be it stopped."""
        return is_running(self.pid, self.start_time, self.identity)


def read_life(text: str) -> Life | None:
    """Return what a process wrote of itself; None if it is still at it."""
    if not text.endswith("\n"):
        return None
    name, pid, start_time, identity = text.split()
    return Life(name, int(pid), float(start_time), identity)


class Lives:
    """The processes that write into a folder who they are, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._running: dict[str, list[Life]] = {}
        #: Two processes of one name, at one time; in order, each once.
        self.complaints: dict[str, None] = {}

    def look(self) -> None:
        """See who is new, who has gone, and whether a name has two."""
        for file in set(os.listdir(self._folder)) - self._known:
            life = read_life((self._folder / file).read_text())
            if life is not None:
                self._known.add(file)
                self._running.setdefault(life.name, []).append(life)
        for name, lives in self._running.items():
            running = [life for life in lives if life.is_running]
            # One may end, and the next one begin, between two looks. Whoever is there in both of
            # two rounds was there between them, and so at the same time as the others.
            running = [life for life in running if life.is_running]
            if len(running) > 1:
                pids = ", ".join(str(life.pid) for life in running)
                self.complaints.setdefault(f"{name} has {len(running)} processes at once: {pids}")
            self._running[name] = running

    def now(self, name: str) -> Life | None:
        """The process of a name at the latest look."""
        return next(iter(self._running.get(name, ())), None)

    def now_by_name(self) -> dict[str, int]:
        """The pids by name, at the latest look."""
        return {name: lives[0].pid for name, lives in self._running.items() if lives}
