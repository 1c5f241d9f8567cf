"""What each node of a cluster is to run. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from msgspec.structs import replace

from palm.registry_api.schema import Assignment, Assignments, SignalOrder
from palm_registry.facts import Facts
from palm_registry.rollouts import rollout_of
from palm_registry.samples import sample_every
from palm_registry.sockets import named_on, peers_elsewhere, sockets_elsewhere
from palm_registry.store.clusters import ComponentRow

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What is wanted of a cluster in one ``generation``; not ``alive``, nothing is.

    What it takes to answer all nodes is worked out once, so that a cluster of many nodes costs
    each of them no more than its own part.
    """

    generation: int
    owner: str = ""
    alive: bool = True
    facts: Facts = field(default_factory=Facts)
    #: What the runner of each node shows to be it.
    sessions: Mapping[str, str] = field(default_factory=dict)
    #: Signals that nodes are to send.
    orders: Mapping[str, Sequence[SignalOrder]] = field(default_factory=dict)
    #: What is another whenever the keys of the cluster are.
    keys: str = ""

    def prepare(self) -> Plan:
        """Work out what all answers have in common, in whichever thread this is."""
        _ = self._numbers, self._keep, self._named, self._sample_every
        return self

    def assignments(self, node: str) -> Assignments:
        """Return what a node is to run."""
        if not self.alive:
            return Assignments(generation=self.generation, stop=True)
        here = self._numbers.get(node, {})
        found = [
            self._assignment(row, here.get(name, []))
            for name, row in self.facts.components.items()
            if name in here or row.stop_grace is not None
        ]
        return Assignments(
            generation=self.generation,
            components=found,
            sockets=sockets_elsewhere(self.facts, found, node),
            peers=peers_elsewhere(self.facts, node),
            signals=list(self.orders.get(node, ())),
            keys=self.keys,
            sample_every=self._sample_every,
        )

    def _assignment(self, row: ComponentRow, numbers: list[int]) -> Assignment:
        name, keep = row.spec.name, self._keep[row.spec.name]
        spec = row.spec if row.stop_grace is None else replace(row.spec, grace=row.stop_grace)
        elsewhere = self._named.get(name, set()) - {self.facts.placements.get((name, 0))}
        return Assignment(
            spec=spec,
            numbers=numbers,
            reached=bool(elsewhere),
            keep=[number for number in numbers if number in keep],
        )

    @cached_property
    def _numbers(self) -> Mapping[str, Mapping[str, list[int]]]:
        """The numbers of what may run, by node and component."""
        found: dict[str, dict[str, list[int]]] = defaultdict(dict)
        for (name, number), node in sorted(self.facts.placements.items()):
            row = self.facts.components.get(name)
            if row is not None and number < row.desired and self._may_run(row, number, node):
                found[node].setdefault(name, []).append(number)
        return dict(found)

    def _may_run(self, row: ComponentRow, number: int, node: str) -> bool:
        """Whether a node is to run a replica, and nobody else still does who is to stop it."""
        if not row.released:
            return False
        known = self.facts.replicas.get(row.spec.replica_name(number))
        return known is None or known.node == node or not self.facts.may_run_on(known)

    @cached_property
    def _keep(self) -> Mapping[str, Collection[int]]:
        """The numbers of those that go on in the version before, by component."""
        facts = self.facts
        return {name: rollout_of(facts, row).keep for name, row in facts.components.items()}

    @cached_property
    def _sample_every(self) -> float:
        return sample_every(sum(node.alive for node in self.facts.nodes.values()))

    @cached_property
    def _named(self) -> Mapping[str, set[str]]:
        return named_on(self.facts)
