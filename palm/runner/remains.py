"""What is left of a component that was asked to stop, when its first process is gone."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence

from palm.runner.families import Families, kill_all, living
from palm.runtime.processes import Row

__all__ = ["LOOK_EVERY", "Remains"]

#: Seconds between two looks whether it is gone.
LOOK_EVERY = 0.02
#: Seconds after SIGKILL until it is let be: only the system can hold it that long.
_MARGIN = 5.0

_log = logging.getLogger("palm.runner")


class Remains:
    """Processes that a component started and left behind; they have until the end of its grace."""

    def __init__(self, pid: int, identity: str, instance: str, rows: Sequence[Row]) -> None:
        self._pid = pid
        self._identity = identity
        self._instance = instance
        self._rows = list(rows)
        self._killed: float | None = None
        #: The run that it belonged to, and how the first process of it ended.
        self.run = 0
        self.code: int | None = None

    def begin(self, run: int, code: int | None) -> None:
        """Ask what did not get the signal of the group: what had gone its own way."""
        self.run, self.code = run, code
        kill_all([row for row in self._rows if row.group != self._pid], signal.SIGTERM)

    def signal(self, name: str) -> None:
        """Send a signal to all of it."""
        kill_all(self._rows, signal.Signals[name])
        if name == "SIGKILL" and self._killed is None:
            self._killed = time.monotonic()

    def are_gone(self, families: Families) -> bool:
        """Whether nothing is left, what was forked meanwhile included."""
        self._rows = living(self._rows)
        if not self._rows:
            families.look(time.monotonic())
            self._rows = families.of(self._pid, self._identity, self._instance)
        if self._killed is None or not self._rows:
            return not self._rows
        kill_all(self._rows, signal.SIGKILL)
        if time.monotonic() - self._killed < _MARGIN:
            return False
        pids = ", ".join(str(row.pid) for row in self._rows)
        _log.error("%s leaves processes that even SIGKILL does not end: %s", self._instance, pids)
        return True
