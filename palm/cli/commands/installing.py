"""``palm up --install``, ``--uninstall`` and ``--foreground``: a cluster that systemd runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from palm.cli.commands.runner import be_runner
from palm.cli.failures import FAILED, OK, CommandFailed
from palm.clusters.files import ClusterFile, put_file
from palm.errors import ConfigError
from palm.registry_api import RegistryClient
from palm.runner.local import runner_pid
from palm.runner.registry import ensure_registry
from palm.runner.unit import Notifier, UnitFile, unit_text, user_manager_runs
from palm.runtime.folders import Folders
from palm.spec.duration import parse_duration
from palm.spec.node import NodeConfig

__all__ = ["install", "run_foreground", "uninstall"]

#: Variables that say how programs are found; a user's manager has others.
_KEPT = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "PALM_LOG_LEVEL")
#: Seconds for a runner to make room for another one.
_HANDOVER = 15.0
_POLL = 0.02


def install(arguments: Namespace, cluster: str | None) -> int:
    """Write the unit, and say what to do next, or do it."""
    _refuse_elsewhere()
    folders = Folders.find(cluster=cluster)
    file = UnitFile(folders.cluster)
    text = unit_text(folders, _command(arguments, folders), _environment())
    if arguments.show:
        sys.stdout.write(text)
        return OK
    _need_systemd()
    if file.is_changed and not arguments.replace:
        raise CommandFailed(
            f"{file.path} was changed by hand; --replace puts another in its place, --print shows"
            " that one",
            FAILED,
        )
    changed = file.write(text)
    steps = [["systemctl", "--user", "daemon-reload"],
             ["systemctl", "--user", "enable", "--now", file.name],
             ["loginctl", "enable-linger"]]  # fmt: skip
    said = "written" if changed else "is as it should be"
    _act(arguments, file, steps, said, changed=changed)
    return OK


def uninstall(arguments: Namespace, cluster: str | None) -> int:
    """Remove the unit; the cluster itself goes on until palm down."""
    file = UnitFile(Folders.locate(cluster=cluster).cluster)
    stop = ["systemctl", "--user", "disable", "--now", file.name]
    if arguments.now and file.path.exists():
        _need_systemd()
        _do(stop)
    there = file.remove()
    steps = [["systemctl", "--user", "daemon-reload"]]
    if not arguments.now:
        steps.insert(0, ["systemctl", "--user", "stop", file.name])
    said = "removed; palm down ends the cluster" if there else "was not there"
    _act(arguments, file, steps if there else [], said, changed=there)
    return OK


def _act(
    arguments: Namespace, file: UnitFile, steps: Sequence[list[str]], said: str, *, changed: bool
) -> None:
    left = [] if arguments.now else steps
    for step in steps if arguments.now else ():
        _do(step)
    if arguments.json:
        next_steps = [" ".join(step) for step in left]
        print(json.dumps({"unit": str(file.path), "changed": changed, "next": next_steps}))
        return
    print(f"{file.path}: {said}")
    if left:
        print("next:")
        for step in left:
            print(f"  {' '.join(step)}")


def _do(step: Sequence[str]) -> None:
    done = subprocess.run(step, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise CommandFailed(f"{' '.join(step)}: {said}", FAILED)


def _need_systemd() -> None:
    if shutil.which("systemctl") is None or not user_manager_runs():
        raise CommandFailed(
            "systemd looks after no services of yours here (a container, another system, or a"
            " login without a session); --print shows the unit, and any other supervisor can run"
            " palm up --foreground",
            FAILED,
        )


def _refuse_elsewhere() -> None:
    if url := os.environ.get("PALM_REGISTRY"):
        raise ConfigError(
            f"the registry is elsewhere ({url}), and the cluster is started there",
            key="PALM_REGISTRY",
            hint="have the supervisor of this machine run palm runner",
        )


def _command(arguments: Namespace, folders: Folders) -> list[str]:
    command = [sys.executable, "-m", "palm", "--cluster", folders.cluster, "up", "--foreground"]
    if arguments.linger is not None:
        command += ["--linger", arguments.linger]
    if arguments.file is not None:
        command.append(str(Path(arguments.file).absolute()))
    return command


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if os.environ.get(name)}


# ---- in the foreground


def run_foreground(arguments: Namespace, cluster: str | None) -> int:
    """Be the runner of the cluster, which is started, with its registry, if need be.

    A signal ends the runner alone: what it runs goes on, and the next one adopts it.
    """
    _refuse_elsewhere()
    notifier = Notifier.take(os.environ)
    folders = Folders.find(cluster=cluster)
    os.environ["PALM_CLUSTER"] = folders.cluster
    # Until the runner takes them, signals end this process like any other.
    with ensure_registry(folders) as client:
        _begin(client, folders.cluster, arguments)
    _take_over(folders)
    be_runner(folders, NodeConfig(), notifier.ready)
    notifier.stopping()
    return OK


def _begin(client: RegistryClient, cluster: str, arguments: Namespace) -> None:
    alive = {info.key for info in client.cluster_list() if info.state == "alive"}
    if arguments.linger is not None:
        client.create_cluster(cluster, parse_duration(arguments.linger))
    elif cluster not in alive:
        client.create_cluster(cluster, None)
    if arguments.file is not None:
        put_file(client, cluster, ClusterFile.read(Path(arguments.file).absolute()))


def _take_over(folders: Folders) -> None:
    """End a runner in the background; what it runs is ours then."""
    deadline = time.monotonic() + _HANDOVER
    told = None
    while (pid := runner_pid(folders)) is not None:
        if pid != told:
            os.kill(pid, signal.SIGTERM)
            told = pid
        if time.monotonic() > deadline:
            raise CommandFailed(f"the runner (pid {pid}) does not make room", FAILED)
        time.sleep(_POLL)
