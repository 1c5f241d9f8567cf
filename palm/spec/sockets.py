"""Which sockets the arguments of a component name, its own and those of others."""

from __future__ import annotations

from collections.abc import Iterator

from palm.errors import ConfigError
from palm.spec.component import ComponentSpec
from palm.spec.placeholder import Placeholder, parse_argument

__all__ = ["NODE_PORT", "named_sockets", "socket_key"]

#: The port by which a component is found by its name from other nodes.
NODE_PORT = "node"


def named_sockets(spec: ComponentSpec) -> Iterator[Placeholder]:
    """Yield the sockets that the arguments of a component name."""
    for argument in (*spec.argv, *spec.command, *spec.args):
        if argument.startswith("${socket:"):
            try:
                found = parse_argument(argument)
            except ConfigError:  # whoever starts it says so
                continue
            if isinstance(found, Placeholder):
                yield found


def socket_key(component: str, port: str) -> str:
    """How a socket is called on the wire and in files: as in its placeholder."""
    return f"{component}.{port}"
