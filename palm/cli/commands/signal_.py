"""``palm signal``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.attach import attached
from palm.cli.failures import OK, no_such_name
from palm.runtime.folders import Folders

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Send a signal to the processes of a component, or to one of them."""
    with attached() as cluster:
        if cluster is None or arguments.name not in cluster:
            known = [] if cluster is None else [each.name for each in cluster]
            raise no_such_name(arguments.name, known, Folders.find().cluster)
        processes = cluster.signal(arguments.name, arguments.signal, arguments.replica)
        if arguments.json:
            print(json.dumps({"signal": arguments.signal, "processes": processes}))
        else:
            print(f"{arguments.signal} is sent to {', '.join(processes)}")
    return OK
