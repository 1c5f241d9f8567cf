"""What is to run where, and what a node has to do for it. Pure, and asking twice changes nothing.

`place` gives each wanted replica a node. `steps` compares what a node is to run with what runs
there and says what to do next; when that is done, it says that nothing is to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from palm.spec.process import OVER, State

__all__ = ["Action", "Present", "Replica", "Step", "Wanted", "place", "steps"]

#: Component and number.
Replica = tuple[str, int]


def place(
    wanted: Iterable[Replica], placed: Mapping[Replica, str], nodes: Collection[str]
) -> dict[Replica, str]:
    """Return a node for each wanted replica that is not placed yet.

    The node with the fewest replicas takes the next, the first by name among equals. A replica
    stays where it is, also while its node is lost: it may be running there.
    """
    load = Counter(dict.fromkeys(nodes, 0))
    load.update(node for node in placed.values() if node in load)
    found: dict[Replica, str] = {}
    for replica in wanted:
        if nodes and replica not in placed and replica not in found:
            node = min(nodes, key=lambda node: (load[node], node))
            found[replica] = node
            load[node] += 1
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A process that a node is to run, in this generation of its component."""

    component: str
    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class Present:
    """A process that a node knows of.

    ``asked`` says whether it was told to stop, ``grace`` how many seconds it was given then.
    """

    component: str
    generation: int
    state: State
    asked: bool = False
    grace: float | None = None


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

    A process of another generation is stopped, and its successor started once it is gone. One
    that ended by itself, or gave up, is left alone: its own rules said so.

    Parameters
    ----------
    wanted, present
        By the name of the process.
    grace
        Seconds to stop in, by component; without one it is that of the process.
    """
    known = grace or {}
    found = [
        step
        for name, process in present.items()
        for step in _leave(name, process, wanted.get(name), known.get(process.component))
    ]
    found += [Step("start", name) for name, process in wanted.items()
              if _is_to_start(process, present.get(name))]  # fmt: skip
    return found


def _leave(
    name: str, process: Present, wanted: Wanted | None, grace: float | None
) -> Iterator[Step]:
    if process.state in OVER:
        if wanted is None:
            yield Step("forget", name)
    elif wanted is None or wanted.generation != process.generation:
        sooner = grace is not None and process.grace is not None and grace < process.grace
        told = process.asked and process.state == "stopping"
        if not told or sooner:
            yield Step("stop", name, grace)


def _is_to_start(wanted: Wanted, process: Present | None) -> bool:
    if process is None:
        return True
    again = process.asked or process.generation != wanted.generation
    return again and process.state in OVER
