"""What is known of a cluster at one moment, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from msgspec.structs import replace

from palm.registry_api.schema import NodeInfo, ReplicaStatus
from palm.spec.plan import Replica
from palm_registry.store.clusters import ComponentRow
from palm_registry.store.nodes import Stray

__all__ = ["LIVING", "Facts", "is_done", "is_well"]

#: States of a process that may be running.
LIVING = ("starting", "ready", "stopping", "backing-off", "unknown")


@dataclass(frozen=True)
class Facts:
    """All that a status is made of. ``replicas`` are as reported, by the name of the process."""

    components: Mapping[str, ComponentRow] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaStatus] = field(default_factory=dict)
    placements: Mapping[Replica, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeInfo] = field(default_factory=dict)
    strays: Collection[Stray] = ()

    @cached_property
    def load(self) -> Mapping[str, int]:
        """How many replicas each node has that are not done."""
        return Counter(
            node
            for (name, number), node in self.placements.items()
            if name in self.components and not self.is_done(self.components[name], number)
        )

    def replica(self, component: ComponentRow, number: int) -> ReplicaStatus | None:
        """What is known of a replica now: of one on a lost node, that nothing is."""
        found = self.replicas.get(component.spec.replica_name(number))
        return None if found is None else self.seen(found)

    def current(self, component: ComponentRow, number: int) -> ReplicaStatus | None:
        """The same, but None for one that another is about to replace, there or elsewhere."""
        found = self.replica(component, number)
        if found is None or found.generation != component.spec.generation:
            return None
        at = self.placements.get((component.spec.name, number))
        return found if at == found.node else None

    def is_done(self, component: ComponentRow, number: int) -> bool:
        """Whether a replica has ended by itself, and well."""
        found = self.current(component, number)
        return found is not None and is_done(found)

    def seen(self, status: ReplicaStatus) -> ReplicaStatus:
        """A report, unless its node is lost."""
        node = self.nodes.get(status.node)
        if (node is None or not node.alive) and status.state in LIVING:
            return replace(
                status, state="unknown", reason=f"is on node {status.node}, which is lost"
            )
        return status

    def may_run_on(self, status: ReplicaStatus) -> bool:
        """Whether a process may be running and its node can still be expected to end it."""
        node = self.nodes.get(status.node)
        return node is not None and not node.overdue and status.state in LIVING


def is_well(status: ReplicaStatus | None) -> bool:
    """Whether a replica is ready, or done with its work."""
    return status is not None and (status.state == "ready" or is_done(status))


def is_done(status: ReplicaStatus) -> bool:
    """Whether it has ended by itself, and well."""
    return status.state == "stopped" and status.exit == 0
