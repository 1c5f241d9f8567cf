"""``palm gc``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from palm.cli.attach import past
from palm.cli.failures import FAILED, OK
from palm.cli.tables import show_table
from palm.clusters import Leftover, Leftovers
from palm.clusters.states import cluster_states
from palm.runtime.folders import Folders
from palm.spec.size import readable_size

__all__ = ["run"]

_HEAD = ("KIND", "CLUSTER", "NAME", "SIZE", "WHY")


@dataclass(frozen=True)
class _Outcome:
    """What became of all that was found; ``problem`` is why no registry was asked."""

    dry_run: bool
    removed: Sequence[Leftover]
    kept: Sequence[Leftover]
    not_stored: Sequence[Leftover]
    problem: str

    @property
    def size(self) -> int:
        """Bytes that were removed."""
        return sum(each.size for each in self.removed)


def run(arguments: Namespace) -> int:
    """Remove what dead processes left, or show it."""
    folders = Folders.find()
    past()  # only a registry knows which clusters have ended
    known = cluster_states(folders)
    leftovers = Leftovers(folders, known.state_of, known.url)
    found = leftovers.find([arguments.cluster] if arguments.cluster else None)
    removed, kept = (found, []) if arguments.dry_run else leftovers.clear(found)
    outcome = _Outcome(arguments.dry_run, removed, kept, leftovers.unstored, known.problem)
    if arguments.json:
        print(json.dumps({**asdict(outcome), "bytes": outcome.size}, indent=2))
    else:
        _print(outcome)
    return FAILED if any(each.kind == "process" for each in kept) else OK


def _print(outcome: _Outcome) -> None:
    if outcome.removed:
        show_table(_HEAD, [_row(each) for each in outcome.removed], right=("SIZE",))
        did = "would be removed" if outcome.dry_run else "removed"
        count = len(outcome.removed)
        things = "1 thing" if count == 1 else f"{count} things"
        print(f"{did}: {things}, {readable_size(outcome.size)}")
    else:
        print("nothing is left of the dead")
    for each in outcome.kept:
        print(f"kept, it is in use again or cannot be removed: {each.kind} {each.name}")
    if outcome.not_stored:
        left = readable_size(sum(each.size for each in outcome.not_stored))
        of = f"{len(outcome.not_stored)} instances"
        print(f"kept: output of {of}, {left}, that no registry has stored")
    if outcome.problem:
        print(f"{outcome.problem}: what belongs to clusters that may go on was left alone")


def _row(each: Leftover) -> tuple[str, ...]:
    name = f"{each.name} (pid {each.pid})" if each.pid else each.name
    return (each.kind, each.cluster, name, readable_size(each.size) if each.path else "", each.why)
