"""What follows when another version of a cluster file is in force."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from palm.cli.commands.status import as_values, show
from palm.cli.failures import FAILED, OK, CommandFailed
from palm.cli.readiness import await_complete, incomplete, is_complete
from palm.clusters import Cluster, Status
from palm.registry_api.client import Refused
from palm.registry_api.schema import ConfigApplied
from palm.spec.diff import Diff

__all__ = ["conflict_told", "converge", "report_nothing_done"]


@contextmanager
def conflict_told(cluster: Cluster) -> Iterator[None]:
    """Say what to do where somebody else was faster."""
    try:
        yield
    except Refused as error:
        if error.code != "version":
            raise
        version, by = error.data.get("version", 0), error.data.get("by", "")
        who = f" by {by}" if by else ""
        raise CommandFailed(
            f"nothing was changed: version {version} was put in force{who} since you looked"
            f" (see palm history {version} and palm diff, then try again)",
            FAILED,
        ) from error


def report_nothing_done(cluster: Cluster, diff: Diff, *, as_json: bool) -> int:
    """End a command that was only to show what it would do."""
    if as_json:
        print(json.dumps({"cluster": cluster.name, "diff": msgspec.to_builtins(diff)}))
    return OK


def converge(cluster: Cluster, applied: ConfigApplied, arguments: Namespace) -> int:
    """Say which version is in force, and wait until all that it wants is ready."""
    if not arguments.json:
        again = "" if applied.changed else " again"
        print(f"version {applied.version} is in force{again}", flush=True)
    status = None if arguments.no_wait else await_complete(cluster, arguments.timeout)
    if arguments.json:
        print(json.dumps(_values(cluster, applied, status)))
    elif status is not None:
        show(status, as_json=False)
    if status is not None and not is_complete(status):
        raise incomplete(cluster, status)
    return OK


def _values(cluster: Cluster, applied: ConfigApplied, status: Status | None) -> dict[str, Any]:
    return {
        "cluster": cluster.name,
        "version": applied.version,
        "changed": applied.changed,
        "diff": msgspec.to_builtins(applied.diff),
        "status": None if status is None else as_values(status),
    }
