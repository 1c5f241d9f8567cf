"""Limits put on a program before it begins.

A function between fork and exec is not safe in a process with threads, so a shell does it, which
becomes the program: the text of its script is fixed but for numbers, and the command is data to it.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from palm.errors import ConfigError
from palm.spec.limits import Limits, Rlimit, rlimits

__all__ = ["limited"]

#: Option of ``ulimit`` and the bytes, or whatever is counted, of one of its units (POSIX).
_OPTIONS = {
    "RLIMIT_CPU": ("t", 1),
    "RLIMIT_NOFILE": ("n", 1),
    "RLIMIT_FSIZE": ("f", 512),
    "RLIMIT_CORE": ("c", 512),
}


def limited(
    argv: Sequence[str], limits: Limits, env: Mapping[str, str], cwd: str = ""
) -> Sequence[str]:
    """Return a command that is `argv`, in the same process, within limits.

    Raises
    ------
    FileNotFoundError
        There is no such program.
    ConfigError
        The node itself has a lower limit, which only its administrator can raise.
    """
    found = rlimits(limits)
    if not found:
        return argv
    for each in found:
        _check_possible(each)
    commands = [text for each in found for text in _commands(each)]
    script = " && ".join([*commands, 'exec "$@"'])
    return ["/bin/sh", "-c", script, "sh", _program(argv[0], env, cwd), *argv[1:]]


def _commands(limit: Rlimit) -> list[str]:
    name, soft, hard = limit
    option, unit = _OPTIONS[name]
    return [f"ulimit -S -{option} {-(-soft // unit)}", f"ulimit -H -{option} {-(-hard // unit)}"]


def _check_possible(limit: Rlimit) -> None:
    name, soft, _ = limit
    most = resource.getrlimit(getattr(resource, name))[1]
    if most != resource.RLIM_INFINITY and soft > most and not _may_raise():
        raise ConfigError(f"its limit {name} is {soft}, and this node allows {most}", key="limits")


def _may_raise() -> bool:
    return os.geteuid() == 0


def _program(name: str, env: Mapping[str, str], cwd: str) -> str:
    """Find a program as it would be found without the shell, which would only end with 127."""
    if "/" in name:
        path = os.path.join(os.path.abspath(cwd or os.curdir), name)
        if not Path(path).exists():
            raise FileNotFoundError(2, os.strerror(2), name)
        return path
    found = shutil.which(name, path=os.pathsep.join(os.get_exec_path(env)))
    if found is None:
        raise FileNotFoundError(2, os.strerror(2), name)
    return found
