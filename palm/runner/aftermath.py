"""What processes leave behind: it is ended with them, or soon after."""

from __future__ import annotations

import time
from signal import SIGKILL

from palm.runner.entry import Entry
from palm.runner.families import Families, kill_all, living
from palm.runner.process import AdoptedProcess, Process
from palm.runner.remains import LOOK_EVERY, Remains
from palm.runner.supervisor import Signal

__all__ = ["Aftermath"]


class Aftermath:
    """Knows what belongs to the processes of a supervisor; for its thread alone.

    Times are those of ``time.monotonic``, of the latest look at what there is or later.
    """

    def __init__(self) -> None:
        self._families = Families()
        self._remains: dict[Entry, Remains] = {}

    def signal(self, entry: Entry, effect: Signal, now: float) -> None:
        """Send a signal to a run, or to what is left of it."""
        if entry in self._remains:
            self._remains[entry].signal(effect.signal)
        elif entry.process is not None and entry.run == effect.run:
            self._signal(entry, entry.process, effect.signal, now)

    def bury(self, entry: Entry) -> None:
        """See to what is left of a process that ended while nobody looked."""
        self._families.end(entry.saved.pid, entry.saved.identity, entry.spool.instance, 0.0)

    def begin(self, entry: Entry, process: Process | AdoptedProcess, now: float) -> None:
        """See what a process that has ended leaves behind, while its number is its own."""
        instance = entry.spool.instance
        self._families.look(now)
        left = self._families.of(process.pid, process.identity, instance)
        known = {process.pid, *(row.pid for row in left)}
        left += living([row for row in entry.family if row.pid not in known])
        entry.family = []
        if left and entry.machine.state == "stopping" and entry.machine.next_deadline is not None:
            self._remains[entry] = Remains(process.pid, process.identity, instance, left)
        elif left:
            kill_all(left, SIGKILL)
            self._families.end(process.pid, process.identity, instance, now)

    def holds_up(self, entry: Entry, run: int, code: int | None) -> bool:
        """Whether a run is not over that has exited, since something of it is left."""
        if entry not in self._remains:
            return False
        self._remains[entry].begin(run, code)
        return True

    def next_look(self) -> float | None:
        """When to ask what is over by then, None if nothing is left of any run."""
        return time.monotonic() + LOOK_EVERY if self._remains else None

    def take_over(self) -> list[tuple[Entry, int, int | None]]:
        """Return runs of which nothing is left any more, each with its exit code, once."""
        over = [
            (entry, remains.run, remains.code)
            for entry, remains in self._remains.items()
            if remains.are_gone(self._families)
        ]
        for entry, _, _ in over:
            del self._remains[entry]
        return over

    def _signal(
        self, entry: Entry, process: Process | AdoptedProcess, name: str, now: float
    ) -> None:
        """Send a signal to a process and its group; one that nothing survives, to all of it."""
        instance = entry.spool.instance
        if name in ("SIGTERM", "SIGKILL"):
            # Before it: what it started may lose its parent, by which alone it may be known.
            self._families.look(now)
            entry.family = self._families.of(process.pid, process.identity, instance)
        process.signal(name)
        if name == "SIGKILL":
            kill_all(entry.family, SIGKILL)
            self._families.end(process.pid, process.identity, instance, time.monotonic())
