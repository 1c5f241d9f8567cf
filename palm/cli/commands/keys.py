"""``palm keys``."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from palm.cli.attach import known
from palm.cli.background import wait_ready
from palm.cli.failures import OK
from palm.clusters import Cluster
from palm.errors import ConfigError
from palm.runner.sharedkeys import keyring_of, shown
from palm.spec.component import SINGLE_ROLES
from palm.spec.duration import parse_duration
from palm.transport.rotation import rotated

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Give a cluster new keys while it runs, and let those of before be good for a while."""
    overlap = parse_duration(arguments.overlap)
    if overlap is None:
        raise ConfigError("keys that were replaced end at some time", key="--overlap", hint="1h")
    with known() as cluster:
        _change(cluster, time.time() + overlap)
        if not arguments.json:  # said before anything can fail
            end = f"end in {arguments.overlap}" if overlap else "are good for nothing now"
            print(f"{cluster.name} has new keys; those of before {end}")
        restarted = [] if arguments.no_restart else _restart(cluster, arguments.timeout)
    if arguments.json:
        told = {"cluster": cluster.name, "restarted": restarted, "overlap": overlap}
        print(json.dumps(told))
    elif restarted:
        print(f"restarted: {', '.join(restarted)}")
    return OK


def _change(cluster: Cluster, until: float) -> None:
    """Have the registry hand out new keys, and those of before until then."""
    keys = keyring_of(cluster.registry.cluster_keys(cluster.name))
    cluster.registry.change_keys(cluster.name, shown(rotated(keys, until)))


def _restart(cluster: Cluster, timeout: float) -> list[str]:
    """Restart what has the keys of before, servers first: each once the one before is ready."""
    status = cluster.registry.cluster_status(cluster.name)
    wanted = [each for each in status.components if each.desired and each.role != "process"]
    wanted.sort(key=lambda each: each.role not in SINGLE_ROLES)
    for component in wanted:
        cluster.restart(component.name)
        wait_ready(cluster[component.name], timeout)
    return [each.name for each in wanted]
