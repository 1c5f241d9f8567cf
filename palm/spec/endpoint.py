"""Addresses, taken apart and put together again.

The forms are ``tcp://HOST:PORT`` (port 0: any free one; IPv6 in brackets), ``ipc://PATH``, and
the bare name of a component, which stands for wherever that component can be reached.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from palm.errors import ConfigError
from palm.spec.names import check_name

__all__ = ["MAX_IPC_PATH", "Endpoint", "is_loopback", "parse_address"]

#: Bytes of a Unix socket's path that the kernel takes (``sun_path`` has 108 with its final NUL).
MAX_IPC_PATH = 107

_FORMS = "an address is tcp://HOST:PORT, ipc:///PATH, or the name of a component"
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `host` (no brackets) and `port` belong to tcp, `path` to ipc."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "ipc":
            return f"ipc://{self.path}"
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        """Whether the socket needs its IPv6 option for this address."""
        return ":" in self.host

    @property
    def is_local(self) -> bool:
        """Whether nobody on another machine can reach this address."""
        return self.scheme == "ipc" or is_loopback(self.host)

    def is_reached_by(self, other: Endpoint) -> bool:
        """Whether who connects to ``other`` comes to who listens here, on this or another host."""
        if (self.scheme, self.port, self.path) != (other.scheme, other.port, other.path):
            return False
        everywhere = self.host in ("*", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
        return everywhere or self.host == other.host or (self.is_local and other.is_local)


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address without brackets, is this machine for itself alone."""
    if ":" in host and host != "::1":
        return _is_loopback_in_full(host)
    if host.startswith("127."):  # 127.example.org may be anywhere
        parts = host.split(".")
        return len(parts) <= 4 and all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts)
    return host == "::1" or host.lower() == "localhost"


def parse_address(text: str) -> Endpoint | str:
    """Return the Endpoint that `text` gives, or `text` itself if it is a component's name.

    Raises
    ------
    ConfigError
        Naming the valid forms.
    """
    if text.startswith("tcp://"):
        return _tcp(text)
    if text.startswith("ipc://"):
        return _ipc(text)
    try:
        return check_name(text)
    except ConfigError:
        raise ConfigError(f"{text!r} is not an address", hint=_FORMS) from None


def _tcp(text: str) -> Endpoint:
    host, colon, port = text.removeprefix("tcp://").rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        known = ":" in host and _IPV6.fullmatch(host) is not None
    else:
        known = host == "*" or _HOST.fullmatch(host) is not None
    if not colon or not known:
        raise ConfigError(f"{text!r} is not an address", hint=_FORMS)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        hint = "a port is a number from 0 to 65535, 0 for any free one"
        raise ConfigError(f"{text!r} has no valid port", hint=hint)
    return Endpoint("tcp", host=host, port=int(port))


def _ipc(text: str) -> Endpoint:
    path = text.removeprefix("ipc://")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        # A relative path means something else in every process, and an abstract one
        # (ipc://@name) has no permissions: every user of the machine may connect to it.
        hint = "it is ipc:// and the absolute path of a file, as in ipc:///home/me/foo"
        raise ConfigError(f"{text!r} has no valid path", hint=hint)
    if len(path.encode("utf-8", "surrogateescape")) > MAX_IPC_PATH:
        hint = f"the path of a socket has at most {MAX_IPC_PATH} bytes"
        raise ConfigError(f"{text!r} is too long", hint=hint)
    return Endpoint("ipc", path=path)


def _is_loopback_in_full(host: str) -> bool:
    from ipaddress import IPv6Address  # for few: it takes longer to load than all of this

    try:
        address = IPv6Address(host)
    except ValueError:
        return False
    return (address.ipv4_mapped or address).is_loopback
