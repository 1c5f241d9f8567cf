"""``palm down``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.attach import attached
from palm.cli.failures import OK
from palm.runtime.folders import Folders

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """End the cluster: its components, its runner, and its registry if it was the last."""
    name = Folders.find().cluster
    with attached() as cluster:
        found = [] if cluster is None else [each.name for each in cluster.status().components
                                            if each.own and each.desired]  # fmt: skip
        if cluster is not None:
            cluster.down()
    if arguments.json:
        print(json.dumps({"cluster": name, "ended": cluster is not None, "stopped": found}))
    elif cluster is None:
        print(f"no cluster {name!r} runs")
    else:
        print(f"the cluster {name!r} has ended" + (f": {', '.join(found)}" if found else ""))
    return OK
