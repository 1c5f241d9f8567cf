"""Whether the registry can be reached from where an engine's worker is."""

from __future__ import annotations

from urllib.parse import urlsplit

from palm.runtime.hosts import is_here

__all__ = ["out_of_reach"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def out_of_reach(url: str, host: str) -> str:
    """Say why a registry cannot be reached from a host, "" if it may be."""
    if urlsplit(url).hostname not in _LOOPBACK or is_here(host):
        return ""
    return (
        f"the registry listens for this machine alone ({url}), and {host} cannot reach it: end the"
        " cluster (palm down), start the registry where others reach it"
        " (palm registry --host ADDRESS --tls), and then palm up"
    )
