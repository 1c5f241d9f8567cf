"""The line that says what the latest start of a component did."""

from __future__ import annotations

from dataclasses import replace

from palm.clusters import CellSource, Change, Component, ComponentStatus
from palm_jupyter import cellcode

__all__ = ["happened"]


def happened(change: Change, component: Component, status: ComponentStatus) -> str:
    """The line that says what a start did."""
    if change.kind == "kept":
        return "runs already, unchanged"
    if change.kind == "scaled":
        return f"was scaled: {change.replicas} to {status.desired} replicas"
    if change.kind != "replaced":
        return f"is {status.state}"
    differences = _differences(change, component, status)
    text = "was stopped and started anew"
    before, after = set(change.functions), set(status.functions)
    if change.replicas != status.desired and before == after and not _is_other(change, component):
        text = "was scaled"
    return f"{text}: {differences}" if differences else text


def _is_other(change: Change, component: Component) -> bool:
    """Whether something but the number of replicas is different."""
    now = component.declared
    return (
        change.before is None or now is None or replace(change.before, replicas=now.replicas) != now
    )


def _differences(change: Change, component: Component, status: ComponentStatus) -> str:
    before, after = set(change.functions), set(status.functions)
    parts = [f"+ {name}" for name in sorted(after - before)]
    parts += [f"\N{MINUS SIGN} {name}" for name in sorted(before - after)]
    old = change.before.target if change.before is not None else None
    new = component.declared.target if component.declared is not None else None
    if isinstance(old, CellSource) and isinstance(new, CellSource):
        changed = cellcode.changes(old.source, new.source, sorted(before & after))
        parts += [f"changed {name}" for name in changed]
        if not parts and old.source != new.source:
            parts.append("another cell, the same functions")
        if old.pushed != new.pushed:
            parts.append("other values pushed")
    if change.replicas != status.desired:
        parts.append(f"{change.replicas} to {status.desired} replicas")
    if change.before is not None and component.declared is not None:
        kernel = {True: "in a kernel", False: "as a process"}
        if change.before.kernel is not component.declared.kernel:
            parts.append(f"now {kernel[component.declared.kernel]}")
    return ", ".join(parts)
