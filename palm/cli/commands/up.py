"""``palm up``."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from pathlib import Path

from palm.cli.commands.installing import install, run_foreground, uninstall
from palm.cli.commands.status import show
from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.cli.foreground import log_level
from palm.clusters import Cluster, Status, up
from palm.errors import ConfigError
from palm.spec.cluster import check_cluster

__all__ = ["run"]

_POLL = 0.05


def run(arguments: Namespace) -> int:
    """Start the cluster, if need be; with a file, put it in force and wait for all of it."""
    log_level()  # before anything is started with it
    name = None if arguments.file is None else _check(arguments.file)
    for way in ("install", "uninstall", "foreground"):
        if vars(arguments)[way]:
            return _WAYS[way](arguments, name)
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
        if not status.ready:
            raise _incomplete(cluster, status)
    return OK


_WAYS = {"install": install, "uninstall": uninstall, "foreground": run_foreground}


def _check(file: str) -> str | None:
    """Read the file, and return the cluster that is meant; say all that is wrong with it.

    An option beats the environment, which beats the file.
    """
    try:
        text = Path(file).read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text") from error
    config, errors = check_cluster(text, file, str(Path(file).absolute().parent))
    if config is None or errors:
        raise CommandFailed("\npalm: ".join(str(error) for error in errors), FAILED)
    return None if os.environ.get("PALM_CLUSTER") else config.name


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
        complete = status.ready and not any(c.state == "stopping" for c in status.components)
        if complete or _has_failed(status) or time.monotonic() > deadline:
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


def _incomplete(cluster: Cluster, status: Status) -> CommandFailed:
    """What is said of a cluster that did not become ready: why, as far as anybody wrote it."""
    text = [f"the cluster {cluster.name!r} is not complete"]
    if status.state == "alive":
        for name, stderr in cluster.last_errors().items():
            said = f"wrote last:\n\n{stderr}\n" if stderr else "wrote nothing to stderr"
            text.append(f"{name} {said}")
    code = FAILED if _has_failed(status) else NOT_READY
    return CommandFailed("\n".join(text), code)
