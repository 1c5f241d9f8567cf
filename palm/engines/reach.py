"""Whether the registry can be reached from where an engine's worker is."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

__all__ = ["is_here", "out_of_reach"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_here(host: str) -> bool:
    """Whether a host is this machine, by any of its addresses."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_bind(family, address) for family, _, _, _, address in found)


def _can_bind(family: int, address: object) -> bool:
    """Whether an address is ours: nobody can bind to that of another machine."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)  # type: ignore[arg-type]
    except OSError:
        return False
    return True


def out_of_reach(url: str, host: str) -> str:
    """Say why a registry cannot be reached from a host, "" if it may be."""
    if urlsplit(url).hostname not in _LOOPBACK or is_here(host):
        return ""
    return (
        f"the registry listens for this machine alone ({url}), and {host} cannot reach it: end the"
        " cluster (palm down), start the registry where others reach it"
        " (palm registry --host ADDRESS --tls), and then palm up"
    )
