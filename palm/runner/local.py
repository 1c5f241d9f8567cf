"""The runner of this machine for a local cluster, in the background."""

from __future__ import annotations

import sys

from palm.runner.adoption import RunnerLock
from palm.runner.background import Background
from palm.runner.node import node_name
from palm.runtime.folders import Folders

__all__ = ["runner_pid", "start_runner"]

#: Seconds that a runner waits for a registry and a cluster which are being made.
PATIENCE = 30.0


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
