"""Waiting until what a cluster file wants is ready, and saying what is missing and why."""

from __future__ import annotations

import time

from palm.cli.failures import FAILED, NOT_READY, CommandFailed
from palm.cli.progress import progress
from palm.clusters import Cluster, Status
from palm.clusters.status import ComponentStatus

__all__ = ["await_complete", "incomplete", "is_complete"]

_POLL = 0.05


def await_complete(cluster: Cluster, timeout: float) -> Status:
    """Wait until all is ready, or something has failed for good, and tell how far it is.

    What a notebook or a shell started does not count: it is not in the file.
    """
    deadline = time.monotonic() + timeout
    status = cluster.status()
    with progress(lambda: _progress(status)):
        while not (is_complete(status) or _has_failed(status) or time.monotonic() > deadline):
            time.sleep(_POLL)
            status = cluster.status()
    return status


def is_complete(status: Status) -> bool:
    """Whether all that the cluster's file wants is ready."""
    return status.state == "alive" and not any(
        each.missing or each.state == "stopping" for each in _declared(status)
    )


def incomplete(cluster: Cluster, status: Status) -> CommandFailed:
    """What is said of a cluster that did not become ready: why, as far as anybody wrote it."""
    text = [f"the cluster {cluster.name!r} is not complete"]
    if status.state == "alive":
        for name, stderr in cluster.last_errors().items():
            said = f"wrote last:\n\n{stderr}\n" if stderr else "wrote nothing to stderr"
            text.append(f"{name} {said}")
    code = FAILED if _has_failed(status) else NOT_READY
    return CommandFailed("\n".join(text), code)


def _progress(status: Status) -> str:
    wanted = sum(each.desired for each in _declared(status))
    missing = [each for each in _declared(status) if each.missing]
    ready = wanted - sum(each.missing for each in missing)
    names = ", ".join(f"{each.name} ({each.reason or each.state})" for each in missing)
    return f"{ready} of {wanted} processes ready" + (f", waiting for {names}" if names else "")


def _has_failed(status: Status) -> bool:
    # Of the component, not of its processes: what failed may be about to be replaced.
    return any(each.desired and each.state == "failed" for each in _declared(status))


def _declared(status: Status) -> list[ComponentStatus]:
    return [each for each in status.components if each.own and not each.owner]
