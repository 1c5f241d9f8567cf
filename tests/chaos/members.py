"""Processes of a cluster that is kept running: they are hit here, and started again by others."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from palm.runner.adoption import RunnerLock
from palm.runner.local import node_name
from palm.runner.registry import read_registry
from palm.runtime.folders import Folders
from palm.runtime.records import last_record
from tests.chaos.lives import Lives
from tests.chaos.tormentor import Victim

__all__ = ["Member", "Members", "Seen"]

#: Seconds between two looks.
_LOOK_EVERY = 0.02


class Seen(NamedTuple):
    """The process that has a place now, and whether it does what it is there for."""

    pid: int
    is_ready: bool


class Member:
    """The place of one process; a `Victim`. ``find`` says who has it now, if anybody has."""

    def __init__(self, role: str, name: str, find: Callable[[], Seen | None]) -> None:
        self.role = role
        self.name = name
        self.pid = 0
        self.born = 0.0
        #: Seconds from each end that was made until another process was ready.
        self.recoveries: list[float] = []
        self._find = find
        self._ready = False
        self._hit: tuple[int, float] | None = None

    def look(self) -> None:
        """See who has the place, and whether it is as before the latest hit again."""
        seen, now = self._find(), time.monotonic()
        if seen is not None and seen.pid != self.pid:
            self.pid, self.born = seen.pid, now
        self._ready = seen is not None and seen.is_ready
        if self._hit is not None and self._ready and self.pid != self._hit[0]:
            self.recoveries.append(now - self._hit[1])
            self._hit = None

    @property
    def is_there(self) -> bool:
        """Whether it runs, or is stopped."""
        seen = self._find()
        return seen is not None and seen.pid == self.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM) and self._hit is None:
            self._hit = self.pid, time.monotonic()


class Members:
    """All places of a cluster whose processes others start: a master, workers, runner, registry."""

    def __init__(self, folders: Folders, lives: Lives, components: dict[str, str]) -> None:
        self.lives = lives
        self._folders = folders
        self._lock = RunnerLock(folders, node_name())
        self._next_look = 0.0
        self.all = [
            Member("registry", "registry", self._registry),
            Member("runner", "runner", self._runner),
            *(self._component(role, name) for name, role in components.items()),
        ]

    def found(self, role: str) -> Sequence[Victim]:
        """Those of a role."""
        return [member for member in self.all if member.role == role]

    def look(self) -> None:
        """See how all are, if the latest look is some time ago."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            self.lives.look()
            for member in self.all:
                member.look()

    def recoveries(self) -> dict[str, list[float]]:
        """Milliseconds from each end until another process was ready, by role."""
        found: dict[str, list[float]] = {}
        for member in self.all:
            found.setdefault(member.role, []).extend(1000 * each for each in member.recoveries)
        return found

    def _registry(self) -> Seen | None:
        record = read_registry(self._folders)  # it writes that when it listens
        return None if record is None or not record.is_running else Seen(record.pid, True)

    def _runner(self) -> Seen | None:
        pid = self._lock.holder()
        return None if pid is None else Seen(pid, True)

    def _component(self, role: str, name: str) -> Member:
        def find() -> Seen | None:
            life = self.lives.now(name)
            if life is None or not life.is_running:
                return None
            record = last_record(self._folders, name)
            return Seen(life.pid, record is not None and record.pid == life.pid)

        return Member(role, name, find)
