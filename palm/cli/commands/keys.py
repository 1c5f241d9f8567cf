"""``palm keys``."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from palm.cli.attach import known
from palm.cli.failures import NOT_READY, OK, CommandFailed
from palm.clusters import Cluster
from palm.errors import ConfigError
from palm.runner.sharedkeys import keyring_of, shown
from palm.spec.component import SINGLE_ROLES
from palm.spec.duration import parse_duration
from palm.transport.rotation import rotated

__all__ = ["run"]

_POLL = 0.1


def run(arguments: Namespace) -> int:
    """Give a cluster new keys while it runs, and let those of before be good for a while."""
    overlap = parse_duration(arguments.overlap)
    if overlap is None:
        raise ConfigError("keys that were replaced end at some time", key="--overlap", hint="1h")
    with known() as cluster:
        _change(cluster, time.time() + overlap)
        restarted = [] if arguments.no_restart else _restart(cluster, arguments.timeout)
    told = {"cluster": cluster.name, "restarted": restarted, "overlap": overlap}
    names = f"; restarted: {', '.join(restarted)}" if restarted else ""
    line = f"{cluster.name} has new keys; those of before end in {arguments.overlap}{names}"
    print(json.dumps(told) if arguments.json else line)
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
        cluster.registry.restart(cluster.name, component.name)
        _wait(cluster, component.name, timeout)
    return [each.name for each in wanted]


def _wait(cluster: Cluster, name: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        component = cluster.registry.component(cluster.name, name)
        ready = [r for r in component.replicas
                 if r.state == "ready" and r.generation == component.generation]  # fmt: skip
        if len(ready) >= component.desired:
            return
        if time.monotonic() > deadline:
            text = f"{name} is not ready again after {timeout:g} s; the keys are changed"
            raise CommandFailed(text, NOT_READY)
        time.sleep(_POLL)
