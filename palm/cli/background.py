"""``-d``: a component of the cluster, in the background, that outlives the shell."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence

from palm.cli.arguments import previous_names
from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.clusters import Cluster, Component, up
from palm.spec.names import nearest
from palm.spec.process import StartFailed

__all__ = ["start", "wait_ready"]


def start(
    role: str, name: str, target: str | None, args: Sequence[str], arguments: Namespace
) -> int:
    """Start a component, wait until it is ready, and leave it to the cluster."""
    # Who starts something from a shell expects it to be there until it is stopped.
    with up(hold=False, default_linger=None) as cluster:
        component = cluster.start(
            role, name, target, args=args, kernel=arguments.kernel, replace=arguments.replace
        )
        try:
            wait_ready(component, arguments.timeout)
        except BaseException:  # an interrupt, too
            if component.change.kind != "kept":
                component.stop(grace=1.0)
            if component.change.kind == "started":
                cluster.remove(name)
            raise
        _report(component, arguments.json)
        _tell_absent(cluster, previous_names(arguments))
    return OK


def _tell_absent(cluster: Cluster, previous: Sequence[str]) -> None:
    """Say which components do not run yet that it waits for: they may come in any order."""
    known = {each.name for each in cluster.status().components if each.desired or not each.own}
    for name in previous:
        if name not in known:
            meant = nearest(name, known)
            hint = f"; did you mean {meant}?" if meant else ""
            print(f"palm: it waits for {name}, which does not run{hint}", file=sys.stderr)


def wait_ready(component: Component, timeout: float) -> None:
    """Wait until a component is ready; say by the exit code whether it failed or is too slow."""
    try:
        component.wait_ready(timeout)
    except StartFailed as error:
        raise CommandFailed(str(error), NOT_READY if error.timed_out else FAILED) from error


def _report(component: Component, as_json: bool) -> None:
    status = component.status()
    pids = [process.pid for process in status.processes]
    kept = component.change.kind == "kept"
    if as_json:
        found = {"name": component.name, "role": component.role, "state": status.state}
        print(json.dumps({**found, "pid": component.pid, "pids": pids, "kept": kept}))
        return
    did = "runs already" if kept else "is ready"
    print(f"{component.name} {did} (pid {component.pid}); see palm logs {component.name}")
