"""Which clusters go on, as far as anybody can be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from palm.clusters.leftovers import ClusterState
from palm.errors import PalmError
from palm.runner.registry import find_registry
from palm.runtime.folders import Folders

__all__ = ["KnownStates", "cluster_states"]


@dataclass(frozen=True)
class KnownStates:
    """What the registry at ``url`` said; ``problem`` is why it said nothing."""

    folders: Folders
    url: str = ""
    states: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    problem: str = ""

    def state_of(self, cluster: str) -> ClusterState:
        """Whether a cluster goes on."""
        state = self.states.get(cluster, "")
        if not state:
            # A cluster that was deleted. One that never had a runner from here may be known
            # to another registry, and is not ours to judge.
            was_here = (self.folders.state / cluster / "runner.log").exists()
            return "ended" if self.whole and was_here else "unknown"
        # Where one is ending, its runner sees to the rest; without a runner nobody does.
        return "alive" if state == "alive" else "ended"


def cluster_states(folders: Folders) -> KnownStates:
    """Ask the registry of ``PALM_REGISTRY``, else this user's if it runs."""
    url = os.environ.get("PALM_REGISTRY", "")
    try:
        client = find_registry(folders, url, retry=0.0)
        if client is None:
            return KnownStates(folders, problem="no registry runs")
        with client:
            states = {info.key: str(info.state) for info in client.cluster_list()}
            # With another token than its owner's one sees only part of what there is.
            whole = not url and not os.environ.get("PALM_TOKEN_FILE")
            return KnownStates(folders, client.url, states, whole)
    except PalmError as error:
        return KnownStates(folders, problem=str(error))
