"""``palm apply``."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.attach import known
from palm.cli.clusterfiles import chosen_cluster, parsed, read_file, show_diff
from palm.cli.convergence import conflict_told, converge, report_nothing_done

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Put a cluster file in force: show what that changes, do it, and wait until all is ready."""
    file = read_file(arguments.file)
    name = chosen_cluster(parsed(file))
    with known(name, f"palm up {arguments.file}") as cluster:
        found = cluster.compare(file)
        if not arguments.json:
            show_diff(found.diff)
        if arguments.dry_run:
            return report_nothing_done(cluster, found.diff, as_json=arguments.json)
        with conflict_told(cluster):
            # Only what was shown is done: not on top of what somebody else did meanwhile.
            applied = cluster.put(file, expected_version=found.before, note=arguments.note)
        return converge(cluster, applied, arguments)
