"""``palm doctor``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from palm.cli.failures import FAILED, OK
from palm.cli.tables import show_table
from palm.doctor import Finding, Patient, examine
from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.spec.node import NodeConfig, parse_node

__all__ = ["run"]

_HEAD = ("CHECK", "STATE", "FOUND")


def run(arguments: Namespace) -> int:
    """Make all checks; 1 if anything is wrong."""
    patient = Patient(Folders.locate(), _node(arguments.config))
    found = list(examine(patient))
    if arguments.json:
        keys = ("check", "state", "found", "advice")
        print(json.dumps([{key: getattr(each, key) for key in keys} for each in found], indent=2))
    else:
        _print(found)
    return FAILED if any(each.state == "problem" for each in found) else OK


def _node(file: str | None) -> NodeConfig | None:
    if file is None:
        return None
    try:
        return parse_node(Path(file).read_text("utf-8"), file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", key="--config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text", key="--config") from error


def _print(found: Sequence[Finding]) -> None:
    show_table(_HEAD, [(each.check, each.state, each.found) for each in found])
    for each in found:
        if each.advice:
            print(f"\n{each.state}: {each.check}: {each.found}\n  to do: {each.advice}")
    counts = {state: sum(each.state == state for each in found) for state in ("problem", "warning")}
    print(f"\n{_several(counts['problem'], 'problem')}, {_several(counts['warning'], 'warning')}")


def _several(count: int, what: str) -> str:
    return f"{count or 'no'} {what}" if count == 1 else f"{count or 'no'} {what}s"
