"""What the runner of a node reports of its processes, and what follows from it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from palm.registry_api.schema import Heartbeat, ReplicaStatus
from palm.spec.component import SINGLE_ROLES
from palm_registry.facts import LIVING, Facts
from palm_registry.service.core import add_event, node_info
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import nodes as rows
from palm_registry.store.clusters import ComponentRow
from palm_registry.store.nodes import Stray

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Known", "take_report"]

#: How an end of a process is called in its event.
_KINDS = {"backing-off": "exited", "failed": "exited", "stopped": "exited"}


def take_report(connection: Connection, known: Known, node: str, beat: Heartbeat) -> bool:
    """Store what a node reports; say whether other nodes may have something else to do now."""
    report = _Report(connection, known, node)
    for status in beat.statuses:
        report.take(replace(status, node=node, updated=time.time()))
    if beat.full:
        report.forget_others({status.name for status in beat.statuses})
    rows.put_replicas(connection, known.key, report.stored)
    return report.changed


class Known:
    """What is known of a cluster, before some reports and from one to the next."""

    def __init__(self, connection: Connection, key: str) -> None:
        self.key = key
        self.replicas = rows.get_replicas(connection, key)
        self.components = cluster_rows.all_components(connection, key)
        self.placements = cluster_rows.get_placements(connection, key)
        self.strays = rows.get_strays(connection, key)
        #: Those that were not removed.
        self.nodes = {row.id: row for row in rows.all_nodes(connection, key)}
        #: Components of which some replicas run in another version than is wanted.
        self.rolling = {
            status.component
            for status in self.replicas.values()
            if (row := self.components.get(status.component)) is not None
            and status.generation != row.spec.generation
            and status.state in LIVING
        }

    def facts(self) -> Facts:
        """All that is known by now."""
        return Facts(
            components=self.components,
            replicas=self.replicas,
            placements=self.placements,
            nodes={name: node_info(row) for name, row in sorted(self.nodes.items())},
            strays=self.strays,
        )


class _Report:
    """One report, against what is known before it."""

    def __init__(self, connection: Connection, known: Known, node: str) -> None:
        self.changed = False
        #: What is to be stored of each process, by its name; None: nothing any more.
        self.stored: dict[str, ReplicaStatus | None] = {}
        self._connection = connection
        self._key = known.key
        self._node = node
        self._known = known

    def take(self, status: ReplicaStatus) -> None:
        """Take the status of one process."""
        known = self._known.replicas.get(status.name)
        elsewhere = known is not None and known.node != self._node
        if elsewhere and known is not None and known.state in LIVING:
            if self._placed(status) != self._node:
                self._take_stray(status)  # the process of that name that counts is elsewhere
                return
            self._add_stray(known)
        self._drop_stray(status.name)
        _note(self._connection, self._key, known, status)
        self._store(known, status)

    def _placed(self, status: ReplicaStatus) -> str | None:
        return self._known.placements.get((status.component, status.replica))

    def _store(self, known: ReplicaStatus | None, status: ReplicaStatus) -> None:
        leaving = self._placed(status) not in (None, self._node)
        gone = status.state not in LIVING
        if gone and (leaving or _is_over(status, self._known.components.get(status.component))):
            self._forget(status.name)
        else:
            self.stored[status.name] = self._known.replicas[status.name] = status
        # Who waits for its end, or for its addresses, has to hear of it.
        sockets = {} if known is None else known.sockets
        self.changed |= (gone and leaving) or sockets != status.sockets
        # And who looks for it by its name, on nodes that cannot reach it.
        self.changed |= self._is_named(status.component) and (
            (known is not None and known.state == "ready") != (status.state == "ready")
        )
        # And who waits for its turn to be replaced.
        moved = known is None or (known.state, known.generation) != (
            status.state,
            status.generation,
        )
        self.changed |= moved and status.component in self._known.rolling

    def _is_named(self, component: str) -> bool:
        """Whether nodes besides ours may look for a component by its name."""
        row = self._known.components.get(component)
        return len(self._known.nodes) > 1 and row is not None and row.spec.role in SINGLE_ROLES

    def forget_others(self, names: set[str]) -> None:
        """Forget what the node had and has not any more."""
        for name, known in list(self._known.replicas.items()):
            if known.node == self._node and name not in names:
                self._forget(name)
                at = self._known.placements.get((known.component, known.replica))
                self.changed |= at not in (None, self._node)
        for stray in list(self._known.strays):
            if stray.node == self._node and stray.name not in names:
                self._drop_stray(stray.name)

    def _take_stray(self, status: ReplicaStatus) -> None:
        if status.state in LIVING:
            self._add_stray(status)
        else:
            self._drop_stray(status.name)

    def _add_stray(self, status: ReplicaStatus) -> None:
        stray = Stray(status.node, status.name, status.component)
        if stray not in self._known.strays:
            rows.put_stray(self._connection, self._key, stray)
            self._known.strays.add(stray)

    def _drop_stray(self, name: str) -> None:
        for stray in list(self._known.strays):
            if (stray.node, stray.name) == (self._node, name):
                rows.delete_strays(self._connection, self._key, self._node, name)
                self._known.strays.discard(stray)

    def _forget(self, name: str) -> None:
        self.stored[name] = None
        self._known.replicas.pop(name, None)


def _is_over(status: ReplicaStatus, component: ComponentRow | None) -> bool:
    """Whether nobody wants to know of a process any more that has ended."""
    if status.state in LIVING:
        return False
    return component is None or status.replica >= component.spec.replicas


def _note(
    connection: Connection, key: str, known: ReplicaStatus | None, status: ReplicaStatus
) -> None:
    same = known is not None and known.instance == status.instance
    if same and known is not None and known.state == status.state:
        return
    text = f"{status.name} {status.reason or f'is {status.state}'}"
    add_event(
        connection,
        key,
        f"component.{_KINDS.get(status.state, status.state)}",
        text,
        component=status.component,
        replica=status.replica,
        node=status.node,
        data={
            "name": status.name,
            "state": status.state,
            "instance": status.instance,
            "pid": status.pid,
            "exit": status.exit,
            "restarts": status.restarts,
        },
    )
