"""``palm up``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.clusterfiles import chosen_cluster, parsed, read_file
from palm.cli.commands.installing import install, run_foreground, uninstall
from palm.cli.commands.status import show
from palm.cli.failures import OK
from palm.cli.foreground import log_level
from palm.cli.readiness import await_complete, incomplete, is_complete
from palm.clusters import Cluster, up

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Start the cluster, if need be; with a file, put it in force and wait for all of it."""
    log_level()  # before anything is started with it
    file = None if arguments.file is None else read_file(arguments.file)
    name = None if file is None else chosen_cluster(parsed(file))
    for way in ("install", "uninstall", "foreground"):
        if vars(arguments)[way]:
            return _WAYS[way](arguments, name)
    # Who starts a cluster from a shell expects it to be there until it is ended.
    with up(arguments.linger, cluster=name, hold=False, default_linger=None) as cluster:
        if file is None:
            _report(cluster, arguments.json)
            return OK
        diff = cluster.apply(file)
        if not arguments.json:
            print(f"{file.name}: {diff!r}", flush=True)
        status = await_complete(cluster, arguments.timeout)
        show(status, as_json=arguments.json)
        if not is_complete(status):
            raise incomplete(cluster, status)
    return OK


_WAYS = {"install": install, "uninstall": uninstall, "foreground": run_foreground}


def _report(cluster: Cluster, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cluster": cluster.name, "registry": cluster.registry.url}))
    else:
        print(f"the cluster {cluster.name!r} runs, its registry is {cluster.registry.url}")
