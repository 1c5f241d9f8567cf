"""The runner of this machine for a local cluster, in the background."""

from __future__ import annotations

import os
import re
import sys

from palm.naming.whereabouts import RegistryRecord
from palm.runner.adoption import RunnerLock
from palm.runner.background import Background
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint

__all__ = ["node_name", "outside_address", "runner_pid", "start_runner"]

#: Seconds that a runner waits for a registry and a cluster which are being made.
PATIENCE = 30.0


def node_name() -> str:
    """The name of this machine as a node."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", os.uname().nodename.partition(".")[0])
    return host[:64].strip("-") or "localhost"


def outside_address(record: RegistryRecord) -> str:
    """Where other machines reach this one, as the registry here does; "" if they do not.

    A registry for other machines needs TLS, else it hands out no keys to them; one that listens
    at all addresses does not say which of them is meant.
    """
    given = record.arguments
    host = given[given.index("--host") + 1] if "--host" in given[:-1] else ""
    if not record.certfile or host in ("", "*", "0.0.0.0", "::"):  # noqa: S104 - not bound
        return ""
    return "" if Endpoint("tcp", host=host).is_local else host


def runner_pid(folders: Folders) -> int | None:
    """The process that is this machine's runner for a cluster, None if there is none."""
    return RunnerLock(folders, node_name()).holder()


def start_runner(folders: Folders) -> Background:
    """Start a runner, which may be before its registry is there; one too many just ends."""
    command = [sys.executable, "-m", "palm", "runner", "--cluster", folders.cluster]
    command += ["--patience", f"{PATIENCE:g}"]
    env = {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    log = folders.keys.parent / "runner.log"
    return Background.start(command, log, folders.state, env)
