"""What a cluster looks like at one moment: plain values, safe to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palm.spec.process import ProcessState

if TYPE_CHECKING:
    import pandas

__all__ = ["ComponentStatus", "ProcessStatus", "Status", "joint_state"]

_COLUMNS = [
    "component",
    "role",
    "state",
    "pid",
    "restarts",
    "started",
    "functions",
    "reason",
    "own",
]

#: States of processes, the one that needs attention most first.
_ATTENTION = ("failed", "backing-off", "starting", "stopping", "stopped", "ready")


def joint_state(states: Sequence[str]) -> str:
    """The state of a component: that of the process which needs attention most."""
    return min(states, key=_ATTENTION.index, default="stopped")


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. ``started`` is in seconds since the epoch; ``reason`` continues "it"."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    started: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, state: ProcessState) -> ProcessStatus:
        """What a supervisor knows, as far as it is worth showing."""
        running = state.pid is not None
        return cls(
            name=state.name,
            state=state.state,
            pid=state.pid,
            restarts=state.restarts,
            started=state.started if running else None,
            reason=state.reason,
        )


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component. ``own`` tells those started here from those found in the run folder."""

    name: str
    role: str
    desired: int
    processes: tuple[ProcessStatus, ...] = ()
    functions: tuple[str, ...] = ()
    master: str = ""
    own: bool = True

    @property
    def state(self) -> str:
        """The joint state of its processes."""
        return joint_state([process.state for process in self.processes])

    @property
    def ready(self) -> int:
        """How many processes are ready."""
        return sum(process.state == "ready" for process in self.processes)

    @property
    def missing(self) -> int:
        """How many processes are wanted and not ready."""
        return max(0, self.desired - self.ready)


@dataclass(frozen=True, slots=True)
class Status:
    """A cluster at one moment; ``time`` is in seconds since the epoch."""

    cluster: str
    time: float
    components: tuple[ComponentStatus, ...] = ()

    @property
    def missing(self) -> int:
        """How many processes are wanted and not ready."""
        return sum(component.missing for component in self.components)

    @property
    def ready(self) -> bool:
        """Whether all that is wanted is ready."""
        return self.missing == 0

    def to_frame(self) -> pandas.DataFrame:
        """One row a process."""
        import pandas as pd  # heavy, and only here

        rows = [
            {
                "component": component.name,
                "role": component.role,
                "state": process.state,
                "pid": process.pid,
                "restarts": process.restarts,
                "started": process.started,
                "functions": ", ".join(component.functions),
                "reason": process.reason,
                "own": component.own,
            }
            for component in self.components
            for process in component.processes
        ]
        names = [p.name for c in self.components for p in c.processes]
        frame = pd.DataFrame(rows, index=pd.Index(names, name="process"), columns=_COLUMNS)
        frame["pid"] = frame["pid"].astype("Int64")
        frame["started"] = pd.to_datetime(frame["started"].astype("Float64"), unit="s", utc=True)
        return frame

    def __repr__(self) -> str:
        return table(self)


def table(status: Status) -> str:
    """The status as aligned text."""
    head = f"cluster {status.cluster}: {_summary(status)}"
    if not status.components:
        return head
    rows: list[tuple[str, ...]] = [("name", "role", "state", "pid", "restarts", "functions")]
    for component in status.components:
        rows += [_row(component, process) for process in component.processes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _row(component: ComponentStatus, process: ProcessStatus) -> tuple[str, ...]:
    state = process.state if component.own else f"{process.state} (elsewhere)"
    pid = str(process.pid or "")
    functions = ", ".join(component.functions)
    return (process.name, component.role, state, pid, str(process.restarts), functions)


def _summary(status: Status) -> str:
    if not status.components:
        return "no components"
    if status.missing:
        return f"not ready, {status.missing} missing"
    wanted = sum(component.desired for component in status.components)
    return "ready" if wanted else "stopped"
