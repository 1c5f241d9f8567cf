"""``palm rollback``."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.attach import known
from palm.cli.clusterfiles import show_diff, versions_told
from palm.cli.convergence import conflict_told, converge, report_nothing_done
from palm.cli.failures import FAILED, CommandFailed
from palm.clusters import Cluster

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Put an older version of the cluster file in force, and wait until all of it is ready."""
    with known() as cluster:
        version = arguments.version if arguments.version is not None else _before(cluster)
        with versions_told():
            found = cluster.registry.diff_config(cluster.name, version=version)
        if not arguments.json:
            print(f"back to version {version}, from {found.before}:")
            show_diff(found.diff)
        if arguments.dry_run:
            return report_nothing_done(cluster, found.diff, as_json=arguments.json)
        with conflict_told(cluster):
            applied = cluster.rollback(version, expected_version=found.before, note=arguments.note)
        return converge(cluster, applied, arguments)


def _before(cluster: Cluster) -> int:
    found = cluster.registry.config_versions(cluster.name, limit=2)
    if len(found) < 2:
        which = f"version {found[0].version} is the only one" if found else "there is no version"
        raise CommandFailed(f"there is nothing to go back to: {which}", FAILED)
    return found[1].version
