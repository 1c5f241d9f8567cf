"""Whether the registry can be reached from where an engine's worker is."""

from __future__ import annotations

from urllib.parse import urlsplit

from palm.runtime.hosts import is_here
from palm.spec.endpoint import is_loopback

__all__ = ["out_of_reach"]


def out_of_reach(url: str, host: str) -> str:
    """Say why a registry cannot be reached from a host, "" if it may be."""
    if not is_loopback(urlsplit(url).hostname or "") or is_here(host):
        return ""
    return (
        f"the registry listens for this machine alone ({url}), and {host} cannot reach it: end the"
        " cluster (palm down), start the registry where others reach it"
        " (palm registry --host ADDRESS --tls), and then palm up"
    )
