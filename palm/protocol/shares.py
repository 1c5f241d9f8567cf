"""How the messages of one job are shared over several masters, each of which counts its own."""

from __future__ import annotations

from bisect import bisect_right

from palm.errors import PalmError

__all__ = ["Shares"]


class _Share:
    """What one master has of a job, and how quick it is."""

    def __init__(self) -> None:
        #: The first message of each batch as the master counts, and as the job does.
        self.theirs: list[int] = []
        self.ours: list[int] = []
        self.submitted = 0
        self.answered = 0
        self._busy = 0.0
        self._since = 0.0

    @property
    def open(self) -> int:
        return self.submitted - self.answered

    def pass_time(self, now: float) -> None:
        """Count the time since the last event if it had something to do."""
        if self.open:
            self._busy += max(0.0, now - self._since)
        self._since = now

    @property
    def rate(self) -> float:
        """Outcomes a second; 0 as long as there is none."""
        return self.answered / max(self._busy, 1e-6) if self.answered else 0.0


class Shares:
    """The shares of ``n`` masters in one job.

    A batch goes to the master that is expected to be done with it first. Who had no outcome yet
    is taken to be as quick as the others are on average, until it has as much as those.
    """

    def __init__(self, n: int) -> None:
        self._shares = [_Share() for _ in range(n)]

    def submit(self, first: int, n: int, now: float) -> tuple[int, int]:
        """Return which master gets messages ``first .. first+n-1``, and what it is to call them."""
        for share in self._shares:
            share.pass_time(now)
        known = [share.rate for share in self._shares if share.rate]
        usual = sum(known) / len(known) if known else 1.0
        waits = [(share.open + n) / (share.rate or usual) for share in self._shares]
        chosen = min(range(len(waits)), key=lambda at: (waits[at], at))
        share = self._shares[chosen]
        theirs = share.submitted
        share.theirs.append(theirs)
        share.ours.append(first)
        share.submitted += n
        return chosen, theirs

    def count(self, master: int) -> int:
        """Return how many messages a master has had."""
        return self._shares[master].submitted

    def answer(self, master: int, n: int, now: float) -> None:
        """Note that a master had ``n`` outcomes."""
        share = self._shares[master]
        share.pass_time(now)
        share.answered += n

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
            batch = bisect_right(share.theirs, first + at) - 1
            ends = [*share.theirs[batch + 1 : batch + 2], share.submitted][0]
            size = min(ends - first - at, n - at)
            parts.append((at, share.ours[batch] + first + at - share.theirs[batch], size))
            at += size
        return parts
