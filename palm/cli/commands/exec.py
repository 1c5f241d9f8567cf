"""``palm exec``."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from palm.cli.attach import attached
from palm.cli.failures import FAILED, NO_SUCH_NAME, CommandFailed, no_such_name
from palm.cli.kernels import run_code
from palm.clusters import Cluster, ComponentStatus, ProcessStatus
from palm.clusters.status import cluster_status
from palm.registry_api.schema import ClusterStatus
from palm.runner.process import own_variables_removed
from palm.runtime.folders import Folders
from palm.runtime.records import live_records, process_environment, process_folder

__all__ = ["run"]

#: Exit codes that shells have for a program that is not there, and for one that cannot run.
NO_PROGRAM, NO_START = 127, 126


def run(arguments: Namespace) -> int:
    """Run a program as if a component had started it, or code in a component's kernel."""
    with attached() as cluster:
        component, process = _chosen(cluster, arguments)
        kernel = _kernel_file(cluster, process) if cluster is not None else ""
    if arguments.code is not None:
        if not kernel:
            raise CommandFailed(
                f"{component.name} does not run as a kernel: there is nothing to run code in"
                " (start it with --kernel, or kernel = true in the cluster file)",
                FAILED,
            )
        code = sys.stdin.read() if arguments.code == "-" else arguments.code
        _environment(process)  # says so if it is elsewhere
        return run_code(Path(kernel), process.name, code, as_json=arguments.json)
    return _become(arguments.program, process)


def _chosen(cluster: Cluster | None, arguments: Namespace) -> tuple[ComponentStatus, ProcessStatus]:
    """Return the component that is meant, and its process."""
    folders = Folders.find()
    found = ClusterStatus(cluster=folders.cluster, ready=False)
    if cluster is not None:
        found = cluster.registry.cluster_status(cluster.name)
    components = cluster_status(found, live_records(folders)).components
    for component in components:
        names = [process.name for process in component.processes]
        if arguments.name == component.name or arguments.name in names:
            return component, _process(component, arguments)
    raise no_such_name(arguments.name, [each.name for each in components], folders.cluster)


def _process(component: ComponentStatus, arguments: Namespace) -> ProcessStatus:
    running = [each for each in component.processes if each.pid is not None]
    if arguments.replica is not None:
        if arguments.replica >= len(component.processes):
            text = f"{component.name} has no process {arguments.replica}"
            raise CommandFailed(f"{text}: there are {len(component.processes)}", NO_SUCH_NAME)
        running = [p for p in [component.processes[arguments.replica]] if p.pid is not None]
    elif arguments.name != component.name:
        running = [each for each in running if each.name == arguments.name]
    if not running:
        raise CommandFailed(f"{arguments.name} does not run (it is {component.state})", FAILED)
    return running[0]


def _kernel_file(cluster: Cluster, process: ProcessStatus) -> str:
    for component in cluster.registry.components(cluster.name):
        for replica in component.replicas:
            if replica.name == process.name and replica.pid is not None:
                return replica.kernel_file
    return ""


def _environment(process: ProcessStatus) -> dict[str, str]:
    """What a process of this machine has for an environment."""
    env = process_environment(process.pid) if process.pid is not None else {}
    # The same number may be another process here, if it runs on another machine.
    if process.instance and env.get("PALM_INSTANCE", process.instance) == process.instance and env:
        return env
    where = f"on {process.node}" if process.node else "elsewhere"
    raise CommandFailed(
        f"{process.name} runs {where}, not here: use palm exec on that machine", FAILED
    )


def _become(program: list[str], process: ProcessStatus) -> int:
    """Be the program from now on: its terminal, its signals and its exit code are its own."""
    env = own_variables_removed(_environment(process))
    folder = process_folder(process.pid) if process.pid is not None else ""
    try:
        os.chdir(folder)
    except OSError as error:
        why = error.strerror or "it is gone"
        raise CommandFailed(
            f"the folder of {process.name} cannot be used: {why}", FAILED
        ) from error
    sys.stdout.flush()
    try:
        os.execvpe(program[0], program, env)  # noqa: S606 - the words are the user's, no shell's
    except FileNotFoundError as error:
        raise CommandFailed(f"there is no program {program[0]!r}", NO_PROGRAM) from error
    except OSError as error:
        raise CommandFailed(f"{program[0]} cannot run: {error.strerror}", NO_START) from error
