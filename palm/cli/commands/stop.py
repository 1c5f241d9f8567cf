"""``palm stop``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm.cli.failures import FAILED, OK, CommandFailed, no_such_name
from palm.runner.ending import end_processes
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, live_records

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """End components by name, or all of the cluster, and say what was ended."""
    folders = Folders.find()
    live = {record.name: record for record in live_records(folders)}
    for name in arguments.names:
        if name not in live:
            raise no_such_name(name, live, folders.cluster)
    chosen = list(live) if arguments.all else list(dict.fromkeys(arguments.names))
    left = _end([live[name] for name in chosen], arguments.grace)
    ended = [name for name in chosen if name not in {record.name for record in left}]
    _report(ended, folders.cluster, arguments.json)
    if left:
        names = ", ".join(f"{record.name} (pid {record.pid})" for record in left)
        raise CommandFailed(f"did not end, even after SIGKILL: {names}", FAILED)
    return OK


def _end(records: list[ComponentRecord], grace: float) -> list[ComponentRecord]:
    """Workers first: their masters take what they give back."""
    workers = [record for record in records if record.role == "worker"]
    others = [record for record in records if record.role != "worker"]
    return end_processes(workers, grace) + end_processes(others, grace)


def _report(ended: list[str], cluster: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cluster": cluster, "stopped": ended}))
    elif ended:
        print(f"stopped {', '.join(ended)}")
    else:
        print(f"nothing runs in cluster {cluster!r}")
