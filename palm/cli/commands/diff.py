"""``palm diff``."""

from __future__ import annotations

import json
from argparse import Namespace

import msgspec

from palm.cli.attach import known
from palm.cli.clusterfiles import (
    chosen_cluster,
    parsed,
    read_file,
    show_diff,
    versions_told,
)
from palm.cli.failures import OK, CommandFailed
from palm.clusters import Cluster, ClusterFile
from palm.errors import ConfigError, PalmError
from palm.registry_api.schema import ConfigDiff
from palm.spec.text import printable

__all__ = ["run"]

#: Exit codes, as those of ``diff``: there is a difference, and: it cannot be told.
DIFFERS, TROUBLE = 1, 2


def run(arguments: Namespace) -> int:
    """Show what a file, or a version, would change; the exit code says whether anything."""
    try:
        return _run(arguments)
    except CommandFailed as error:
        raise CommandFailed(str(error), TROUBLE if error.code == DIFFERS else error.code) from error
    except PalmError as error:
        raise CommandFailed(str(error), TROUBLE) from error


def _run(arguments: Namespace) -> int:
    what = arguments.what
    if what is None or what.isdecimal():
        with known() as cluster:
            found = _of_versions(cluster, what, arguments.other)
            return _show(cluster, found, arguments)
    if arguments.other is not None:
        hint = "palm diff FILE, palm diff N, or palm diff N M"
        raise ConfigError("a file is compared with what runs", hint=hint)
    file = read_file(what)
    with known(chosen_cluster(parsed(file)), f"palm up {what}") as cluster:
        return _show(cluster, _of_file(cluster, file), arguments)


def _of_file(cluster: Cluster, file: ClusterFile) -> ConfigDiff:
    return cluster.compare(file)


def _of_versions(cluster: Cluster, first: str | None, second: int | None) -> ConfigDiff:
    version = None if first is None else int(first)
    compare = cluster.registry.diff_config
    with versions_told():
        if second is None:
            return compare(cluster.name, version=version)
        return compare(cluster.name, version=second, against=version)


def _show(cluster: Cluster, found: ConfigDiff, arguments: Namespace) -> int:
    differs = bool(found.diff) or (arguments.unified and bool(found.unified))
    if arguments.json:
        values = {"cluster": cluster.name, "differs": differs, "before": found.before}
        values |= {"after": found.after, "diff": msgspec.to_builtins(found.diff)}
        print(json.dumps(values | {"unified": found.unified}))
    else:
        show_diff(found.diff)
        if arguments.unified and found.unified:
            print(f"\n{printable(found.unified)}", end="")
    return DIFFERS if differs else OK
