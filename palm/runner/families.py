"""Which processes belong to a component: its own, and all that it started, wherever they went.

A process that made a session of its own and lost its parent, as a daemon does, is known by
``PALM_INSTANCE`` in its environment. One that has another instance there, or an empty one, belongs
to somebody else on purpose, and so does what it starts.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from palm.runtime.processes import (
    Row,
    environment_value,
    kill,
    lives,
    read_processes,
    with_descendants,
)

__all__ = ["Families", "kill_all", "living"]

#: Times that a family is looked for again after it was killed: somebody may just have forked.
_ROUNDS = 5


class Families:
    """Looks at all processes at once, for as many components as there are. One thread owns it."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._rows: dict[int, Row] = {}
        self._marks: dict[int, str | None] = {}

    def look(self, since: float) -> None:
        """See what there is, unless that was done after `since`, of the clock ``monotonic``."""
        if self._begun <= since:
            self._begun = time.monotonic()
            self._rows, self._marks = read_processes(), {}

    def of(self, pid: int, identity: str, instance: str) -> list[Row]:
        """Return the living processes of an instance whose first process is, or was, `pid`.

        `identity` is that of the first process: if its number is another's by now, so are group
        and session.
        """
        rows = self._rows
        first = rows.get(pid)
        ours = first is None or not identity or identity.endswith(f"/{first.start}")
        # Nothing that it started is older than itself.
        since = int(identity.rpartition("/")[2] or 0)
        younger = (each.pid for each in rows.values() if each.start >= since)
        roots = {each for each in younger if self._mark(each) == instance}
        if ours:
            members = ((each.pid, each.group, each.session) for each in rows.values())
            roots |= {each[0] for each in members if pid in each}
        found = self._without_others(with_descendants(rows, roots), instance)
        return [rows[each] for each in found if each in rows and not rows[each].zombie]

    def _without_others(self, found: set[int], instance: str) -> set[int]:
        others = {pid for pid in found if self._mark(pid) not in (None, instance)}
        return found - with_descendants(self._rows, others) if others else found

    def _mark(self, pid: int) -> str | None:
        if pid not in self._marks:
            self._marks[pid] = environment_value(pid, "PALM_INSTANCE")
        return self._marks[pid]

    def end(self, pid: int, identity: str, instance: str, since: float) -> None:
        """Kill all that is left of an instance, what is being forked meanwhile included."""
        for _ in range(_ROUNDS):
            self.look(since)
            left = self.of(pid, identity, instance)
            if not left:
                return
            kill_all(left, signal.SIGKILL)
            since = time.monotonic()


def kill_all(rows: Sequence[Row], number: signal.Signals) -> None:
    """Send a signal to each of these very processes."""
    for row in rows:
        kill(row, number)


def living(rows: Sequence[Row]) -> list[Row]:
    """Those that are still there."""
    return [row for row in rows if lives(row)]
