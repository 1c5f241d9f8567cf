"""``palm gc``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict

from palm.cli.attach import past
from palm.cli.failures import FAILED, OK
from palm.cli.tables import show_table
from palm.clusters import Leftover, Leftovers
from palm.clusters.states import cluster_states
from palm.runtime.folders import Folders
from palm.spec.size import readable_size

__all__ = ["run"]

_HEAD = ("KIND", "CLUSTER", "NAME", "SIZE", "WHY")


def run(arguments: Namespace) -> int:
    """Remove what dead processes left, or show it."""
    folders = Folders.find()
    past()  # only a registry knows which clusters have ended
    known = cluster_states(folders)
    leftovers = Leftovers(folders, known.state_of, known.url)
    found = leftovers.find([arguments.cluster] if arguments.cluster else None)
    gone, kept = (found, []) if arguments.dry_run else leftovers.clear(found)
    show: Callable[[Namespace, Sequence[Leftover], Sequence[Leftover], Sequence[Leftover]], None]
    show = _print_json if arguments.json else _print
    show(arguments, gone, kept, leftovers.unstored)
    if known.problem and not arguments.json:
        print(f"{known.problem}: what belongs to clusters that may go on was left alone")
    return FAILED if any(each.kind == "process" for each in kept) else OK


def _print_json(
    arguments: Namespace,
    gone: Sequence[Leftover],
    kept: Sequence[Leftover],
    unstored: Sequence[Leftover],
) -> None:
    found = {
        "dry_run": arguments.dry_run,
        "removed": [asdict(each) for each in gone],
        "kept": [asdict(each) for each in kept],
        "not_stored": [asdict(each) for each in unstored],
        "bytes": sum(each.size for each in gone),
    }
    print(json.dumps(found, indent=2))


def _print(
    arguments: Namespace,
    gone: Sequence[Leftover],
    kept: Sequence[Leftover],
    unstored: Sequence[Leftover],
) -> None:
    if gone:
        show_table(_HEAD, [_row(each) for each in gone], right=("SIZE",))
    did = "would be removed" if arguments.dry_run else "removed"
    things = "1 thing" if len(gone) == 1 else f"{len(gone)} things"
    total = readable_size(sum(each.size for each in gone))
    print(f"{did}: {things}, {total}" if gone else "nothing is left of the dead")
    for each in kept:
        print(f"kept, it is in use again or cannot be removed: {each.kind} {each.name}")
    if unstored:
        left = readable_size(sum(each.size for each in unstored))
        print(f"kept: output of {len(unstored)} processes, {left}, that no registry has stored")


def _row(each: Leftover) -> tuple[str, ...]:
    name = f"{each.name} (pid {each.pid})" if each.pid else each.name
    return (each.kind, each.cluster, name, readable_size(each.size) if each.path else "", each.why)
