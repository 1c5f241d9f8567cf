"""An executor that a function of the user's makes: ``module:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from palm.errors import ConfigError
from palm.spec.names import nearest

__all__ = ["maker_of"]


def maker_of(text: str) -> Callable[[], Any]:
    """Return the function of ``module:function``.

    Raises
    ------
    ConfigError
        There is no such function.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier() or not all(map(str.isidentifier, place.split("."))):
        raise ConfigError(
            f"{text!r} names no function", key="executor", hint="MODULE:FUNCTION, as pools:make"
        )
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # the installed command does not look here
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ConfigError(f"there is no module {error.name!r}", key="executor") from error
    found = getattr(module, name, None)
    if not callable(found):
        meant = nearest(name, [n for n, v in vars(module).items() if callable(v)])
        hint = f"did you mean {place}:{meant}?" if meant else "a function without arguments"
        raise ConfigError(f"{place} has no function {name!r}", key="executor", hint=hint)
    return found  # type: ignore[no-any-return]
