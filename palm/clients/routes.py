"""How a job goes from one component to the next, as it travels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palm.errors import ConfigError
from palm.wire.message import Route

__all__ = ["function_of", "route_of"]


def function_of(given: Any) -> str:
    """Return the functions of all stages as one text: a space between stages, a bar in them.

    Raises
    ------
    ConfigError
        What is given is no name, and no list of names.
    """
    if isinstance(given, str):
        return given
    if callable(given):
        name = getattr(given, "__name__", "NAME")
        raise ConfigError(
            f"a job takes the name of a function that workers serve, not {name} itself",
            hint=f"serve it, as with %%palm_worker in a notebook, and give 'SERVER.{name}'",
        )
    if not isinstance(given, Sequence) or not given:
        raise ConfigError(f"{given!r} is no function", hint="a name, or a list of names")
    return " ".join(_stage(stage) for stage in given)


def _stage(given: Any) -> str:
    names = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) and name for name in names):
        hint = "a name, or a list of the names of components that are one stage"
        raise ConfigError(f"{given!r} is no function of a stage", hint=hint)
    if any(" " in name or "|" in name for name in names):
        raise ConfigError(f"{given!r} is no function of a stage", hint="a name has no space or bar")
    return "|".join(names)


def route_of(cache: str, only: str) -> Route | None:
    """Return what messages carry of a client's wishes; None when that is nothing special."""
    return Route(cache=cache, only=only) if cache or only else None
