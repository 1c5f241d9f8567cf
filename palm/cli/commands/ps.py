"""``palm ps``."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from dataclasses import asdict

from palm.cli.attach import present
from palm.cli.failures import OK
from palm.cli.tables import duration, show_table
from palm.clusters import ProcessStatus

__all__ = ["run"]

_HEAD = ("PROCESS", "STATE", "PID", "UP", "RESTARTS", "NODE", "REASON")


def run(arguments: Namespace) -> int:
    """Show the processes of the cluster."""
    status = present()
    processes = [
        (component, process) for component in status.components for process in component.processes
    ]
    if arguments.json:
        found = [{"component": component.name, **asdict(p)} for component, p in processes]
        print(json.dumps({"cluster": status.cluster, "processes": found}, indent=2))
    elif not processes:
        print(f"nothing runs in cluster {status.cluster!r}")
    else:
        show_table(_HEAD, [_row(process) for _, process in processes], ("PID", "UP", "RESTARTS"))
    return OK


def _row(process: ProcessStatus) -> tuple[str, ...]:
    up = duration(time.time() - process.started) if process.started is not None else ""
    return (
        process.name,
        process.state,
        str(process.pid or ""),
        up,
        str(process.restarts),
        process.node,
        process.reason,
    )
