"""The runner of this machine for a local cluster, in the background."""

from __future__ import annotations

import os
import re
import sys

from palm.runner.adoption import RunnerLock
from palm.runner.background import Background
from palm.runtime.folders import Folders

__all__ = ["node_name", "runner_pid", "start_runner"]

#: Seconds that a runner waits for a registry and a cluster which are being made.
PATIENCE = 30.0


def node_name() -> str:
    """The name of this machine as a node."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", os.uname().nodename.partition(".")[0])
    return host[:64].strip("-") or "localhost"


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
