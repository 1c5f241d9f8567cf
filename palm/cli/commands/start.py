"""``palm start``."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from palm.cli.attach import check_component, known
from palm.cli.background import wait_ready
from palm.cli.failures import FAILED, OK, CommandFailed
from palm.clusters import Cluster

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Start components that were stopped, as they were, and wait until all are ready."""
    names = list(dict.fromkeys(arguments.names))
    with known() as cluster:
        for name in names:  # before anything is started
            check_component(cluster, name)
        deadline = time.monotonic() + arguments.timeout
        for name in names:
            cluster.resume(name)
            _check_wanted(cluster, name)
        for name in names if not arguments.no_wait else ():
            wait_ready(cluster[name], max(0.0, deadline - time.monotonic()))
        _report(cluster, names, as_json=arguments.json)
    return OK


def _check_wanted(cluster: Cluster, name: str) -> None:
    if not cluster[name].replicas:
        hint = f"palm scale {name} N"
        raise CommandFailed(f"{name} is to have no process ({hint} says how many)", FAILED)


def _report(cluster: Cluster, names: list[str], *, as_json: bool) -> None:
    components = [cluster[name] for name in names]
    if as_json:
        found = [
            {
                "name": each.name,
                "state": each.state,
                "kept": each.change.kind == "kept",
                "pids": list(each.pids),
            }
            for each in components
        ]
        print(json.dumps({"cluster": cluster.name, "components": found}))
        return
    for each in components:
        pids = f" (pid {', '.join(map(str, each.pids))})" if each.pids else ""
        did = "runs already" if each.change.kind == "kept" else f"is {each.state}"
        print(f"{each.name} {did}{pids}")
