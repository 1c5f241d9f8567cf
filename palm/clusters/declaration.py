"""What is wanted of a component, and the processes that follow from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from palm.clusters.source import CellSource, write_pushed, write_source
from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.spec.names import check_name, nearest
from palm.spec.process import ProcessSpec

__all__ = ["ROLES", "Declaration"]

ROLES = ("master", "worker")

#: Replicas of one component on one machine; beyond it, a typing error is more likely.
MAX_REPLICAS = 1024


@dataclass(frozen=True, slots=True)
class Declaration:
    """One component as it was asked for. Equal declarations are the same component."""

    role: str
    name: str
    target: str | CellSource | None = None
    replicas: int = 1
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.role not in ROLES:
            close = nearest(self.role, ROLES)
            hint = f"did you mean {close!r}?" if close else f"one of {', '.join(ROLES)}"
            raise ConfigError(f"there is no role {self.role!r} yet", key="role", hint=hint)
        if not 1 <= self.replicas <= MAX_REPLICAS:
            raise ConfigError(
                f"{self.replicas} replicas of {self.name}",
                key="replicas",
                hint=f"from 1 to {MAX_REPLICAS}; stop ends a component",
            )
        if self.role == "master":
            self._check_master()
        elif self.target is None:
            raise ConfigError(
                f"the worker {self.name!r} needs a target",
                key="target",
                hint="a module, module:Class, file.py[:Class] or the source of a cell",
            )

    def _check_master(self) -> None:
        if self.replicas != 1:
            raise ConfigError("a master cannot have replicas", key="replicas")
        if self.target is not None:
            raise ConfigError("a master takes no target", key="target")

    @property
    def instances(self) -> tuple[str, ...]:
        """Names of the processes: the component's own for a master, else ``NAME-0`` and so on."""
        if self.role == "master":
            return (self.name,)
        return tuple(f"{self.name}-{index}" for index in range(self.replicas))

    @property
    def master(self) -> str:
        """The master a worker was given, "" if it is to find one."""
        return _option(self.args, "--master") or self.env.get("PALM_MASTER", "")

    def scaled(self, replicas: int) -> Declaration:
        """The same component with another number of replicas."""
        return replace(self, replicas=replicas)

    def processes(self, folders: Folders) -> tuple[ProcessSpec, ...]:
        """One process a replica; writes the source of a cell into the cluster's folder."""
        command = (sys.executable, "-m", "palm", self.role)
        target = self._target_arguments(folders)
        env = _environment(self.env, folders, self.master)
        cwd = str(Path(self.cwd or os.getcwd()).absolute())
        return tuple(
            ProcessSpec(
                name=instance,
                argv=(*command, *target, "--name", instance, *self.args),
                env={**env, "PALM_REPLICA": str(index)},
                cwd=cwd,
                role=self.role,
            )
            for index, instance in enumerate(self.instances)
        )

    def _target_arguments(self, folders: Folders) -> tuple[str, ...]:
        if self.target is None:
            return ()
        if isinstance(self.target, str):
            return (self.target,)
        arguments = [str(write_source(folders, self.target))]
        arguments += ["--source-name", self.target.filename]
        pushed = write_pushed(folders, self.target)
        return (*arguments, "--push-file", str(pushed)) if pushed else tuple(arguments)


def _option(args: Sequence[str], option: str) -> str:
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            return args[index + 1]
        if arg.startswith(f"{option}="):
            return arg.partition("=")[2]
    return ""


def _environment(own: Mapping[str, str], folders: Folders, master: str) -> dict[str, str]:
    """What a component gets on top of this process's environment."""
    env = {
        "PALM_RUN_DIR": str(folders.run),
        "PALM_STATE_DIR": str(folders.state),
        "PALM_CLUSTER": folders.cluster,
        # Imports find what they find here. An empty entry means the current folder.
        "PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path),
    }
    if master:
        env["PALM_MASTER"] = master
    if "inline" in os.environ.get("MPLBACKEND", ""):
        env["MPLBACKEND"] = "agg"  # the notebook's backend draws into a notebook
    return {**env, **own}
