"""The options of a job as they travel: checked where they are given."""

from __future__ import annotations

from math import isfinite

from palm.errors import ConfigError
from palm.wire.message import Terms

__all__ = ["terms_of"]


def terms_of(*, timeout: float | None = None) -> Terms | None:
    """Return how a job wants its messages treated; None when that is nothing special.

    Raises
    ------
    ConfigError
        A value cannot be used.
    """
    terms = Terms(timeout=_seconds("timeout", timeout))
    return terms if terms != Terms() else None


def _seconds(name: str, value: float | None) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name}={value!r}", hint="seconds, or None")
    if not isfinite(value) or value <= 0:
        raise ConfigError(f"{name}={value!r}", hint="a positive number of seconds, or None")
    return float(value)
