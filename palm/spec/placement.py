"""On which node each replica runs. Pure, and asking twice changes nothing.

Who runs well stays where it is, whatever nodes come. The others go to the node with the least to
do for its cores; among equals to the one with the fewest replicas of the same component, and then
to the first by name. So the answer depends on no order of components or nodes. A node whose places
are all taken gets nothing more: who finds no place waits for one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from palm.spec.names import nearest
from palm.spec.plan import Replica

__all__ = ["Demand", "Host", "Placement", "plan", "why_not", "why_unplaced"]

#: "away": it may be back soon, and keeps what it has; "lost": that may go elsewhere.
HostState = Literal["alive", "away", "lost"]


@dataclass(frozen=True, slots=True)
class Host:
    """A node to the planner; one whose ``cores`` are not known (0) counts as one of one core.

    ``places`` is how many replicas it takes at most, 0: any number. One that takes what asks for it
    ``by_label`` takes nothing that asks for no label and does not name it.
    """

    name: str
    cores: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    state: HostState = "alive"
    places: int = 0
    by_label: bool = False

    def has_place(self, taken: int) -> bool:
        """Whether it takes one more beside so many."""
        return not self.places or taken < self.places


@dataclass(frozen=True, slots=True)
class Demand:
    """A component, how many replicas of it are wanted, and on nodes of which labels or name.

    Those of the numbers ``done`` have ended for good: they stay where they were, and take no place.
    """

    component: str
    replicas: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    done: frozenset[int] = frozenset()

    def suits(self, host: Host) -> bool:
        """Whether its replicas may run there."""
        named = not self.node or self.node == host.name
        if host.by_label and not (self.labels or self.node):
            return False
        return named and all(host.labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class Placement:
    """The node of each replica that has one, and for the others why they have none."""

    nodes: dict[Replica, str] = field(default_factory=dict)
    unplaced: dict[Replica, str] = field(default_factory=dict)


def plan(
    demands: Iterable[Demand], hosts: Iterable[Host], placed: Mapping[Replica, str] | None = None
) -> Placement:
    """Return where all replicas are to run, given where they are placed by now.

    A replica moves only if its node is gone or does not suit it any more, or if its node is lost
    and another one suits that has a place.
    """
    known = {host.name: host for host in sorted(hosts, key=lambda host: host.name)}
    before = placed or {}
    found = Placement()
    load: Counter[str] = Counter()
    open_: list[tuple[list[Host], Demand, list[int]]] = []
    for demand in demands:
        suitable = [host for host in known.values() if _takes(demand, host)]
        keeps = {name for name, host in known.items() if _keeps(demand, host, suitable)}
        moving = []
        for number in range(demand.replicas):
            node = before.get((demand.component, number))
            if node is not None and number in demand.done:
                found.nodes[demand.component, number] = node
            elif node is not None and node in keeps:
                found.nodes[demand.component, number] = node
                load[node] += 1
            else:
                moving.append(number)
        if moving:
            open_.append((suitable, demand, moving))
    # Who has the least choice chooses first.
    for suitable, demand, numbers in sorted(open_, key=lambda o: (len(o[0]), o[1].component)):
        left = _spread(demand, numbers, suitable, found, load)
        why = why_unplaced(demand, known.values(), load) if left else ""
        for number in left:
            lost = known.get(before.get((demand.component, number), ""))
            if lost is not None and demand.suits(lost):  # it may be back first
                found.nodes[demand.component, number] = lost.name
            else:
                found.unplaced[demand.component, number] = why
    return found


def _takes(demand: Demand, host: Host) -> bool:
    return host.state == "alive" and demand.suits(host)


def _keeps(demand: Demand, host: Host, suitable: Sequence[Host]) -> bool:
    """Whether replicas that are placed there stay there."""
    if host.state == "alive":
        return demand.suits(host)
    return host.state == "away" or not suitable


def _spread(
    demand: Demand,
    numbers: Iterable[int],
    suitable: Sequence[Host],
    found: Placement,
    load: Counter[str],
) -> list[int]:
    """Give each a node as long as there are places; return those that have none."""
    of_it = Counter(
        found.nodes.get((demand.component, number)) for number in range(demand.replicas)
    )
    left = deque(numbers)
    while left:
        host = min(
            (each for each in suitable if each.has_place(load[each.name])),
            key=lambda each: ((load[each.name] + 1) / max(1, each.cores), of_it[each.name]),
            default=None,
        )
        if host is None:
            break
        number = left.popleft()
        found.nodes[demand.component, number] = host.name
        load[host.name] += 1
        of_it[host.name] += 1
    return list(left)


def why_unplaced(demand: Demand, hosts: Iterable[Host], load: Mapping[str, int]) -> str:
    """Say why a replica has no node, given how many each has; "" if one would take it."""
    known = list(hosts)
    suitable = [host for host in known if _takes(demand, host)]
    if not suitable:
        return why_not(demand, known)
    if any(host.has_place(load.get(host.name, 0)) for host in suitable):
        return ""
    places = sum(host.places for host in suitable)
    if len(suitable) == 1:
        return f"waits for a place: node {suitable[0].name} has {places}, all taken"
    return f"waits for a place: the {len(suitable)} nodes for it have {places}, all taken"


def why_not(demand: Demand, hosts: Iterable[Host]) -> str:
    """Say in words why no node takes the replicas of a component, "" if one does."""
    known = list(hosts)
    suitable = [host for host in known if demand.suits(host)]
    if any(host.state == "alive" for host in suitable):
        return ""
    if suitable and (demand.node or demand.labels):
        names = ", ".join(host.name for host in suitable)
        is_ = "is" if len(suitable) == 1 else "are"
        return f"the only {'node' if is_ == 'is' else 'nodes'} for it, {names}, {is_} lost"
    if demand.node:
        return _no_such_node(demand, known)
    if demand.labels:
        return _no_such_labels(demand, known)
    if any(host.by_label and host.state == "alive" for host in known):
        return "the nodes that are there take only what asks for them by a label"
    return "no node is there to run it"


def _no_such_node(demand: Demand, hosts: Sequence[Host]) -> str:
    host = next((host for host in hosts if host.name == demand.node), None)
    if host is not None:
        lacks = ", ".join(_lacking(demand, host))
        return f"it is for node {host.name}, which has not the label {lacks}"
    close = nearest(demand.node, [host.name for host in hosts])
    hint = f" (did you mean {close}?)" if close else ""
    return f"there is no node {demand.node}{hint}"


def _no_such_labels(demand: Demand, hosts: Sequence[Host]) -> str:
    for key, value in sorted(demand.labels.items()):
        if not any(host.labels.get(key) == value for host in hosts):
            return f"no node has the label {key}={value}{_label_hint(key, value, hosts)}"
    wanted = ", ".join(f"{key}={value}" for key, value in sorted(demand.labels.items()))
    best = min(hosts, key=lambda host: (len(_lacking(demand, host)), host.name))
    return f"no node has all of {wanted}: {best.name} lacks {', '.join(_lacking(demand, best))}"


def _lacking(demand: Demand, host: Host) -> list[str]:
    wanted = sorted(demand.labels.items())
    return [f"{key}={value}" for key, value in wanted if host.labels.get(key) != value]


def _label_hint(key: str, value: str, hosts: Sequence[Host]) -> str:
    values = sorted({host.labels[key] for host in hosts if key in host.labels})
    if values:
        close = nearest(value, values)
        if close:
            return f" (did you mean {key}={close}?)"
        return f" (there is {', '.join(f'{key}={each}' for each in values[:3])})"
    close = nearest(key, {name for host in hosts for name in host.labels})
    return f" (did you mean the label {close}?)" if close else ""
