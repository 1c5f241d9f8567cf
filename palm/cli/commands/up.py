"""``palm up``."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from pathlib import Path

from palm.cli.commands.status import show
from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.clusters import Cluster, Status, up
from palm.errors import ConfigError
from palm.spec.cluster import check_cluster

__all__ = ["run"]

_POLL = 0.05


def run(arguments: Namespace) -> int:
    """Start the cluster, if need be; with a file, put it in force and wait for all of it."""
    name = _cluster_name(arguments.file)
    # Who starts a cluster from a shell expects it to be there until it is ended.
    with up(arguments.linger, cluster=name, hold=False, default_linger=None) as cluster:
        if arguments.file is None:
            _report(cluster, arguments.json)
            return OK
        diff = cluster.apply(arguments.file)
        if not arguments.json:
            print(f"{arguments.file}: {diff!r}", flush=True)
        status = _wait(cluster, arguments.timeout)
        show(status, as_json=arguments.json)
        return _judge(status)


def _cluster_name(file: str | None) -> str | None:
    """The cluster that is meant: an option beats the environment, which beats the file."""
    if file is None or os.environ.get("PALM_CLUSTER"):
        return None
    try:
        text = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", key="FILE") from error
    config, errors = check_cluster(text, file, str(Path(file).absolute().parent))
    if config is None or errors:
        raise errors[0]
    return config.name


def _report(cluster: Cluster, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cluster": cluster.name, "registry": cluster.registry.url}))
    else:
        print(f"the cluster {cluster.name!r} runs, its registry is {cluster.registry.url}")


def _wait(cluster: Cluster, timeout: float) -> Status:
    """Wait until all is ready, or something has failed for good, and tell how far it is."""
    deadline = time.monotonic() + timeout
    shown = ""
    while True:
        status = cluster.status()
        if status.ready or _has_failed(status) or time.monotonic() > deadline:
            break
        line = _progress(status)
        if line != shown and sys.stderr.isatty():
            print(line, file=sys.stderr)
            shown = line
        time.sleep(_POLL)
    return status


def _progress(status: Status) -> str:
    wanted = sum(component.desired for component in status.components)
    missing = sum(missing.count for missing in status.missing)
    names = ", ".join(missing.component for missing in status.missing)
    return f"{wanted - missing} of {wanted} processes ready, waiting for {names}"


def _has_failed(status: Status) -> bool:
    # Of the component, not of its processes: what failed may be about to be replaced.
    return any(each.own and each.desired and each.state == "failed" for each in status.components)


def _judge(status: Status) -> int:
    if status.ready:
        return OK
    why = "; ".join(f"{m.count} of {m.component}: {m.why}" for m in status.missing)
    code = FAILED if _has_failed(status) else NOT_READY
    raise CommandFailed(f"the cluster {status.cluster!r} is not complete: {why}", code)
