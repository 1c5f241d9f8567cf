"""``palm check``."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from palm.cli.absence import absent
from palm.cli.clusterfiles import chosen_cluster, read_file
from palm.cli.failures import FAILED, OK
from palm.cli.tables import show_table
from palm.clusters import ClusterFile
from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.spec.cluster import ClusterConfig
from palm.spec.component import ComponentSpec
from palm.spec.text import printable

__all__ = ["run"]

_HEAD = ("NAME", "ROLE", "PROCESSES", "STARTS", "NEEDS", "READY")


@dataclass
class _Checked:
    """What was found in a file."""

    file: ClusterFile
    config: ClusterConfig | None
    errors: list[ConfigError]
    warnings: list[ConfigError] = field(default_factory=list)


def run(arguments: Namespace) -> int:
    """Say all that is wrong with a cluster file, or else what it would start. Asks nobody."""
    file = read_file(arguments.file)
    config, errors = file.check()
    found = _Checked(file, config, errors)
    if config is not None and not errors:
        found.warnings = absent(file, config)
    if arguments.json:
        print(json.dumps(_values(found)))
    else:
        _show(found)
    return FAILED if errors or (found.warnings and arguments.strict) else OK


def _show(found: _Checked) -> None:
    for error in found.errors:
        print(printable(f"palm: {error}"), file=sys.stderr)
    for warning in found.warnings:
        print(printable(f"palm: warning: {warning}"), file=sys.stderr)
    if found.errors or found.config is None:
        return
    specs = list(found.config.components.values())
    processes = sum(spec.replicas for spec in specs)
    print(
        f"{found.file.name}: {_counted(len(specs), 'component', 'components')},"
        f" {_counted(processes, 'process', 'processes')} in cluster {_cluster(found.config)!r}"
    )
    if specs:
        show_table(_HEAD, [_row(spec) for spec in specs], ("PROCESSES",))


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _cluster(config: ClusterConfig) -> str:
    return chosen_cluster(config) or Folders.find().cluster


def _row(spec: ComponentSpec) -> tuple[str, ...]:
    starts = printable(shlex.join(_command(spec)))
    needs = ", ".join(spec.needs)
    return (spec.name, spec.role, str(spec.replicas), starts, needs, printable(spec.ready))


def _command(spec: ComponentSpec) -> Sequence[str]:
    """What is started, as the file says it: placeholders are filled on a node."""
    python = spec.python or "python"
    if spec.command:
        return [*spec.command, *spec.args]
    if spec.script:
        return [python, spec.script, *spec.args]
    return [python, "-m", spec.module or spec.entry, *spec.args]


def _values(found: _Checked) -> dict[str, Any]:
    valid = found.config is not None and not found.errors
    specs = found.config.components.values() if found.config is not None and valid else ()
    return {
        "valid": valid,
        "cluster": _cluster(found.config) if found.config is not None else None,
        "problems": [_problem(error) for error in found.errors],
        "warnings": [_problem(warning) for warning in found.warnings],
        "components": [
            {**msgspec.to_builtins(spec), "starts": list(_command(spec))} for spec in specs
        ],
    }


def _problem(error: ConfigError) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "key": error.key,
        "text": error.args[0],
        "hint": error.hint,
    }
