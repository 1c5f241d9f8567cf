"""The registry's client for notebooks, commands and runners: plain calls that block."""

from __future__ import annotations

import os
from collections.abc import Callable

from palm.registry_api.answers import Refused
from palm.registry_api.calls.accounts import AccountCalls
from palm.registry_api.calls.clusters import ClusterCalls
from palm.registry_api.calls.components import ComponentCalls
from palm.registry_api.calls.configs import ConfigCalls
from palm.registry_api.calls.events import EventCalls
from palm.registry_api.calls.keys import KeyCalls
from palm.registry_api.calls.live import LiveCalls
from palm.registry_api.calls.metrics import MetricCalls
from palm.registry_api.calls.nodes import NodeCalls
from palm.registry_api.calls.output import OutputCalls
from palm.registry_api.calls.registry import RegistryCalls
from palm.registry_api.connections import Connections
from palm.registry_api.site import Site, Unreachable, Untrusted, Whereabouts, check_url
from palm.registry_api.trust import Trust
from palm.spec.endpoint import is_loopback

__all__ = [
    "RETRY_FOR",
    "Refused",
    "RegistryClient",
    "Unreachable",
    "Untrusted",
    "Whereabouts",
    "check_url",
]

#: Seconds for which calls that may be repeated are tried again while the registry is away.
RETRY_FOR = 3.0


class RegistryClient(
    ClusterCalls,
    ConfigCalls,
    ComponentCalls,
    NodeCalls,
    KeyCalls,
    MetricCalls,
    OutputCalls,
    EventCalls,
    LiveCalls,
    RegistryCalls,
    AccountCalls,
):
    """Talks to the registry at ``url``; any thread may call, several at once.

    Calls that can be repeated without harm are, for ``retry`` seconds while the registry is away.

    Parameters
    ----------
    relocate
        Asked when nobody answers: gives address, token and certificate that hold by now, or None
        if nothing better is known. A local registry that was started again has another port.
    ca_file, fingerprint
        For https: a file with the registry's certificate, or the SHA-256 of it. Without either
        ``PALM_CA_FILE`` names the file; or what the system trusts decides.

    Raises
    ------
    Refused
        The registry said no.
    Unreachable
        There is no registry at the address, or it does not answer in time.
    ConfigError
        A cluster file or a component cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        retry: float = RETRY_FOR,
        relocate: Callable[[], Whereabouts | None] | None = None,
        ca_file: str | os.PathLike[str] = "",
        fingerprint: str = "",
    ) -> None:
        if not ca_file and not fingerprint:
            ca_file = os.environ.get("PALM_CA_FILE", "")
        site = Site.parse(url, token, Trust(str(ca_file), fingerprint))
        super().__init__(Connections(site, retry, relocate))

    def __repr__(self) -> str:
        return f"RegistryClient({self.url!r})"

    @property
    def url(self) -> str:
        """Where the registry is, with a slash at the end."""
        return self._connections.site.url

    @property
    def is_near(self) -> bool:
        """Whether the registry is on this machine, or seems to be."""
        return is_loopback(self._connections.site.host)

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()
