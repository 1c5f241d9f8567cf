"""How the messages of one job are shared over several masters, each of which counts its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from palm.errors import PalmError

__all__ = ["Part", "Shares"]

#: Seconds of work that each master should have: who has less is given some first. It covers the
#: way there and back, and lets a master show how quick it is.
HORIZON: Final = 0.1

#: Messages for a master that has shown nothing yet, and the least for one that has nothing to do.
FIRST: Final = 64
LEAST: Final = 8

#: Seconds of work from which on a batch is divided: less is cheaper to send as a whole.
LONG: Final = 0.2

#: Seconds of work that are measured together, and the weight of a new measurement.
MEASURED: Final = 0.02
WEIGHT: Final = 0.5


class Part(NamedTuple):
    """Messages ``start .. start+n-1`` of a batch, which ``master`` gets as its ``first`` and on."""

    master: int
    first: int
    start: int
    n: int


class _Share:
    """What one master has of a job, and how quick it is."""

    def __init__(self) -> None:
        #: The first message of each part as the master counts, and as the job does.
        self.theirs: list[int] = []
        self.ours: list[int] = []
        self.submitted = 0
        self.answered = 0
        #: Outcomes a second when it has enough to do; None: not known.
        self.rate: float | None = None
        self._since = 0.0
        self._busy = 0.0
        self._count = 0

    @property
    def open(self) -> int:
        return self.submitted - self.answered

    def pass_time(self, now: float) -> None:
        """Count the time since the last event if it had something to do."""
        if self.open:
            self._busy += max(0.0, now - self._since)
        self._since = now

    def answer(self, n: int) -> None:
        self.answered += n
        self._count += n
        if self._busy >= MEASURED or not self.open:
            rate = self._count / max(self._busy, 1e-5)
            self.rate = rate if self.rate is None else self.rate + WEIGHT * (rate - self.rate)
            self._busy, self._count = 0.0, 0

    @property
    def pace(self) -> float | None:
        """Outcomes a second as it looks now: with nothing to be heard of it, fewer and fewer."""
        if self.rate is None or self._busy <= MEASURED:
            return self.rate
        return min(self.rate, (self._count + 1) / self._busy)

    @property
    def lacks(self) -> int:
        """How many more it needs to have enough to do."""
        pace = self.pace
        if pace is None:
            return FIRST - self.open
        enough = int(pace * HORIZON)
        return max(enough - self.open, 0 if self.open else LEAST)


class Shares:
    """The shares of ``n`` masters in one job.

    First each is given what it needs to have something to do; the rest goes to the one that is
    expected to be done with it first, or is divided so that all are done at the same time, if that
    one would be at work for long.
    """

    def __init__(self, n: int) -> None:
        self._shares = [_Share() for _ in range(n)]

    def submit(self, first: int, n: int, now: float) -> list[Part]:
        """Return who gets messages ``first .. first+n-1`` of the job, in order."""
        parts, at = [], 0
        for share in self._shares:
            share.pass_time(now)
        for master in sorted(range(len(self._shares)), key=self._wait):
            size = min(n - at, max(0, self._shares[master].lacks))
            if size:
                parts.append(self._give(master, first, at, size))
                at += size
        for master, size in self._divide(n - at) if at < n else ():
            parts.append(self._give(master, first, at, size))
            at += size
        return parts

    def _divide(self, n: int) -> list[tuple[int, int]]:
        """Return who gets how many of ``n`` messages that nobody lacks."""
        masters = range(len(self._shares))
        soonest = min(masters, key=lambda master: self._wait(master, n))
        wait = self._wait(soonest, n)
        if wait <= LONG or all(share.pace is None for share in self._shares):
            return [(soonest, n)]
        # The waits of those who take part rise to the same level, as water does.
        takers, level = [soonest], wait
        for master in sorted(masters, key=self._wait):
            if master != soonest and self._wait(master) < level:
                takers.append(master)
                level = self._level(takers, n)
        sizes, left = [], n
        for master in takers[1:]:
            enough = int(level * self._pace(master)) - self._shares[master].open
            sizes.append((master, max(0, min(enough, left))))
            left -= sizes[-1][1]
        return [(master, size) for master, size in [*sizes, (soonest, left)] if size]

    def _level(self, masters: Sequence[int], n: int) -> float:
        """Seconds after which these would all be done with what they have, and ``n`` more."""
        open_ = sum(self._shares[master].open for master in masters)
        return (open_ + n) / sum(self._pace(master) for master in masters)

    def _pace(self, master: int) -> float:
        return max(self._shares[master].pace or 0.0, 1e-9)

    def count(self, master: int) -> int:
        """Return how many messages a master has had."""
        return self._shares[master].submitted

    def answer(self, master: int, n: int, now: float) -> None:
        """Note that a master had ``n`` outcomes."""
        share = self._shares[master]
        share.pass_time(now)
        share.answer(n)

    def places(self, master: int, first: int, n: int) -> list[tuple[int, int, int]]:
        """Return where a master's messages ``first .. first+n-1`` are in the job.

        Each part is its position in that range, the position of its first message in the job,
        and how many they are.
        """
        share = self._shares[master]
        if first < 0 or first + n > share.submitted:
            raise PalmError(f"messages {first} + {n} of {share.submitted} that were submitted")
        parts, at = [], 0
        while at < n:
            part = bisect_right(share.theirs, first + at) - 1
            end = [*share.theirs[part + 1 : part + 2], share.submitted][0]
            size = min(end - first - at, n - at)
            parts.append((at, share.ours[part] + first + at - share.theirs[part], size))
            at += size
        return parts

    def _wait(self, master: int, n: int = 0) -> float:
        """Seconds after which a master should be done with what it has, and ``n`` more."""
        share = self._shares[master]
        if share.pace is None:  # it has enough before it has shown anything
            known = any(each.pace is not None for each in self._shares)
            return inf if known else float(share.open + n)
        return (share.open + n) / self._pace(master)

    def _give(self, master: int, first: int, at: int, n: int) -> Part:
        share = self._shares[master]
        part = Part(master, share.submitted, at, n)
        share.theirs.append(share.submitted)
        share.ours.append(first + at)
        share.submitted += n
        return part
