"""What is wanted of a component, and what the registry is told of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from palm.clusters.source import CellSource, write_pushed, write_source
from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.spec.component import (
    MAX_REPLICAS,
    SINGLE_ROLES,
    STAGE_ROLES,
    ComponentSpec,
    PalmRole,
)
from palm.spec.names import check_labels, check_name, nearest

__all__ = ["ROLES", "Declaration", "own_environment"]

ROLES: tuple[PalmRole, ...] = ("master", "worker", "server", "hub", "pipeline", "sink")

#: Roles that run no functions of their own.
_WITHOUT_TARGET = ("master", "hub")

#: Variables that say something of a shell, a terminal or a kernel, and nothing to a component.
_OF_THE_SHELL = (
    "_", "COLUMNS", "DISPLAY", "GIT_PAGER", "INVOCATION_ID", "JOURNAL_STREAM", "LINES", "MANPATH",
    "OLDPWD", "PAGER", "PWD", "PYTHONPATH", "SHLVL", "TERM", "TTY", "WAYLAND_DISPLAY", "WINDOWID",
    "MPLBACKEND",
)  # fmt: skip
_OF_THE_SHELL_PREFIXES = (
    "CLICOLOR", "COV_CORE", "FORCE_COLOR", "JPY_", "JUPYTER", "KERNEL_", "PALM_", "PYDEVD_",
    "PYTEST_", "SSH_", "TERM_", "VSCODE_", "XDG_",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declaration:
    """One component as it was asked for."""

    role: str
    name: str
    target: str | CellSource | None = None
    replicas: int = 1
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    kernel: bool = False
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.role not in ROLES:
            close = nearest(self.role, ROLES)
            hint = f"did you mean {close!r}?" if close else f"one of {', '.join(ROLES)}"
            raise ConfigError(f"there is no role {self.role!r}", key="role", hint=hint)
        if not 1 <= self.replicas <= MAX_REPLICAS:
            raise ConfigError(
                f"{self.replicas} replicas of {self.name}",
                key="replicas",
                hint=f"from 1 to {MAX_REPLICAS}; stop ends a component",
            )
        if self.role in SINGLE_ROLES and self.replicas != 1:
            raise ConfigError(f"a {self.role} cannot have replicas", key="replicas")
        check_labels(self.labels)
        self._check_target()
        if self.role in STAGE_ROLES and not self.previous:
            raise ConfigError(
                f"whose results does the {self.role} {self.name!r} take?",
                key="previous",
                hint='args=("--previous", NAME)',
            )

    def _check_target(self) -> None:
        if self.role in _WITHOUT_TARGET and self.target is not None:
            raise ConfigError(f"a {self.role} takes no target", key="target")
        is_told = self.target is not None or "--http" in self.args
        if self.role not in _WITHOUT_TARGET and not is_told:
            raise ConfigError(
                f"the {self.role} {self.name!r} needs a target",
                key="target",
                hint="a module, module:Class, file.py[:Class] or the source of a cell",
            )

    @property
    def master(self) -> str:
        """The master a worker was given, "" if it is to find one."""
        return _option(self.args, "--master") or self.env.get("PALM_MASTER", "")

    @property
    def previous(self) -> str:
        """Whose results it takes, as its command has it; "" if it was not said."""
        return _option(self.args, "--previous") or self.env.get("PALM_PREVIOUS", "")

    def spec(self, folders: Folders, owner: str, inherited: Mapping[str, str]) -> ComponentSpec:
        """What the registry is told; writes the source of a cell into the cluster's folder.

        ``inherited`` is what the component is to have of our environment.
        """
        command = [sys.executable, "-m", "palm", self.role, *self._target_arguments(folders)]
        args = [*map(_literal, command), "--name", "${name}", *map(_literal, self.args)]
        return ComponentSpec(
            name=self.name,
            role=cast(PalmRole, self.role),
            replicas=self.replicas,
            argv=args,
            env={**inherited, **self.env},
            cwd=str(Path(self.cwd or os.getcwd()).absolute()),
            kernel=self.kernel,
            node=self.node,
            labels=dict(self.labels),
            owner=owner,
            # Who runs a cell again wants to see what the new code does, and nothing else.
            rollout="at-once",
            master=self.master if self.role == "worker" else "",
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


def _literal(argument: str) -> str:
    """An argument in which nothing is to be filled in."""
    return argument.replace("${", "$${")


def _option(args: Sequence[str], option: str) -> str:
    for index, arg in enumerate(args):
        if arg == option and index + 1 < len(args):
            return args[index + 1]
        if arg.startswith(f"{option}="):
            return arg.partition("=")[2]
    return ""


def own_environment(runner: Mapping[str, str]) -> dict[str, str]:
    """What a component is to have of our environment and would not get from its runner.

    So an unchanged cell means an unchanged component, from whichever kernel it comes, and what
    is the same everywhere is not written down.
    """
    env = {
        key: value
        for key, value in os.environ.items()
        if runner.get(key) != value
        and key not in _OF_THE_SHELL
        and not key.startswith(_OF_THE_SHELL_PREFIXES)
    }
    # Imports find what they find here. An empty entry means the current folder.
    env["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    backend = os.environ.get("MPLBACKEND", "")
    if backend:
        # The notebook's backend draws into a notebook.
        env["MPLBACKEND"] = "agg" if "inline" in backend else backend
    if level := os.environ.get("PALM_LOG_LEVEL"):
        env["PALM_LOG_LEVEL"] = level
    return env
