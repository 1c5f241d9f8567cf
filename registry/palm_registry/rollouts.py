"""How far a new version of a component has got: the rules of it, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from palm.registry_api.schema import ReplicaStatus
from palm.spec.rollout import Version, keeping
from palm_registry.facts import LIVING, Facts, is_well
from palm_registry.store.clusters import ComponentRow

__all__ = ["RolloutState", "rollout_of"]


@dataclass(frozen=True, slots=True)
class RolloutState:
    """``keep`` are the numbers of those that go on in the version before until their turn.

    ``failed`` are those of the new version that do not become ready.
    """

    desired: int
    keep: Collection[int] = ()
    failed: Sequence[ReplicaStatus] = ()

    @property
    def halted(self) -> bool:
        """Whether some wait for others that failed."""
        return bool(self.keep and self.failed)

    def __str__(self) -> str:
        if not self.halted:
            return ""
        still = f"{len(self.keep)} of {self.desired} still run the version before"
        first = self.failed[0]
        return f"rollout halted: new version of {first.name} {_said(first)}; {still}"

    def why(self, number: int) -> str:
        """Why a replica is not of the new version yet, "" if that has no such reason."""
        if number not in self.keep:
            return ""
        return "runs the version before, " + (
            "as the rollout is halted" if self.failed else "until its turn"
        )


def rollout_of(facts: Facts, row: ComponentRow) -> RolloutState:
    """Return how far a component is on its way to the version that is wanted."""
    if row.spec.rollout != "rolling" or row.desired < 2:
        return RolloutState(row.desired)
    replicas, failed = {}, []
    for number in range(row.desired):
        found = facts.replica(row, number)
        # One that moves elsewhere is replaced there, whichever its version is.
        if found is None or facts.placements.get((row.spec.name, number)) != found.node:
            continue
        new = found.generation == row.spec.generation
        ready = is_well(found) if new else found.state == "ready"
        fails = found.state in ("failed", "backing-off")
        if new or found.state in LIVING:
            replicas[number] = Version(new, ready, fails)
        if new and fails:
            failed.append(found)
    return RolloutState(row.desired, keeping(replicas, row.desired), failed)


def _said(status: ReplicaStatus) -> str:
    return status.reason or f"is {status.state}"
