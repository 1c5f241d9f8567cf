"""``palm history``."""

from __future__ import annotations

import json
import time
from argparse import Namespace

import msgspec

from palm.cli.attach import known, past
from palm.cli.clusterfiles import summary, versions_told
from palm.cli.failures import OK
from palm.cli.tables import show_table
from palm.clusters import Cluster
from palm.errors import ConfigError
from palm.registry_api.schema import ConfigVersion
from palm.spec.text import printable

__all__ = ["run"]

_HEAD = ("VERSION", "TIME", "BY", "FILE", "CHANGES", "NOTE")


def run(arguments: Namespace) -> int:
    """Show the versions of the cluster file, or the text of one; also when all has ended."""
    past()
    with known() as cluster:
        if arguments.version is not None:
            return _show_one(cluster, arguments.version, as_json=arguments.json)
        found = cluster.registry.config_versions(cluster.name, limit=arguments.n + 1)
        rows = [(each, _changes(cluster, each, found)) for each in found[: arguments.n]]
        if arguments.json:
            versions = [{**msgspec.to_builtins(each), "changes": text} for each, text in rows]
            print(json.dumps({"cluster": cluster.name, "versions": versions}))
        elif rows:
            show_table(_HEAD, [_row(*each) for each in rows], ("VERSION",))
        else:
            print(f"no cluster file was in force in cluster {cluster.name!r}")
    return OK


def _show_one(cluster: Cluster, version: int, *, as_json: bool) -> int:
    with versions_told():
        file = cluster.registry.config_version(cluster.name, version)
    # As it is: it is a file to be kept, not something to be shown.
    print(json.dumps(msgspec.to_builtins(file)) if as_json else file.text, end="")
    if as_json:
        print()
    return OK


def _changes(cluster: Cluster, version: ConfigVersion, found: list[ConfigVersion]) -> str:
    """What a version was different in from the one before it, of those that were found."""
    before = next((each for each in found if each.version == version.version - 1), None)
    if before is None:
        return "the first" if version.version == 1 else ""
    try:
        diff = cluster.registry.diff_config(
            cluster.name, version=version.version, against=before.version
        ).diff
    except ConfigError:  # written for another palm, and not to be read any more
        return "?"
    return summary(diff) or "no component"


def _row(version: ConfigVersion, changes: str) -> tuple[str, ...]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.created))
    mark = "* " if version.in_force else ""
    cells = (version.by, version.file, changes, version.note)
    return (f"{mark}{version.version}", at, *map(printable, cells))
