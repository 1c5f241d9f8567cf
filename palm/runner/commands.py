"""From a component as it is wanted to the process that a node starts for one replica of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from palm.errors import ConfigError
from palm.runner.sockets import key_of
from palm.runtime.folders import Folders, private_folder, socket_path
from palm.spec.component import SINGLE_ROLES, ComponentSpec
from palm.spec.endpoint import Endpoint
from palm.spec.placeholder import parse_argument
from palm.spec.process import ProcessSpec
from palm.spec.sockets import NODE_PORT, socket_key

__all__ = ["process_spec", "remove_kernel_files"]


def process_spec(
    spec: ComponentSpec,
    number: int,
    node: str,
    folders: Folders,
    sockets: Mapping[str, str] | None = None,
) -> ProcessSpec:
    """Return the process that is replica ``number`` of a component on ``node``.

    ``sockets`` are the addresses of those on tcp; all others are on ipc.

    Raises
    ------
    ConfigError
        It does not say what to start, or cannot run as it asks to.
    """
    name = spec.replica_name(number)
    command = _Command(spec, number, node, folders, sockets or {})
    env = {"PALM_CLUSTER": folders.cluster} | spec.env
    if spec.master:
        env.setdefault("PALM_MASTER", spec.master)
    if spec.previous:
        env.setdefault("PALM_PREVIOUS", ",".join(spec.previous))
    if spec.pipelined:
        env.setdefault("PALM_PIPELINED", "1")
    if spec.stages:
        env.setdefault("PALM_STAGES", ",".join(spec.stages))
    by_name = (sockets or {}).get(socket_key(name, NODE_PORT))
    if by_name and spec.role in SINGLE_ROLES:
        env["PALM_BIND"] = by_name
    return ProcessSpec(
        name,
        tuple(command.kernel() if spec.kernel else command.plain()),
        env=env,
        cwd=spec.cwd,
        role=spec.role,
        restart=spec.restart,
        grace=spec.grace,
        ready_timeout=spec.ready_timeout,
        ready=spec.ready,
        component=spec.name,
        replica=number,
        generation=spec.generation,
        kernel_file=str(_kernel_file(folders, name)) if spec.kernel else "",
        sockets=dict(sockets or {}),
        limits=spec.limits,
        needs=tuple(spec.needs),
        spool=spec.spool,
        spool_quota=spec.spool_quota,
    )


def remove_kernel_files(kernel_file: Path, sockets: Path) -> None:
    """Remove what a kernel left, if it was killed."""
    for path in (kernel_file, *sockets.parent.glob(f"{sockets.name}-*")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _kernel_file(folders: Folders, name: str) -> Path:
    folder = folders.components.parent / "kernels"
    return private_folder(folder, "PALM_RUN_DIR") / f"{name}.json"


class _Command:
    """The command line of one replica."""

    def __init__(
        self,
        spec: ComponentSpec,
        number: int,
        node: str,
        folders: Folders,
        sockets: Mapping[str, str],
    ) -> None:
        self._spec = spec
        self._number = number
        self._node = node
        self._folders = folders
        self._sockets = sockets
        self._python = spec.python or sys.executable

    def plain(self) -> list[str]:
        """As a process of its own."""
        spec = self._spec
        args = self._filled(spec.args)
        if spec.argv:
            return self._filled(spec.argv)
        if spec.command:
            return self._filled(spec.command) + args
        if spec.script:
            return [self._python, spec.script, *args]
        if spec.module:
            return [self._python, "-m", spec.module, *args]
        if spec.entry:
            return [self._python, "-c", _call(spec.entry), *args]
        raise ConfigError(
            f"{spec.name} does not say what to start",
            hint="script, module, entry, command or argv",
        )

    def kernel(self) -> list[str]:
        """In a kernel."""
        spec, python = self._spec, self._python
        if spec.script:
            program = ["script", spec.script, *self._filled(spec.args)]
        elif spec.module == "palm":
            program = self._filled(spec.args)
        elif spec.argv and spec.argv[1:3] == ["-m", "palm"]:
            python, program = spec.argv[0], self._filled(spec.argv[3:])
        else:
            raise ConfigError(
                f"{spec.name} cannot run as a kernel",
                key="kernel",
                hint="only a script, and what `python -m palm` runs, can",
            )
        name = spec.replica_name(self._number)
        file, sockets = (
            _kernel_file(self._folders, name),
            socket_path(self._folders, name, "kernel"),
        )
        return [python, "-m", "palm.runner.kernel", str(file), str(sockets), *program]

    def _filled(self, arguments: Iterable[str]) -> list[str]:
        return [self._fill(argument) for argument in arguments]

    def _fill(self, argument: str) -> str:
        found = parse_argument(argument)
        if isinstance(found, str):
            return found
        match found.kind:
            case "name":
                return self._spec.replica_name(self._number)
            case "node":
                return self._node
            case "replica":
                return str(self._number)
            case "socket":
                key = key_of(self._spec, self._number, found)
                if key in self._sockets:
                    return self._sockets[key]
                # Where a component of that name binds is known before it is there.
                path = socket_path(self._folders, found.component, found.port)
                return str(Endpoint("ipc", path=str(path)))


def _call(entry: str) -> str:
    """A program that calls an entry point, ``pkg.mod:function``."""
    module, _, function = entry.partition(":")
    for text in (module, function):
        if not all(map(str.isidentifier, text.split("."))):
            raise ConfigError(f"{entry!r} is no entry point", key="entry", hint="pkg.mod:function")
    return f"import sys, {module}; sys.exit({module}.{function}())"
