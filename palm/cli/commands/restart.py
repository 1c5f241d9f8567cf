"""``palm restart``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.attach import attached
from palm.cli.background import wait_ready
from palm.cli.failures import OK, no_such_name
from palm.runtime.folders import Folders

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Replace the processes of a component by new ones, and wait until they are ready."""
    with attached() as cluster:
        if cluster is None or arguments.name not in cluster:
            known = [] if cluster is None else [each.name for each in cluster]
            raise no_such_name(arguments.name, known, Folders.find().cluster)
        cluster.restart(arguments.name)
        component = cluster[arguments.name]
        wait_ready(component, arguments.timeout)
        if arguments.json:
            print(json.dumps({"name": component.name, "pids": component.pids}))
        else:
            print(f"{component.name} is ready (pid {', '.join(map(str, component.pids))})")
    return OK
