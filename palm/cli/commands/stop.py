"""``palm stop``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from palm.cli.attach import attached
from palm.cli.failures import FAILED, OK, CommandFailed, no_such_name
from palm.clusters import Cluster, ComponentStatus
from palm.runner.ending import end_processes
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.spec.component import SINGLE_ROLES

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """End components by name, or all of the cluster, and say what was ended."""
    folders = Folders.find()
    with attached() as cluster:
        if cluster is None:
            ended = _stop_in_shells(folders, arguments)
        else:
            ended = _stop(cluster, arguments)
    if arguments.json:
        print(json.dumps({"cluster": folders.cluster, "stopped": ended}))
    elif ended:
        print(f"stopped {', '.join(ended)}")
    else:
        print(f"nothing runs in cluster {folders.cluster!r}")
    return OK


def _stop(cluster: Cluster, arguments: Namespace) -> list[str]:
    components = cluster.status().components
    known = {each.name for each in components}
    for name in arguments.names:
        if name not in known and name not in cluster.records():
            raise no_such_name(name, known, cluster.name)
    running = [each.name for each in _workers_first(components) if each.desired or not each.own]
    chosen = running if arguments.all else list(dict.fromkeys(arguments.names))
    roles = {each.name: each.role for each in components}
    # Workers first: their masters take what they give back.
    for single in (False, True):
        names = [name for name in chosen if (roles.get(name) in SINGLE_ROLES) is single]
        cluster.stop(*names, grace=arguments.grace)
    return sorted(chosen)


def _workers_first(components: Sequence[ComponentStatus]) -> list[ComponentStatus]:
    return sorted(components, key=lambda each: each.role in SINGLE_ROLES)


def _stop_in_shells(folders: Folders, arguments: Namespace) -> list[str]:
    """End what was started in shells, where no registry has anything to do with it."""
    live = {record.name: record for record in live_records(folders)}
    for name in arguments.names:
        if name not in live:
            raise no_such_name(name, live, folders.cluster)
    chosen = list(live) if arguments.all else list(dict.fromkeys(arguments.names))
    records = [live[name] for name in chosen]
    left = end_processes([r for r in records if r.role not in SINGLE_ROLES], arguments.grace)
    left += end_processes([r for r in records if r.role in SINGLE_ROLES], arguments.grace)
    if left:
        names = ", ".join(f"{record.name} (pid {record.pid})" for record in left)
        raise CommandFailed(f"did not end, even after SIGKILL: {names}", FAILED)
    return chosen
