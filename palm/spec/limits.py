"""Limits of what a component may use, as people write them and as a system takes them. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from palm.errors import ConfigError
from palm.spec.duration import format_duration, parse_duration
from palm.spec.size import format_size, parse_size

__all__ = ["Limits", "Rlimit", "excess", "limits_flaw", "parse_limit", "rlimits"]

#: Name of a resource as the system has it, its soft limit and its hard one.
Rlimit = tuple[str, int, int]
#: Seconds from SIGXCPU, which a program may take for a request to end, to SIGKILL.
_LAST_SECONDS = 5

#: Limits that the system keeps for each process, and the names that it has for them.
_RESOURCES = {
    "cpu_time": "RLIMIT_CPU",
    "open_files": "RLIMIT_NOFILE",
    "file_size": "RLIMIT_FSIZE",
    "core_size": "RLIMIT_CORE",
}
_SIZES = ("memory", "file_size", "core_size")
#: The smallest value of each; below it no program could even start.
_LEAST = {"memory": 1 << 20, "cpu_time": 1, "open_files": 16, "processes": 1}
_MOST = 2**53
#: Rounded for people, a size keeps this many parts of its unit.
_PARTS = 10
_UNITS = (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10))


class Limits(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What one replica of a component may use; None: no limit but the node's own.

    ``memory`` (bytes that it holds in memory) and ``processes`` are those of the replica with all
    that it started; they are looked at once a second, and one that is beyond is ended. The others
    hold for each of its processes, and the system keeps them: ``cpu_time`` in seconds,
    ``open_files``, ``file_size`` (bytes of any file that it writes, its output too) and
    ``core_size`` (bytes of what a crash leaves to be examined).
    """

    memory: int | None = None
    cpu_time: int | None = None
    open_files: int | None = None
    processes: int | None = None
    file_size: int | None = None
    core_size: int | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__struct_fields__)


def parse_limit(name: str, value: Any) -> int | None:
    """Return one limit of a cluster file: ``memory = "2G"``, ``cpu_time = "1h"`` or numbers.

    Raises
    ------
    ConfigError
        It is no such limit.
    """
    found = value
    if isinstance(value, str) and name in _SIZES and value.strip() not in ("0", ""):
        found = parse_size(value)
    elif isinstance(value, str) and name == "cpu_time":
        seconds = parse_duration(value)
        found = None if seconds is None else max(1, round(seconds))
    elif isinstance(value, str) and value.strip() == "none":
        found = None
    elif isinstance(value, str) and value.strip() == "0":
        found = 0
    if isinstance(found, bool) or not isinstance(found, int | None):
        raise ConfigError(f"{value!r} is not a limit of {name}", key=name, hint=_like(name))
    flaw = limits_flaw(name, found)
    if flaw:
        raise ConfigError(flaw, key=name, hint=_like(name))
    return found


def limits_flaw(name: str, value: int | None) -> str:
    """Return what is wrong with a limit, "" if nothing is."""
    least = _LEAST.get(name, 0)
    if value is None or least <= value <= _MOST:
        return ""
    if value > _MOST:
        return f"{name} has no such limit: {value}"
    shown = format_size(least) if name in _SIZES and least else str(least)
    return f"with {name} = {value} nothing can run; the least is {shown}"


def rlimits(limits: Limits) -> list[Rlimit]:
    """Return what is set, before its program begins, for a process and all that it starts."""
    found = ((name, getattr(limits, name)) for name in _RESOURCES)
    return [
        (_RESOURCES[name], value, value + (_LAST_SECONDS if name == "cpu_time" else 0))
        for name, value in found
        if value is not None
    ]


def excess(limits: Limits, memory: int, processes: int) -> str:
    """Say in words, that continue "it", which limit a replica is beyond; "" if it is beyond none.

    `memory` is in bytes.
    """
    if limits.memory is not None and memory > limits.memory:
        used = _rounded(memory, limits.memory)
        return f"used {used} of memory, its limit is {format_size(limits.memory)}"
    if limits.processes is not None and processes > limits.processes:
        return f"had {processes} processes, its limit is {limits.processes}"
    return ""


def _rounded(size: int, limit: int) -> str:
    """A size with one digit after the point, rounded up: never less than what it is beyond."""
    unit, factor = next(((u, f) for u, f in _UNITS if limit >= f), ("", 1))
    parts = -(-size * _PARTS // factor)
    return f"{parts / _PARTS:g}{unit}"


def _like(name: str) -> str:
    if name in _SIZES:
        return f'as in {name} = "2G"'
    if name == "cpu_time":
        return f'as in {name} = "{format_duration(3600)}"'
    return f"as in {name} = 64"
