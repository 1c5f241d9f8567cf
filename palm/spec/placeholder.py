"""Placeholders in the arguments of a component: a closed set, and whole arguments only.

``${socket:COMPONENT.PORT}`` is the address of a component's port, ``${replica}`` the number of
the replica, ``${node}`` the name of its node, ``${name}`` that of the replica. Nothing is ever
looked up, evaluated or put into the middle of an argument. ``$${`` stands for a plain ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from palm.errors import ConfigError
from palm.spec.names import nearest

__all__ = ["Placeholder", "parse_argument"]

Kind = Literal["name", "node", "replica", "socket"]
_PLAIN: tuple[Kind, ...] = ("name", "node", "replica")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_SOCKET = re.compile(r"socket:([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,64})")
_OPEN = re.compile(r"(?<!\$)\$\{")
_FORMS = "${socket:COMPONENT.PORT}, ${replica}, ${node} or ${name}"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder; ``component`` and ``port`` belong to sockets."""

    kind: Kind
    component: str = ""
    port: str = ""


def parse_argument(argument: str, components: Collection[str] | None = None) -> Placeholder | str:
    """Return the placeholder that `argument` is, or else its text.

    With `components`, a socket must be of one of them.

    Raises
    ------
    ConfigError
        An unknown placeholder, or one that is not the whole argument.
    """
    whole = _WHOLE.fullmatch(argument)
    if whole is not None:
        return _placeholder(argument, whole[1], components)
    if _OPEN.search(argument):
        raise ConfigError(
            f"a placeholder can only be a whole argument, not part of {argument!r}",
            hint=f"{_FORMS}; write $${{ for a plain ${{",
        )
    return argument.replace("$${", "${")


def _placeholder(argument: str, inner: str, components: Collection[str] | None) -> Placeholder:
    for kind in _PLAIN:
        if inner == kind:
            return Placeholder(kind)
    socket = _SOCKET.fullmatch(inner)
    if socket is None:
        close = nearest(inner.partition(":")[0], (*_PLAIN, "socket"))
        meant = "${socket:COMPONENT.PORT}" if close == "socket" else f"${{{close}}}"
        hint = f"did you mean {meant}?" if close else f"there are {_FORMS}"
        raise ConfigError(f"there is no placeholder {argument!r}", hint=hint)
    component, port = socket.groups()
    if components is not None and component not in components:
        close = nearest(component, components)
        known = ", ".join(sorted(components))
        hint = f"did you mean {close!r}?" if close else f"there are: {known}"
        raise ConfigError(f"{argument!r} names no component of this cluster", hint=hint)
    return Placeholder("socket", component, port)
