"""What a cluster looks like at one moment: plain values, safe to keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palm.registry_api import schema
from palm.registry_api.schema import Missing
from palm.runtime.records import ComponentRecord

if TYPE_CHECKING:
    import pandas

__all__ = [
    "ComponentStatus",
    "ProcessStatus",
    "Status",
    "cluster_status",
    "clusters_frame",
    "table",
]

_COLUMNS = [
    "component",
    "role",
    "state",
    "pid",
    "restarts",
    "started",
    "functions",
    "reason",
    "node",
    "own",
]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. ``started`` is in seconds since the epoch; ``reason`` continues "it"."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    started: float | None = None
    reason: str = ""
    node: str = ""
    instance: str = ""

    @classmethod
    def of(cls, replica: schema.ReplicaStatus) -> ProcessStatus:
        """What the registry knows, as far as it is worth showing."""
        return cls(
            name=replica.name,
            state=replica.state,
            pid=replica.pid,
            restarts=replica.restarts,
            started=replica.started if replica.pid is not None else None,
            reason=replica.reason,
            node=replica.node,
            instance=replica.instance,
        )


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component. ``own`` tells those of the cluster from what somebody started in a shell.

    ``desired`` is how many processes are wanted, ``ready`` how many of them are ready, ``done``
    how many ended by themselves with exit code 0; ``reason`` says why the rest is not ready.
    ``owner`` declared it: "" means a cluster file. ``scaling`` says how it scales itself, or "".
    """

    name: str
    role: str
    state: str
    desired: int = 0
    ready: int = 0
    done: int = 0
    processes: tuple[ProcessStatus, ...] = ()
    functions: tuple[str, ...] = ()
    master: str = ""
    reason: str = ""
    owner: str = ""
    kernel: bool = False
    own: bool = True
    scaling: str = ""

    @property
    def missing(self) -> int:
        """How many processes are wanted and not ready."""
        return max(0, self.desired - self.ready - self.done)

    @property
    def lines(self) -> Sequence[ProcessStatus]:
        """Its processes; while there is none, a line that says why."""
        if self.processes:
            return self.processes
        return (ProcessStatus(self.name, self.state, reason=self.reason),)

    @classmethod
    def of(cls, component: schema.ComponentStatus) -> ComponentStatus:
        """What the registry knows of a component."""
        return cls(
            name=component.name,
            role=component.role,
            state=component.state,
            desired=component.desired,
            ready=component.actual,
            done=component.done,
            processes=tuple(ProcessStatus.of(replica) for replica in component.replicas),
            functions=tuple(component.functions),
            master=component.master,
            reason=component.reason,
            owner=component.owner,
            kernel=component.kernel,
            scaling=component.scaling.text if component.scaling is not None else "",
        )

    @classmethod
    def elsewhere(cls, record: ComponentRecord) -> ComponentStatus:
        """What a component says of itself that somebody started in a shell."""
        process = ProcessStatus(
            record.name, "ready", record.pid, started=record.start_time, instance=record.instance
        )
        return cls(
            name=record.name,
            role=record.role,
            state="ready",
            processes=(process,),
            functions=tuple(record.functions),
            master=record.master,
            own=False,
        )


@dataclass(frozen=True, slots=True)
class Status:
    """A cluster at one moment; ``time`` is in seconds since the epoch.

    ``ready`` says whether all that is wanted is ready, ``missing`` what is not, and why.
    ``state`` is "alive", "ending" or "ended".
    """

    cluster: str
    time: float
    components: tuple[ComponentStatus, ...] = ()
    missing: tuple[Missing, ...] = ()
    state: str = "alive"

    @property
    def ready(self) -> bool:
        """Whether all that is wanted is ready."""
        return not self.missing and self.state == "alive"

    def to_frame(self) -> pandas.DataFrame:
        """One row a process; a component without any has a row of its own."""
        import pandas as pd  # heavy, and only here

        rows = [_cells(component, p) for component in self.components for p in component.lines]
        frame = pd.DataFrame(
            [cells[1:] for cells in rows],
            index=pd.Index([cells[0] for cells in rows], name="process"),
            columns=_COLUMNS,
        )
        frame["pid"] = frame["pid"].astype("Int64")
        frame["started"] = pd.to_datetime(frame["started"].astype("Float64"), unit="s", utc=True)
        return frame

    def __repr__(self) -> str:
        return table(self)


def cluster_status(found: schema.ClusterStatus, records: Iterable[ComponentRecord] = ()) -> Status:
    """What the registry knows, and what else says that it runs."""
    known = {replica.instance for component in found.components for replica in component.replicas}
    components = [ComponentStatus.of(component) for component in found.components]
    components += [ComponentStatus.elsewhere(r) for r in records if r.instance not in known]
    components.sort(key=_place)
    return Status(found.cluster, found.time, tuple(components), tuple(found.missing), found.state)


def _place(component: ComponentStatus) -> tuple[str, bool, str]:
    """Masters stand before their workers."""
    return (component.master or component.name, bool(component.master), component.name)


def clusters_frame(found: Sequence[schema.ClusterInfo]) -> pandas.DataFrame:
    """One row a cluster."""
    import pandas as pd  # heavy, and only here

    rows = [
        (
            info.state,
            info.components,
            info.nodes,
            info.created,
            info.linger,
            ", ".join(info.holders),
        )
        for info in found
    ]
    index = pd.Index([info.key for info in found], name="cluster")
    columns = ["state", "components", "nodes", "created", "linger", "holders"]
    frame = pd.DataFrame(rows, index=index, columns=columns)
    frame["created"] = pd.to_datetime(frame["created"].astype("Float64"), unit="s", utc=True)
    return frame


def _cells(component: ComponentStatus, process: ProcessStatus) -> tuple[object, ...]:
    return (
        process.name,
        component.name,
        component.role,
        process.state,
        process.pid,
        process.restarts,
        process.started,
        ", ".join(component.functions),
        process.reason,
        process.node,
        component.own,
    )


def table(status: Status) -> str:
    """The status as aligned text."""
    head = f"cluster {status.cluster}: {_summary(status)}"
    rows: list[tuple[str, ...]] = [("name", "role", "state", "pid", "restarts", "functions")]
    for component in status.components:
        rows += [_row(component, process) for process in component.lines]
    if len(rows) == 1:
        return head
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines += [f"missing: {m.count} of {m.component}: {m.why}" for m in status.missing]
    lines += [f"scaling: {c.name}: {c.scaling}" for c in status.components if c.scaling]
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _row(component: ComponentStatus, process: ProcessStatus) -> tuple[str, ...]:
    state = process.state if component.own else f"{process.state} (elsewhere)"
    pid = str(process.pid or "")
    functions = ", ".join(component.functions)
    return (process.name, component.role, state, pid, str(process.restarts), functions)


def _summary(status: Status) -> str:
    if status.state != "alive":
        return status.state
    if not status.components:
        return "no components"
    if status.missing:
        return f"not ready, {sum(m.count for m in status.missing)} missing"
    wanted = sum(component.desired for component in status.components)
    return "ready" if wanted else "stopped"
