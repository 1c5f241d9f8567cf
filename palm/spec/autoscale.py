"""How many replicas a component has that scales itself, ``replicas = "2..16"``. Pure.

More are wanted at once, and fewer only after a while in which fewer were wanted all the time: a
replica too many costs little, and one that ends and begins again and again costs much. Of a
steady load nothing ever changes after that.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from palm.errors import ConfigError

__all__ = ["SHRINK_AFTER", "Decision", "Pace", "Range", "Reading", "Scaler"]

#: Part of its time that a worker works, at a load that lasts.
UTILISATION = 0.8
#: Seconds in which what waits is to be done.
DONE_WITHIN = 10.0
#: Seconds for which fewer must be wanted until there are fewer.
SHRINK_AFTER = 30.0

_FORM = re.compile(r"\s*(\d{1,6})\s*\.\.\s*(\d{1,6})\s*")
#: What comes of floating point counts for no replica.
_TINY = 1e-9


class Range(msgspec.Struct, frozen=True):
    """From the ``least`` to the ``most`` replicas."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read ``LEAST..MOST``.

        Raises
        ------
        ConfigError
            It is no range.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise ConfigError(f"{text!r} is no number of replicas", hint='like 4, or "2..16"')
        return cls(int(found[1]), int(found[2]))

    def flaws(self, most: int) -> Iterator[tuple[str, str | None]]:
        """Yield what is wrong with it, with a hint; no component has more than ``most``."""
        if self.least < 1:
            yield f"from {self.least} replicas on", "at least 1: what has none does not learn that"
        elif self.least > self.most:
            yield f"{self} ends before it begins", f'"{self.most}..{self.least}"'
        elif self.most > most:
            yield f"up to {self.most} replicas", f"at most {most}"

    def clamp(self, replicas: int) -> int:
        """Return the number of replicas in it that is next to a number."""
        return max(self.least, min(self.most, replicas))


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: for which more must be wanted, after a change until the next one, and for which
    fewer must be wanted.
    """

    grow_after: float = 2.0
    settle: float = 5.0
    shrink_after: float = SHRINK_AFTER


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of the work of a component at one moment.

    ``waiting`` messages have not begun; ``busy`` workers were at work on the average, and a message
    takes ``service`` seconds (None: none has been done yet).
    """

    waiting: int = 0
    busy: float = 0.0
    service: float | None = None

    def wants(self, replicas: int, within: Range) -> int:
        """Return how many replicas this takes, given how many there are."""
        if self.service is None:
            return within.clamp(replicas + 1 if self.waiting else within.least)
        need = self.busy / UTILISATION + self.waiting * self.service / DONE_WITHIN
        return within.clamp(math.ceil(min(need, within.most) - _TINY))


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there are to be, and how many the load of this moment takes."""

    replicas: int
    wants: int


@dataclass(slots=True)
class Scaler:
    """The memory of one component: what was wanted of late, and when its number was changed."""

    pace: Pace = field(default_factory=Pace)
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _changed: float = -math.inf
    #: Since when more are wanted without a break, and fewer; None: they are not.
    _more_since: float | None = None
    _fewer_since: float | None = None

    def decide(self, reading: Reading | None, replicas: int, within: Range, now: float) -> Decision:
        """Return how many replicas there are to be from now on.

        Without a reading nothing is known, and nothing changes.
        """
        if reading is None:
            self._more_since = self._fewer_since = None
            self._wanted.clear()
            return Decision(within.clamp(replicas), within.clamp(replicas))
        wants = reading.wants(replicas, within)
        self._note(wants, replicas, now)
        target = within.clamp(self._target(wants, replicas, now))
        if target != replicas:
            self._changed, self._more_since, self._fewer_since = now, None, None
        return Decision(target, wants)

    def _note(self, wants: int, replicas: int, now: float) -> None:
        self._wanted.append((now, wants))
        while self._wanted[0][0] < now - self.pace.shrink_after:
            self._wanted.popleft()
        self._more_since = _since(self._more_since, now, holds=wants > replicas)
        self._fewer_since = _since(self._fewer_since, now, holds=wants < replicas)

    def _target(self, wants: int, replicas: int, now: float) -> int:
        pace = self.pace
        if self._more_since is not None and now - self._more_since >= pace.grow_after:
            if now - self._changed >= pace.settle:
                return min(wants, 2 * replicas)  # what begins now has not been seen at work yet
        elif self._fewer_since is not None and now - self._fewer_since >= pace.shrink_after:
            return max(wanted for _, wanted in self._wanted)
        return replicas


def _since(before: float | None, now: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now if before is None else before
