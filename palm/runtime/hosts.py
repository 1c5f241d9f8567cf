"""Which machine this is, and whether an address is one of its own."""

from __future__ import annotations

import socket
from pathlib import Path

__all__ = ["boot_id", "is_here", "own_address"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return what no other machine has, nor this one after its next start; "" if not known."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def is_here(host: str) -> bool:
    """Whether a host is this machine, by any of its addresses."""
    return any(_is_ours(family, address) for family, address in _addresses(host))


def own_address(host: str) -> str:
    """Return a host that is this machine and is one to others, too; "" if it is not."""
    found = _addresses(host)
    if not found or any(address[0].startswith(("127.", "::1", "0.")) for _, address in found):
        return ""
    return host if any(_is_ours(family, address) for family, address in found) else ""


Address = tuple[str, int] | tuple[str, int, int, int]


def _addresses(host: str) -> list[tuple[socket.AddressFamily, Address]]:
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _is_ours(family: socket.AddressFamily, address: Address) -> bool:
    """Whether we can bind to an address: nobody can bind to that of another machine."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True
