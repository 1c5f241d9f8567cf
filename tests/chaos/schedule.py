"""What is done to whom, and when: all of it follows from a seed.

On which process a fault falls depends on the run as well, since a victim must be there: a fault
names a share of those that are. Two runs of one seed are alike, not equal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import Final, NamedTuple

__all__ = ["KINDS", "Fault", "schedule"]

#: Kind and role, and how often.
_KINDS: Final = {
    ("kill", "worker"): 42,
    ("stop", "worker"): 22,
    ("term", "worker"): 16,
    ("stop", "master"): 5,
    ("kill", "master"): 7,
    ("kill", "client"): 8,
    ("kill", "runner"): 12,
    ("stop", "runner"): 6,
    ("term", "runner"): 6,
    ("kill", "registry"): 12,
    ("stop", "registry"): 6,
    ("restart", "registry"): 6,
}

#: Their names.
KINDS: Final = tuple(" ".join(kind) for kind in _KINDS)

#: Seconds between two faults, at least and at most.
PAUSE: Final = (0.0, 0.48)

#: Seconds for which a process is stopped: mostly for less than the time after which it counts as
#: lost, now and then for longer.
_SHORT: Final = (0.02, 1.2)
_LONG: Final = (1.8, 3.5)
_LONG_PART: Final = 0.2

#: Likewise of those who are missed after five seconds.
_LONG_OF: Final = {"runner": (4.0, 9.0), "registry": (4.0, 9.0)}


class Fault(NamedTuple):
    """``kind`` is kill (-9), term, stop, or restart (SIGHUP, of a registry).

    ``share`` in [0, 1) picks one of those with a role.
    """

    after: float
    kind: str
    role: str
    share: float
    lasts: float = 0.0


def schedule(
    seed: int,
    roles: frozenset[str],
    only: Collection[str] = (),
    pause: float = 0.0,
    pace: float = 1.0,
) -> Iterator[Fault]:
    """Yield faults without end, only of roles that there are.

    With ``only`` they are of these kinds ("kill worker"), with ``pause`` each comes so many
    seconds after the one before; else ``pace`` makes the time between them longer.
    """
    random = Random(seed)
    kinds = {kind: weight for kind, weight in _KINDS.items() if kind[1] in roles}
    if only:
        kinds = {kind: weight for kind, weight in kinds.items() if " ".join(kind) in only}
    while kinds:
        ((kind, role),) = random.choices(list(kinds), list(kinds.values()))
        after, share = random.uniform(*PAUSE), random.random()
        bounds = _LONG_OF.get(role, _LONG) if random.random() < _LONG_PART else _SHORT
        lasts = random.uniform(*bounds)
        after = pause or after * pace
        yield Fault(after, kind, role, share, lasts if kind == "stop" else 0.0)
