"""``palm scale``."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from palm.cli.attach import check_component, known
from palm.cli.background import wait_ready
from palm.cli.failures import NOT_READY, OK, CommandFailed
from palm.clusters import Cluster
from palm.clusters.status import ComponentStatus

__all__ = ["run"]

_POLL = 0.02
#: States of a process that is gone.
_GONE = ("stopped", "failed")


def run(arguments: Namespace) -> int:
    """Run another number of processes of a component, and wait until they are ready or gone."""
    with known() as cluster:
        check_component(cluster, arguments.name)
        before = cluster.component_status(arguments.name)
        cluster.scale(arguments.name, arguments.replicas)
        if not arguments.no_wait:
            _wait(cluster, arguments)
        _report(before, cluster.component_status(arguments.name), as_json=arguments.json)
    return OK


def _wait(cluster: Cluster, arguments: Namespace) -> None:
    deadline = time.monotonic() + arguments.timeout
    if arguments.replicas:
        wait_ready(cluster[arguments.name], arguments.timeout)
    while left := _too_many(cluster.component_status(arguments.name), arguments.replicas):
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"{', '.join(left)} did not end within {arguments.timeout:g} s", NOT_READY
            )
        time.sleep(_POLL)


def _too_many(component: ComponentStatus, wanted: int) -> list[str]:
    """Processes that are to end and have not, if there are more than wanted."""
    living = [each.name for each in component.processes if each.state not in _GONE]
    return living[wanted:]


def _report(before: ComponentStatus, now: ComponentStatus, *, as_json: bool) -> None:
    if as_json:
        found = {"name": now.name, "before": before.desired, "desired": now.desired}
        pids = [each.pid for each in now.processes if each.pid is not None]
        print(json.dumps({**found, "ready": now.ready, "pids": pids}))
    elif before.desired == now.desired:
        print(f"{now.name} has {_counted(now.desired)}, as before")
    else:
        print(f"{now.name}: {before.desired} -> {_counted(now.desired)}, {now.ready} ready")


def _counted(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"
