"""What there is against what is wanted: the rules of a cluster's status, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from palm.registry_api.schema import (
    ClusterState,
    ClusterStatus,
    ComponentStatus,
    Missing,
    NodeInfo,
    ReplicaStatus,
)
from palm.spec.plan import Replica
from palm_registry.store.clusters import ComponentRow

__all__ = ["Facts", "cluster_status", "is_ready", "released", "unmet_needs"]

#: States, the one that needs attention most first.
ATTENTION = ("failed", "unknown", "backing-off", "starting", "stopping", "stopped", "ready")
#: States of a process that may be running.
LIVING = ("starting", "ready", "stopping", "backing-off", "unknown")


@dataclass(frozen=True)
class Facts:
    """All that a status is made of. ``replicas`` are as reported, by the name of the process."""

    components: Mapping[str, ComponentRow] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaStatus] = field(default_factory=dict)
    placements: Mapping[Replica, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeInfo] = field(default_factory=dict)

    def replica(self, component: ComponentRow, number: int) -> ReplicaStatus | None:
        """What is known of a replica now: of one on a lost node, that nothing is."""
        found = self.replicas.get(component.spec.replica_name(number))
        return None if found is None else self.seen(found)

    def seen(self, status: ReplicaStatus) -> ReplicaStatus:
        """A report, unless its node is lost."""
        node = self.nodes.get(status.node)
        if (node is None or not node.alive) and status.state in LIVING:
            return replace(
                status, state="unknown", reason=f"is on node {status.node}, which is lost"
            )
        return status


def is_ready(facts: Facts, name: str) -> bool:
    """Whether all wanted replicas of a component are ready, or done, and there are any."""
    row = facts.components.get(name)
    return row is not None and 0 < row.desired <= _actual(facts, row) + _done(facts, row)


def unmet_needs(facts: Facts, row: ComponentRow) -> list[str]:
    """What a component waits for before it starts for the first time."""
    return [] if row.released else [n for n in row.spec.needs if not is_ready(facts, n)]


def released(facts: Facts) -> list[str]:
    """Components that may start by now and could not before."""
    return [
        name
        for name, row in facts.components.items()
        if row.desired and not row.released and not unmet_needs(facts, row)
    ]


def cluster_status(
    key: str,
    facts: Facts,
    *,
    generation: int,
    cursor: str,
    now: float,
    state: ClusterState = "alive",
) -> ClusterStatus:
    """The status of a cluster at one moment."""
    missing = [
        Missing(component=name, count=count, why=why)
        for name, row in facts.components.items()
        for why, count in _reasons(facts, row).items()
    ]
    components = [_component(facts, row) for row in facts.components.values()]
    return ClusterStatus(
        cluster=key,
        ready=not missing and state == "alive",
        state=state,
        missing=missing,
        components=components + _leftovers(facts),
        nodes=list(facts.nodes.values()),
        generation=generation,
        cursor=cursor,
        time=now,
    )


def _component(facts: Facts, row: ComponentRow) -> ComponentStatus:
    spec = row.spec
    reports = [r for r in facts.replicas.values() if r.component == spec.name]
    replicas = sorted((facts.seen(report) for report in reports), key=lambda r: r.replica)
    reasons = _reasons(facts, row)
    return ComponentStatus(
        name=spec.name,
        role=spec.role,
        desired=row.desired,
        actual=_actual(facts, row),
        done=_done(facts, row),
        state=_state(facts, row, replicas),
        conditions=[f"{count} missing: {why}" for why, count in reasons.items()],
        reason="; ".join(reasons),
        replicas=replicas,
        functions=sorted({f for r in replicas if r.state == "ready" for f in r.functions}),
        owner=spec.owner,
        master=spec.master or next((r.master for r in replicas if r.master), ""),
        generation=spec.generation,
        kernel=spec.kernel,
    )


def _state(facts: Facts, row: ComponentRow, replicas: list[ReplicaStatus]) -> str:
    wanted = [facts.replica(row, number) for number in range(row.desired)]
    states = [_state_of(row, status) for status in wanted]
    if not wanted:
        states = [status.state for status in replicas if status.state in LIVING]
        return "stopping" if states else "stopped"
    return min(states, key=ATTENTION.index)


def _state_of(row: ComponentRow, status: ReplicaStatus | None) -> str:
    if status is None or _is_old(row, status):
        return "starting"
    return status.state


def _is_old(row: ComponentRow, status: ReplicaStatus) -> bool:
    # What stands there is about to be replaced.
    return status.generation != row.spec.generation


def _actual(facts: Facts, row: ComponentRow) -> int:
    found = (facts.replica(row, number) for number in range(row.desired))
    return sum(s is not None and s.state == "ready" and not _is_old(row, s) for s in found)


def _done(facts: Facts, row: ComponentRow) -> int:
    """How many wanted replicas have done what they were there for."""
    found = (facts.replica(row, number) for number in range(row.desired))
    return sum(s is not None and _is_done(s) and not _is_old(row, s) for s in found)


def _is_done(status: ReplicaStatus) -> bool:
    return status.state == "stopped" and status.exit == 0


def _reasons(facts: Facts, row: ComponentRow) -> Counter[str]:
    """How many wanted replicas are not ready, by why."""
    why = (_why(facts, row, number) for number in range(row.desired))
    return Counter(reason for reason in why if reason)


def _why(facts: Facts, row: ComponentRow, number: int) -> str:
    status = facts.replica(row, number)
    if status is not None and not _is_old(row, status):
        if status.state == "ready" or _is_done(status):
            return ""
        reason = f": it {status.reason}" if status.reason else ""
        return f"{status.state}{reason}"
    if not facts.nodes:
        return "no node has joined"
    if needs := unmet_needs(facts, row):
        return f"waits for {', '.join(needs)} to be ready"
    node = facts.placements.get((row.spec.name, number))
    if node is None:
        return "no node is there to run it"
    if node not in facts.nodes or not facts.nodes[node].alive:
        return f"node {node} is lost"
    return "is being replaced" if status is not None else "was never started"


def _leftovers(facts: Facts) -> list[ComponentStatus]:
    """Processes of components that are no longer declared, until they have ended."""
    names = {r.component for r in facts.replicas.values()} - facts.components.keys()
    found = []
    for name in sorted(names):
        reports = [facts.seen(r) for r in facts.replicas.values() if r.component == name]
        living = [report for report in reports if report.state in LIVING]
        if living:
            found.append(
                ComponentStatus(
                    name=name,
                    role="process",
                    desired=0,
                    actual=0,
                    state="stopping",
                    replicas=living,
                )
            )
    return found
