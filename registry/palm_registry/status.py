"""What there is against what is wanted: the rules of a cluster's status, without I/O."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from palm.registry_api.schema import (
    ClusterState,
    ClusterStatus,
    ComponentStatus,
    Missing,
    ReplicaStatus,
    Scaling,
)
from palm.spec.placement import Demand, Host, why_unplaced
from palm.spec.pool import POOL, POOL_OWNER
from palm_registry.facts import LIVING, Facts, is_done, is_well
from palm_registry.rollouts import rollout_of
from palm_registry.store.clusters import ComponentRow
from palm_registry.store.nodes import Stray

__all__ = [
    "Facts",
    "cluster_status",
    "demand_of",
    "hosts_of",
    "is_ready",
    "released",
    "unmet_needs",
]

#: States, the one that needs attention most first.
ATTENTION = ("failed", "unknown", "backing-off", "starting", "stopping", "stopped", "ready")


def demand_of(facts: Facts, row: ComponentRow) -> Demand:
    """A component as the planner sees it."""
    spec = row.spec
    done = frozenset(number for number in range(row.desired) if facts.is_done(row, number))
    return Demand(spec.name, row.desired, spec.labels, spec.node, done)


def hosts_of(facts: Facts) -> list[Host]:
    """The nodes as the planner sees them."""
    return [
        Host(
            node.id,
            node.cores,
            node.labels,
            "alive" if node.alive else "lost" if node.overdue else "away",
            node.places,
            by_label=POOL in node.labels,
        )
        for node in facts.nodes.values()
    ]


def is_ready(facts: Facts, name: str) -> bool:
    """Whether all wanted replicas of a component are ready, or done, and there are any."""
    row = facts.components.get(name)
    if row is None or not row.desired:
        return False
    return all(is_well(facts.current(row, number)) for number in range(row.desired))


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
    scalings: Mapping[str, Scaling] | None = None,
) -> ClusterStatus:
    """The status of a cluster at one moment.

    ``scalings`` has what is known of the load of components that scale themselves.
    """
    reports = defaultdict(list)
    for report in facts.replicas.values():
        reports[report.component].append(facts.seen(report))
    known = scalings or {}
    looks = [
        _Look(facts, row, reports[name], known.get(name)) for name, row in facts.components.items()
    ]
    missing = [
        Missing(component=look.row.spec.name, count=count, why=why)
        for look in looks
        for why, count in look.missing.items()
    ]
    left = [name for name in sorted(reports) if name not in facts.components]
    components = [look.status() for look in looks]
    return ClusterStatus(
        cluster=key,
        ready=not missing and state == "alive",
        state=state,
        missing=missing,
        components=components + [c for name in left for c in _leftover(name, reports[name])],
        nodes=list(facts.nodes.values()),
        generation=generation,
        cursor=cursor,
        time=now,
    )


class _Look:
    """One component, looked at once. ``missing`` counts replicas that are not ready, by why."""

    def __init__(
        self,
        facts: Facts,
        row: ComponentRow,
        reports: Sequence[ReplicaStatus],
        scaling: Scaling | None = None,
    ) -> None:
        self.row = row
        self._scaling = scaling
        self._facts = facts
        self._reports = sorted(reports, key=lambda report: report.replica)
        self._current = [facts.current(row, number) for number in range(row.desired)]
        self._rollout = rollout_of(facts, row)
        why = (
            self._rollout.why(number) or _why(facts, row, number, each)
            for number, each in enumerate(self._current)
        )
        self.missing = Counter(reason for reason in why if reason)

    def status(self) -> ComponentStatus:
        """All that there is to say."""
        spec, reports = self.row.spec, self._reports
        done = sum(each is not None and is_done(each) for each in self._current)
        ready = sum(each is not None and each.state == "ready" for each in self._current)
        state, scaling = self._state(), self._scales(ready)
        return ComponentStatus(
            name=spec.name,
            role=spec.role,
            desired=self.row.desired,
            actual=ready,
            done=done,
            state=state,
            conditions=self._conditions(done) + ([scaling.text] if scaling else []),
            reason=self._reason(state, done),
            replicas=reports,
            functions=sorted({f for r in reports if r.state == "ready" for f in r.functions}),
            owner=spec.owner,
            master=spec.master or next((r.master for r in reports if r.master), ""),
            generation=spec.generation,
            kernel=spec.kernel,
            needs=spec.needs,
            scaling=scaling,
            labels=spec.labels,
            node=spec.node,
        )

    def _scales(self, ready: int) -> Scaling | None:
        """What is shown of one that scales itself: "4 of 2..16, wants 6: 1,200 waiting"."""
        within = self.row.spec.scales
        if within is None:
            return None
        known = self._scaling or Scaling(least=within.least, most=within.most)
        text = f"{ready} of {within}"
        if known.wants is not None and known.wants != self.row.desired:
            text += f", wants {known.wants}"
        waiting = (
            "what waits is not known" if known.waiting is None else (f"{known.waiting:,} waiting")
        )
        return Scaling(
            least=within.least,
            most=within.most,
            wants=known.wants,
            waiting=known.waiting,
            text=f"{text}: {waiting}",
        )

    def _state(self) -> str:
        if self._current:
            states = ["starting" if each is None else each.state for each in self._current]
            return min(states, key=ATTENTION.index)
        return "stopping" if self._living() else "stopped"

    def _living(self) -> int:
        return sum(report.state in LIVING for report in self._reports)

    def _reason(self, state: str, done: int) -> str:
        if self._rollout.halted:
            return str(self._rollout)
        return "; ".join(self.missing) or self._resting(state, done)

    def _conditions(self, done: int) -> list[str]:
        found = [str(self._rollout)] if self._rollout.halted else []
        found += [f"{count} missing: {why}" for why, count in self.missing.items()]
        if done:
            found.append(f"{done} done: ended with exit code 0")
        beyond = sum(each.replica >= self.row.desired and each.state in LIVING
                     for each in self._reports)  # fmt: skip
        if beyond:
            found.append(f"{beyond} beyond the wanted: to be stopped")
        return found + [_stray(self._facts, stray) for stray in sorted(self._facts.strays)
                        if stray.component == self.row.spec.name]  # fmt: skip

    def _resting(self, state: str, done: int) -> str:
        """Why one of which nothing is missing does not run, or not as a whole."""
        if done:
            some = f"{done} of {self.row.desired} have done what they were there for"
            return "has done what it was there for" if done == self.row.desired else some
        if self.row.desired:
            return ""
        if state == "stopping":
            return f"is to stop: {self._living()} not over yet"
        return "has no replicas" if self.row.running else "was stopped"


def _why(facts: Facts, row: ComponentRow, number: int, current: ReplicaStatus | None) -> str:
    """Why a wanted replica is not ready, "" if it is."""
    if current is not None:
        if is_well(current):
            return ""
        return f"{current.state}: it {current.reason}" if current.reason else current.state
    if not facts.nodes:
        return "no node has joined"
    if needs := unmet_needs(facts, row):
        return f"waits for {', '.join(needs)} to be ready"
    node = facts.placements.get((row.spec.name, number))
    if node is None:
        return _why_unplaced(facts, row) or "is about to get a node"
    return _why_not_there(facts, facts.replica(row, number), node)


def _why_unplaced(facts: Facts, row: ComponentRow) -> str:
    """Why no node takes a replica, "" if one does."""
    pool = row.spec.labels.get(POOL, "")
    if _has_no_node_yet(facts, pool):
        return f"waits for a place: pool {pool} has no node yet"
    return why_unplaced(demand_of(facts, row), hosts_of(facts), facts.load)


def _has_no_node_yet(facts: Facts, pool: str) -> bool:
    """Whether a pool is looked after, whose engine has no worker: one may come any time."""
    looks = facts.components.get(pool)
    if looks is None or not looks.running or looks.spec.owner != POOL_OWNER:
        return False
    return not any(node.labels.get(POOL) == pool for node in facts.nodes.values())


def _why_not_there(facts: Facts, before: ReplicaStatus | None, node: str) -> str:
    """Why a replica does not run on its node, given what is known of it."""
    if node not in facts.nodes or not facts.nodes[node].alive:
        return f"node {node} is lost"
    if before is None:
        return "was never started"
    if before.node == node:
        return "is being replaced"
    waits = ", once it has ended there" if facts.may_run_on(before) else ""
    return f"moves from node {before.node} to node {node}{waits}"


def _stray(facts: Facts, stray: Stray) -> str:
    node = facts.nodes.get(stray.node)
    if node is not None and node.alive:
        return f"{stray.name} runs on node {stray.node} too, and is to stop there"
    return f"{stray.name} may run on node {stray.node} too, which is lost"


def _leftover(name: str, reports: Sequence[ReplicaStatus]) -> list[ComponentStatus]:
    """Processes of a component that is no longer declared, until they have ended."""
    living = [report for report in reports if report.state in LIVING]
    if not living:
        return []
    reason = f"is no longer wanted: {len(living)} not over yet"
    return [
        ComponentStatus(
            name=name,
            role="process",
            desired=0,
            actual=0,
            state="stopping",
            reason=reason,
            conditions=[reason],
            replicas=living,
        )
    ]
