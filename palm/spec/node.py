"""What a machine is as a node: the file ``node.toml``, and the options that say the same."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from palm.errors import ConfigError
from palm.spec.allow import check_allow
from palm.spec.endpoint import Endpoint, parse_address
from palm.spec.lines import find_lines
from palm.spec.names import check_labels, check_name, nearest

__all__ = ["MAX_CORES", "NodeConfig", "parse_node", "parse_ports"]

#: Bytes of the file.
MAX_FILE = 64 * 1024
MAX_CORES = 65536

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A node; what is empty, or 0, is found out.

    ``address`` is a host name or an IP address by which other nodes reach it. ``ports`` are the
    first and the last that it may give to sockets, None for any that is free. ``allow`` is what its
    owner lets run there (`palm.spec.allow`), None: anything. ``places`` is how many processes of
    components it takes at most, 0: any number.
    """

    name: str = ""
    address: str = ""
    cores: int = 0
    ports: tuple[int, int] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] | None = None
    places: int = 0

    def __post_init__(self) -> None:
        """Refuse what no node can be, as a `ConfigError` with its key."""
        for key in fields(self):
            try:
                _CHECKS[key.name](getattr(self, key.name))
            except ConfigError as error:
                raise ConfigError(str(error.args[0]), key=key.name, hint=error.hint) from error


def parse_ports(text: str) -> tuple[int, int]:
    """Read a range of ports, ``FIRST-LAST`` or one alone.

    Raises
    ------
    ConfigError
        It is none.
    """
    found = _PORTS.fullmatch(text.replace(" ", ""))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise ConfigError(f"{text!r} is no range of ports", key="ports", hint='like "42000-42999"')
    return first, last


def parse_node(text: str, file: str = "node.toml") -> NodeConfig:
    """Return what a node file says.

    Raises
    ------
    ConfigError
        The first thing that is wrong, with file, line, key and a hint.
    """
    table = _table(text, file)
    lines = find_lines(text)
    try:
        return NodeConfig(**{key: _value(key, value) for key, value in table.items()})
    except ConfigError as error:
        line = lines.get((error.key or "",), 1)
        raise ConfigError(
            str(error.args[0]), file=file, line=line, key=error.key, hint=error.hint
        ) from error


def _table(text: str, file: str) -> dict[str, Any]:
    if len(text) > MAX_FILE:
        raise ConfigError("the file is too large", file=file, hint=f"at most {MAX_FILE} characters")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        said = re.sub(r" \(at .*\)$", "", str(error))
        last = text.count("\n") + 1
        raise ConfigError(
            f"this is not TOML: {said}", file=file, line=int(line[1]) if line else last
        ) from error


def _value(key: str, value: Any) -> Any:
    if key not in _TYPES:
        close = nearest(key, _TYPES)
        hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(_TYPES)}"
        raise ConfigError("there is no such key", key=key, hint=hint)
    try:
        found = msgspec.convert(value, _TYPES[key])
    except msgspec.ValidationError as error:
        said = str(error).split(" - at ")[0].replace("`", "")
        raise ConfigError(said[0].lower() + said[1:], key=key) from error
    if key == "allow":
        return tuple(found)
    return parse_ports(found) if key == "ports" else found


_TYPES: dict[str, Any] = {
    "name": str,
    "address": str,
    "cores": int,
    "ports": str,
    "labels": dict[str, str],
    "allow": list[str],
    "places": int,
}


def _check_name(name: str) -> None:
    if name:
        check_name(name)


def _check_address(address: str) -> None:
    if not address:
        return
    host = f"[{address}]" if ":" in address else address
    try:
        found = parse_address(f"tcp://{host}:0")
    except ConfigError:
        found = ""
    if not isinstance(found, Endpoint):
        raise ConfigError(f"{address!r} is no address", hint="a host name or an IP address")
    if found.host in ("*", "0.0.0.0", "::"):  # noqa: S104 - refused
        hint = "an address by which other nodes reach this one"
        raise ConfigError(f"nobody can connect to {address!r}", hint=hint)


def _check_cores(cores: int) -> None:
    if not 0 <= cores <= MAX_CORES:
        raise ConfigError(f"{cores} cores", hint=f"from 1 to {MAX_CORES}")


def _check_places(places: int) -> None:
    if not 0 <= places <= MAX_CORES:
        raise ConfigError(f"{places} places", hint=f"from 1 to {MAX_CORES}, or 0: any number")


_CHECKS: dict[str, Any] = {
    "name": _check_name,
    "address": _check_address,
    "cores": _check_cores,
    "ports": lambda ports: ports and parse_ports(f"{ports[0]}-{ports[1]}"),
    "labels": check_labels,
    "allow": check_allow,
    "places": _check_places,
}
