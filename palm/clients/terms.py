"""The options of a job as they travel: checked where they are given."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

from palm.errors import ConfigError
from palm.wire.message import MAX_CLASS, MAX_CLASSES, Terms
from palm.wire.outcome import class_names

__all__ = ["terms_of"]

#: Largest number that an option takes.
MAX_NUMBER: Final = 1_000_000_000


def terms_of(
    *,
    timeout: float | None = None,
    deadline: float | None = None,
    retries: int = 0,
    retry_on: type[BaseException] | Iterable[type[BaseException]] = (),
    priority: int = 0,
    at_most_once: bool = False,
    durable: bool = False,
    detach: bool = False,
) -> Terms | None:
    """Return how a job wants its messages treated; None when that is nothing special.

    Raises
    ------
    ConfigError
        A value cannot be used.
    """
    classes = _classes(retry_on)
    if classes and not retries:
        raise ConfigError("retry_on without retries", hint="say how often: retries=3")
    if retries and at_most_once:
        hint = "a message that is tried again runs more than once"
        raise ConfigError("retries together with at_most_once", hint=hint)
    limit = _seconds("deadline", deadline)
    terms = Terms(
        timeout=_seconds("timeout", timeout),
        deadline=limit,
        remaining=limit,
        retries=_whole("retries", retries, 0),
        retry_on=classes,
        priority=_whole("priority", priority, -MAX_NUMBER),
        at_most_once=bool(at_most_once),
        durable=bool(durable),
        detach=bool(detach),
    )
    return terms if terms != Terms() else None


def _classes(classes: type[BaseException] | Iterable[type[BaseException]]) -> list[str]:
    given = (classes,) if isinstance(classes, type) else tuple(classes)
    for each in given:
        if not _is_exception(each):
            raise ConfigError(f"retry_on={each!r}", hint="classes of exceptions")
    names = [class_names(each)[0] for each in given]
    if len(names) > MAX_CLASSES or any(len(name) > MAX_CLASS for name in names):
        raise ConfigError(f"{len(names)} classes in retry_on", hint=f"up to {MAX_CLASSES}")
    return names


def _is_exception(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, BaseException)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_NUMBER:
        raise ConfigError(f"{name}={value!r}", hint=f"a whole number from {least:,}")
    return int(value)


def _seconds(name: str, value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name}={value!r}", hint="seconds, or None")
    if not isfinite(value) or value <= 0:
        raise ConfigError(f"{name}={value!r}", hint="a positive number of seconds, or None")
    return float(value)
