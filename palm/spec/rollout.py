"""Which replicas of a component go on in the version before, while others are replaced. Pure.

A new version takes the place of a few replicas at a time: the next ones have their turn when those
are ready. While one of the new version fails, nobody has a turn, so what still runs well goes on.
Nothing has to be remembered: the same facts always give the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["ROLLOUTS", "Rollout", "Version", "keeping", "share_of"]

#: "rolling": a few at a time. "at-once": all at the same time.
Rollout = Literal["rolling", "at-once"]
ROLLOUTS: tuple[Rollout, ...] = ("rolling", "at-once")

#: One of so many is replaced at a time, and one at least.
_SHARE = 10


@dataclass(frozen=True, slots=True)
class Version:
    """A replica: whether it is of the new version, and whether it is ready, or done with its work.

    One of the version before that is not ready serves nobody, and is replaced at once. ``failed``:
    it ended, or was too slow, since it was last ready.
    """

    new: bool
    ready: bool
    failed: bool = False


def share_of(replicas: int) -> int:
    """How many of so many replicas may be missing while they are replaced."""
    return max(1, replicas // _SHARE)


def keeping(replicas: Mapping[int, Version], desired: int) -> list[int]:
    """Return the numbers of those that are to go on in the version before, for now.

    Parameters
    ----------
    replicas
        By number, those that there are.
    desired
        How many are wanted: numbers from 0 to one below it.
    """
    known = {number: each for number, each in replicas.items() if number < desired}
    old = sorted(number for number, each in known.items() if each.ready and not each.new)
    ready = sum(each.ready for each in known.values())
    turns = max(0, ready - (desired - share_of(desired)))
    halted = any(each.new and each.failed for each in known.values())
    return old if halted else old[turns:]
