"""In which order components end: who needs another goes before it, and workers before masters.

Pure. Whoever takes results, or gives messages back, finds the one it does that with still there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from palm.spec.component import SINGLE_ROLES

__all__ = ["Dependent", "first_to_leave", "stop_waves"]


@dataclass(frozen=True, slots=True)
class Dependent:
    """A component, as far as its end is concerned."""

    role: str = ""
    needs: Collection[str] = ()


def first_to_leave(components: Mapping[str, Dependent], leaving: Collection[str]) -> set[str]:
    """Return those of `leaving` that may go now; the others wait until these are gone.

    What is `leaving` is still there. Of a ring, all may go.
    """
    needed = {name: _all_needs(components, name) for name in leaving}
    unneeded = [
        name
        for name in leaving
        if not any(name in needed[other] for other in leaving if other != name)
    ]
    free = {name for name in unneeded if not _waits_for_workers(components, needed, name)}
    # What roles say gives way to needs, and needs that form a ring say nothing.
    return free or set(unneeded or leaving)


def stop_waves(components: Mapping[str, Dependent]) -> list[list[str]]:
    """Return all components in the order in which they end, those that may go together as one."""
    left, waves = list(components), []
    while left:
        free = first_to_leave(components, left)
        waves.append([name for name in left if name in free])
        left = [name for name in left if name not in free]
    return waves


def _waits_for_workers(
    components: Mapping[str, Dependent], needed: Mapping[str, set[str]], name: str
) -> bool:
    """Whether others work for it, as far as their roles say, and do not end after it."""
    return _is_single(components[name]) and any(
        not _is_single(components[other]) and other not in needed[name] for other in needed
    )


def _is_single(component: Dependent) -> bool:
    return component.role in SINGLE_ROLES


def _all_needs(components: Mapping[str, Dependent], name: str) -> set[str]:
    """What a component needs, and what that needs."""
    found: set[str] = set()
    left = list(components[name].needs) if name in components else []
    while left:
        need = left.pop()
        if need not in found:
            found.add(need)
            left += components[need].needs if need in components else ()
    return found
