"""What runs of palm, compared with the palm that looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from palm._version import __version__
from palm.doctor.finding import Finding, ok, warning
from palm.doctor.patient import Patient

__all__ = ["check_versions", "command_of"]


def check_versions(patient: Patient) -> Iterator[Finding]:
    """Are registry, runner and components of this version, and of this environment?"""
    flaws = [*_registry(patient), *_runner(patient), *_components(patient)]
    yield from flaws
    if not flaws:
        runs = [record.name for record in patient.components()]
        what = "1 component" if len(runs) == 1 else f"{len(runs) or 'no'} components"
        yield ok(f"{what} here; all that runs is palm {__version__} of this environment")


def _registry(patient: Patient) -> Iterator[Finding]:
    if not patient.answers:
        return
    with patient.registry() as client:
        version = client.health().version
    if version != __version__:
        advice = "start it anew with the code that is there now: palm registry restart"
        yield warning(f"the registry is palm {version}, this is {__version__}", advice)
    record = patient.record
    if record is not None and not patient.is_remote:
        yield from _environment("the registry", record.pid, "palm registry restart")


def _runner(patient: Patient) -> Iterator[Finding]:
    if patient.runner is not None:
        cluster = patient.folders.cluster
        advice = f"kill {patient.runner}; palm --cluster {cluster} up: what it runs goes on"
        version = patient.runner_version
        if version and version != __version__:
            yield warning(f"the runner is palm {version}, this is {__version__}", advice)
        yield from _environment("the runner", patient.runner, advice)


def _environment(what: str, pid: int, advice: str) -> Iterator[Finding]:
    python = next(iter(command_of(pid)), "")
    if python and Path(python).parent != Path(sys.executable).parent:
        yield warning(f"{what} (pid {pid}) is run by {python}, this by {sys.executable}", advice)


def _components(patient: Patient) -> Iterator[Finding]:
    others: dict[str, list[str]] = {}
    for record in patient.components():
        if record.version and record.version != __version__:
            others.setdefault(record.version, []).append(record.name)
    for version, names in sorted(others.items()):
        advice = f"palm restart {names[0]}" + (", and so on" if len(names) > 1 else "")
        yield warning(f"of palm {version}, and this is {__version__}: {', '.join(names)}", advice)


def command_of(pid: int) -> list[str]:
    """The command line of a process, empty if it is gone or the system does not say."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode("utf-8", "replace") for part in data.split(b"\0") if part]
