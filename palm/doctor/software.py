"""Versions, and other palms that could be meant instead of this one."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from palm import _version
from palm._version import __version__
from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient
from palm.errors import PalmError
from palm.transport.security import check_libzmq, libzmq_version

__all__ = [
    "check_libraries",
    "check_libzmq_here",
    "check_others",
    "check_palm",
    "check_python",
    "interpreter_of",
    "is_older",
    "version_of",
]

_PROJECT = "palm-cluster"
_OLDEST_PYTHON = (3, 11)
#: Shown with their versions; the others only if something is wrong with them.
_SHOWN = ("pyzmq", "tornado", "sqlalchemy", "ipykernel", "anywidget")
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*(?:>=\s*([0-9.]+))?([^;]*)(;.*)?")
_SHEBANG = re.compile(r"(?:#!|exec' \"?)\s*(/[^\"\n]*?python[0-9.]*)\b")


def check_python(patient: Patient) -> Iterator[Finding]:
    """Is Python new enough?"""
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        yield problem(found, "palm needs Python 3.11 or newer: make an environment with it")
    else:
        yield ok(found)


def check_palm(patient: Patient) -> Iterator[Finding]:
    """Is all of palm there?"""
    found = f"{__version__}, {Path(_version.__file__).parent}"
    missing = [name for name in ("palm_registry", "palm_jupyter") if find_spec(name) is None]
    if missing:
        advice = f"install all of it: {sys.executable} -m pip install {_PROJECT}"
        yield problem(f"{found}; without {' and '.join(missing)}", advice)
    else:
        yield ok(found)


def check_others(patient: Patient) -> Iterator[Finding]:
    """Would a shell start another palm than this one?"""
    found = [path for path in _commands(patient.environ.get("PATH", "")) if _is_other(path)]
    if not found:
        yield ok("none on PATH")
        return
    first = next(iter(_commands(patient.environ.get("PATH", ""))))
    which = f"{found[0]} is of {interpreter_of(found[0])}, this one of {sys.executable}"
    if first == found[0]:
        yield warning(which, "activate one environment, or take the other out of PATH")
    else:
        yield ok(f"{which}; this one comes first")


def _commands(path: str) -> Iterator[Path]:
    for folder in dict.fromkeys(path.split(os.pathsep)):
        command = Path(folder or ".") / "palm"
        if command.is_file() and os.access(command, os.X_OK):
            yield command


def _is_other(command: Path) -> bool:
    python = interpreter_of(command)
    # Not resolved: the interpreters of environments are links to one and the same.
    return bool(python) and Path(python).parent != Path(sys.executable).parent


def interpreter_of(command: Path) -> str:
    """The Python that runs a script; "" if it says nothing of one."""
    try:
        with command.open("rb") as file:
            head = file.read(1024).decode("utf-8", "replace")
    except OSError:
        return ""
    found = _SHEBANG.search(head)
    return found[1] if found else ""


def check_libraries(patient: Patient) -> Iterator[Finding]:
    """Are the libraries that palm needs there, and new enough?"""
    wrong, shown = [], []
    for name, least in _required():
        have = version_of(name)
        if not have:
            wrong.append(f"{name} is missing")
        elif is_older(have, least):
            wrong.append(f"{name} {have} is older than {least}")
        elif name.lower() in _SHOWN:
            shown.append(f"{name} {have}")
    if wrong:
        advice = f"install them: {sys.executable} -m pip install -U {_PROJECT}"
        yield problem(", ".join(wrong), advice)
    else:
        yield ok(", ".join(shown))


def _required() -> Iterator[tuple[str, str]]:
    """What palm needs, each with its oldest version."""
    try:
        lines = requires(_PROJECT) or []
    except PackageNotFoundError:  # run from its sources
        lines = [f"{name}>=0" for name in _SHOWN]
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found and "extra" not in (found[4] or ""):
            yield found[1], found[2] or "0"


def version_of(name: str) -> str:
    """The version of a library, "" if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def is_older(have: str, least: str) -> bool:
    """Whether a version is below another; only numbers count."""
    return _numbers(have) < _numbers(least)


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", text)[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers


def check_libzmq_here(patient: Patient) -> Iterator[Finding]:
    """Can libzmq encrypt, and has it no known hole?"""
    try:
        check_libzmq()
    except PalmError as error:
        text, _, advice = str(error).partition(": ")
        yield problem(text, advice)
    else:
        yield ok(f"{libzmq_version()} with CURVE")
