"""When a message whose function raised is tried again."""

from __future__ import annotations

from typing import Final

from palm.wire.message import Terms
from palm.wire.outcome import Failure

__all__ = ["LONGEST", "SHORTEST", "back_off", "is_worth_it"]

#: Seconds before the first further try; each later one waits twice as long, up to the longest.
SHORTEST: Final = 0.1
LONGEST: Final = 10.0

#: Part of a wait by which it may be longer: tries that failed together do not come together.
SPREAD: Final = 0.25


def back_off(raised: int, jitter: float) -> float:
    """Return the seconds to wait after a function raised for the ``raised``-th time.

    ``jitter`` is a random number from 0 to 1; the wait is never shorter than without it.
    """
    doubled = SHORTEST * 2 ** min(raised - 1, 16)
    return float(min(doubled, LONGEST / (1 + SPREAD)) * (1 + SPREAD * jitter))


def is_worth_it(terms: Terms, raised: int, failure: Failure | None) -> bool:
    """Whether a job wants another try after ``raised`` failures, the last of them ``failure``."""
    if raised > terms.retries:
        return False
    if not terms.retry_on:
        return True
    return failure is not None and not set(terms.retry_on).isdisjoint(failure.bases)
