"""``palm status``."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

import msgspec

from palm.cli.attach import present
from palm.cli.failures import OK
from palm.cli.tables import show_table
from palm.clusters import ComponentStatus, Status

__all__ = ["run", "show"]

_HEAD = ("NAME", "ROLE", "STATE", "READY", "MASTER", "FUNCTIONS")


def run(arguments: Namespace) -> int:
    """Show the components of the cluster, and what is missing."""
    status = present()
    show(status, as_json=arguments.json)
    if not arguments.json and any(p.state == "unknown" for c in status.components
                                  for p in c.processes):  # fmt: skip
        print("a node is lost: if it is this machine, palm up starts its runner again")
    return OK


def show(status: Status, *, as_json: bool) -> None:
    """Print a status."""
    if as_json:
        print(json.dumps(as_values(status), indent=2))
    elif not status.components:
        print(f"nothing runs in cluster {status.cluster!r}")
    else:
        show_table(_HEAD, [_row(each) for each in status.components])
        for missing in status.missing:
            print(f"missing: {missing.count} of {missing.component}: {missing.why}")
        for each in status.components:
            if each.scaling:
                print(f"scaling: {each.name}: {each.scaling}")


def as_values(status: Status) -> dict[str, object]:
    """A status as JSON has it."""
    return {
        "cluster": status.cluster,
        "state": status.state,
        "ready": status.ready,
        "missing": [msgspec.to_builtins(missing) for missing in status.missing],
        "components": [asdict(component) for component in status.components],
    }


def _row(component: ComponentStatus) -> tuple[str, ...]:
    state = component.state if component.own else "ready (in a shell)"
    ready = f"{component.ready}/{component.desired}" if component.own else ""
    functions = ", ".join(component.functions)
    return (component.name, component.role, state, ready, component.master, functions)
