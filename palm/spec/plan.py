"""What a node has to do to run what it is to run. Pure, and asking twice changes nothing.

`steps` compares what a node is to run with what runs there and says what to do next; when that is
done, it says that nothing is to be done. Which node runs what is `palm.spec.placement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from palm.spec.order import Dependent, first_to_leave
from palm.spec.process import OVER, State

__all__ = ["Action", "Present", "Replica", "Step", "Wanted", "steps"]

#: Component and number.
Replica = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A process that a node is to run, in this generation of its component.

    ``sockets`` are the addresses that it is to be given, None if one has to be waited for. With
    ``keep`` it goes on in another generation, if it runs in one: its turn has not come yet.
    """

    component: str
    number: int
    generation: int
    sockets: Mapping[str, str] | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """A process that a node knows of.

    ``asked`` says whether it was told to stop, ``grace`` how many seconds it was given then.
    ``sockets`` are the addresses that it was given. ``role`` and ``needs`` are those of its
    component.
    """

    component: str
    generation: int
    state: State
    asked: bool = False
    grace: float | None = None
    sockets: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    needs: tuple[str, ...] = ()


Action = Literal["start", "stop", "forget"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something to be done for the process of a name; ``grace`` belongs to "stop"."""

    action: Action
    name: str
    grace: float | None = None


def steps(
    wanted: Mapping[str, Wanted],
    present: Mapping[str, Present],
    grace: Mapping[str, float] | None = None,
) -> list[Step]:
    """Return what a node does next; stops come first, since they take longest.

    A process of another generation, or with other addresses, is stopped, and its successor started
    once it is gone. One that ended by itself, or gave up, is left alone: its own rules said so.
    Of those that are wanted no more, one that others of them need is stopped when these are gone.

    Parameters
    ----------
    wanted, present
        By the name of the process.
    grace
        Seconds to stop in, by component; without one it is that of the process.
    """
    known = grace or {}
    waiting = _waiting(wanted, present)
    found = [
        step
        for name, process in present.items()
        if name not in waiting
        for step in _leave(name, process, wanted.get(name), known.get(process.component))
    ]
    found += [Step("start", name) for name, process in wanted.items()
              if _is_to_start(process, present.get(name))]  # fmt: skip
    return found


def _waiting(wanted: Mapping[str, Wanted], present: Mapping[str, Present]) -> set[str]:
    """Names of those that leave for good, but not yet."""
    leaving = {
        name: process
        for name, process in present.items()
        if name not in wanted and process.state not in OVER
    }
    components = {each.component: Dependent(each.role, each.needs) for each in leaving.values()}
    free = first_to_leave(components, components.keys())
    return {name for name, process in leaving.items() if process.component not in free}


def _leave(
    name: str, process: Present, wanted: Wanted | None, grace: float | None
) -> Iterator[Step]:
    if process.state in OVER:
        if wanted is None:
            yield Step("forget", name)
    elif wanted is None or _is_to_leave(wanted, process):
        sooner = grace is not None and process.grace is not None and grace < process.grace
        told = process.asked and process.state == "stopping"
        if not told or sooner:
            yield Step("stop", name, grace)


def _is_to_start(wanted: Wanted, process: Present | None) -> bool:
    if process is None:
        return True
    again = process.asked or _is_other(wanted, process)
    return again and process.state in OVER


def _is_to_leave(wanted: Wanted, process: Present) -> bool:
    """Whether what runs has to make room for what is wanted now."""
    if not wanted.keep or wanted.generation == process.generation:
        return _is_other(wanted, process)
    # It may have been given others than its successor is, but none that is not valid any more.
    given = wanted.sockets or {}
    return any(given.get(name, address) != address for name, address in process.sockets.items())


def _is_other(wanted: Wanted, process: Present) -> bool:
    """Whether what runs is not what is wanted; addresses that are not known change nothing."""
    moved = wanted.sockets is not None and wanted.sockets != process.sockets
    return moved or wanted.generation != process.generation
