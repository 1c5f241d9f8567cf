"""What a node is to run, and what it knows of each process that it runs. No I/O."""

from __future__ import annotations

import logging

from palm.registry_api.schema import Assignments, ReplicaStatus
from palm.spec.component import ComponentSpec
from palm.spec.plan import Present, Wanted
from palm.spec.process import ProcessSpec, ProcessState, State

__all__ = ["NodePlan", "NodeProcess", "stand_in", "unstarted"]

_log = logging.getLogger("palm.runner")


class NodeProcess:
    """A process as the node knows it; ``failure`` is why it could not be started at all."""

    def __init__(
        self, spec: ProcessSpec, instance: str = "", *, failure: ReplicaStatus | None = None
    ) -> None:
        self.spec = spec
        self.instance = instance
        self.failure = failure
        self.asked = False
        self.grace: float | None = None
        #: The last of its error output, from an end until it is ready again.
        self.last_lines = ""
        #: Whether it is still to be compared with what is wanted.
        self.is_adopted = False
        #: Whether the registry does not know yet how it is.
        self.is_news = True

    def ask(self, grace: float) -> None:
        """Note that it was told to stop."""
        self.asked, self.grace = True, grace

    def present(self, state: ProcessState | None) -> Present:
        """How it is, for `palm.spec.plan.steps`."""
        now = "failed" if state is None else state.state
        return Present(
            self.spec.component,
            self.spec.generation,
            now,
            self.asked,
            self.grace,
            self.spec.sockets,
            self.spec.role,
            self.spec.needs,
        )


class NodePlan:
    """What the registry wants of this node."""

    def __init__(self) -> None:
        self.specs: dict[str, ComponentSpec] = {}
        #: Seconds to stop in, for components that are to stop as a whole.
        self.graces: dict[str, float] = {}
        self.wanted: dict[str, Wanted] = {}
        #: Whether anything is known at all.
        self.is_known = False
        #: The cluster is at its end; the registry does not know us any more; another runner is
        #: this node now; we go by ourselves.
        self.ending = self.dismissed = self.replaced = self.leaving = False

    def take(self, assignments: Assignments) -> None:
        """Want what the registry assigned; who leaves takes nothing more."""
        if self.leaving and not assignments.stop:
            return
        self.is_known, self.ending = True, assignments.stop
        found = assignments.components
        self.specs = {each.spec.name: each.spec for each in found}
        self.graces = {each.spec.name: each.spec.grace for each in found if not each.numbers}
        self.wanted = {
            each.spec.replica_name(number): Wanted(
                each.spec.name, number, each.spec.generation, keep=number in each.keep
            )
            for each in found
            for number in each.numbers
        }

    def dismiss(self, reason: str, stop: bool) -> None:
        """Be no node any more."""
        _log.warning("%s", reason)
        if stop:
            self.take(Assignments(generation=-1, stop=True))
        self.dismissed, self.replaced = stop, not stop

    def leave(self, reason: str) -> None:
        """End all that runs, to be no node any more after that."""
        _log.info("leaves the cluster: %s", reason)
        self.take(Assignments(generation=-1, stop=True))
        self.leaving = True


def unstarted(
    spec: ComponentSpec, wanted: Wanted, state: State, reason: str, now: float
) -> ReplicaStatus:
    """The status of a process that could not be started."""
    return ReplicaStatus(
        name=spec.replica_name(wanted.number),
        component=spec.name,
        replica=wanted.number,
        generation=spec.generation,
        state=state,
        reason=reason,
        updated=now,
    )


def stand_in(failure: ReplicaStatus, wanted: Wanted) -> ProcessSpec:
    """Stands for a process that could not be described."""
    return ProcessSpec(
        failure.name,
        ("false",),
        component=failure.component,
        replica=failure.replica,
        generation=failure.generation,
        sockets=wanted.sockets or {},
    )
