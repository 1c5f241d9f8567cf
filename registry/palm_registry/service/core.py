"""What all rules of a cluster share: its facts, its events, and what follows from a change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palm.registry_api.schema import ClusterStatus, Event, NodeInfo, Scaling
from palm.spec.names import nearest
from palm.spec.placement import plan
from palm_registry.cursor import Cursor
from palm_registry.facts import Facts
from palm_registry.failures import NotFound
from palm_registry.keyfiles import KeyFiles
from palm_registry.keys import owner_of
from palm_registry.signals import Signals
from palm_registry.status import cluster_status, demand_of, hosts_of, released
from palm_registry.store import Database
from palm_registry.store import clusters as cluster_rows
from palm_registry.store import events as event_rows
from palm_registry.store import nodes as node_rows
from palm_registry.store import output as output_rows
from palm_registry.store.clusters import ClusterRow
from palm_registry.store.nodes import NodeRow
from palm_registry.tally import Tally
from palm_registry.watch import Leases, Nodes

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Core", "add_event", "facts_of", "get_cluster", "no_such_cluster", "settle", "status_of"]


@dataclass
class Core:
    """The parts that the rules work on."""

    database: Database
    keys: KeyFiles
    signals: Signals = field(default_factory=Signals)
    leases: Leases = field(default_factory=Leases)
    nodes: Nodes = field(default_factory=Nodes)
    tally: Tally = field(default_factory=Tally)
    #: What is shown of components that scale themselves, by cluster and name.
    scalings: dict[str, dict[str, Scaling]] = field(default_factory=dict)
    #: Whether anybody has asked for a cluster since the start.
    used: bool = False

    def now(self) -> float:
        """Seconds of the clock that only goes forward."""
        return time.monotonic()

    def changed(self, cluster: str) -> None:
        """Wake those who watch a cluster: its plan, its status or its events are different."""
        self.signals.notify(cluster, "plan", "status", "events")


def get_cluster(connection: Connection, key: str) -> ClusterRow:
    """Return a cluster.

    Raises
    ------
    NotFound
        With the nearest key as its hint; also for one that is being deleted, and for one of
        another user than a `Key` is of.
    """
    row = cluster_rows.get_cluster(connection, key)
    if row is not None and not row.purge:
        return row
    raise no_such_cluster(connection, key)


def no_such_cluster(connection: Connection, key: str) -> NotFound:
    """The answer for a cluster that is not there, or not for whoever asks: it is the same."""
    # Not the others' keys: even a hint may not tell that they are there.
    known = cluster_rows.all_clusters(connection, owner_of(key))
    close = nearest(key, [c.key for c in known if not c.purge])
    hint = f"did you mean {close!r}?" if close else ""
    return NotFound("no-such-cluster", f"there is no cluster {key!r}", hint)


def facts_of(connection: Connection, key: str) -> Facts:
    """Return what is wanted of a cluster and what is known of it."""
    return Facts(
        components=cluster_rows.all_components(connection, key),
        replicas=node_rows.get_replicas(connection, key),
        placements=cluster_rows.get_placements(connection, key),
        nodes={row.id: node_info(row) for row in node_rows.all_nodes(connection, key)},
        strays=node_rows.get_strays(connection, key),
    )


def node_info(row: NodeRow) -> NodeInfo:
    """A node as others see it."""
    return NodeInfo(
        id=row.id,
        name=row.name,
        address=row.address,
        cores=row.cores,
        labels=row.labels,
        alive=row.alive,
        seen=row.seen,
        overdue=row.overdue,
        places=row.places,
    )


def status_of(
    connection: Connection,
    key: str,
    identity: str,
    scalings: Mapping[str, Scaling] | None = None,
) -> ClusterStatus:
    """Return the status of a cluster, and the cursor that belongs to it.

    ``scalings`` says more of components that scale themselves.
    """
    row = get_cluster(connection, key)
    cursor = Cursor(
        event_rows.last_event(connection), output_rows.last_segment(connection), identity
    )
    return cluster_status(
        row.key,
        facts_of(connection, key),
        generation=row.generation,
        cursor=str(cursor),
        now=time.time(),
        state=row.state,
        scalings=scalings,
    )


def add_event(connection: Connection, key: str, kind: str, text: str, **values: Any) -> None:
    """Note that something happened to a cluster."""
    event = Event(seq=0, time=time.time(), kind=kind, text=text, **values)
    event_rows.add_event(connection, key, event)


def settle(connection: Connection, key: str, *, changed: bool) -> None:
    """Draw the consequences of a change: release what waited, place what has no node.

    `changed` says that what is to run is another than before, whatever else follows.
    """
    facts = facts_of(connection, key)
    for name in released(facts):
        row = facts.components[name]
        row.released = True
        cluster_rows.put_component(connection, key, row)
        changed = True
    _forget_placements(connection, key, facts)
    if _place(connection, key, facts) or changed:
        cluster_rows.bump(connection, key)


def _place(connection: Connection, key: str, facts: Facts) -> bool:
    """Store where all is to run by now; say whether anything has another place than before."""
    demands = [demand_of(facts, row) for row in facts.components.values() if row.released]
    found = plan(demands, hosts_of(facts), facts.placements)
    changed = False
    for (name, number), node in found.nodes.items():
        before = facts.placements.get((name, number))
        # What has done its work is not done again because its node is gone.
        if before != node and not facts.is_done(facts.components[name], number):
            cluster_rows.put_placement(connection, key, name, number, node)
            _note_move(connection, key, facts, (name, number), node)
            changed = True
    for name, number in found.unplaced.keys() & facts.placements.keys():
        if not facts.is_done(facts.components[name], number):
            cluster_rows.delete_placements(connection, key, component=name, number=number)
            changed = True
    return changed


def _note_move(
    connection: Connection, key: str, facts: Facts, replica: tuple[str, int], node: str
) -> None:
    """Tell of a replica that had another place before."""
    name, number = replica
    before = facts.placements.get(replica)
    if before is None:
        return
    known = facts.nodes.get(before)
    if known is None:
        why = "is no node any more"
    else:
        why = "does not suit it any more" if known.alive else "is lost"
    process = facts.components[name].spec.replica_name(number)
    add_event(
        connection, key, "component.moved",
        f"{process} moves to node {node}, since node {before} {why}",
        component=name, replica=number, node=node, data={"name": process, "from": before},
    )  # fmt: skip


def _forget_placements(connection: Connection, key: str, facts: Facts) -> None:
    for name, number in facts.placements:
        row = facts.components.get(name)
        if row is None or number >= row.spec.replicas:
            cluster_rows.delete_placements(connection, key, component=name, number=number)
