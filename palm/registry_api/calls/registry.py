"""Calls about the registry itself: whether it is there, what it is, a copy of what it keeps."""

from __future__ import annotations

from typing import IO, Any

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls

__all__ = ["RegistryCalls"]

#: Seconds for the registry to see that it could start anew.
RESTART_TIMEOUT = 90.0


class RegistryCalls(Calls):
    """What may be asked about the registry itself."""

    def health(self) -> schema.Health:
        """Ask whether the registry is there."""
        return self._call("GET", "health", schema.Health)

    def info(self) -> schema.RegistryInfo:
        """Return what the registry is, and how it was told to run."""
        return self._call("GET", "api/registry", schema.RegistryInfo)

    def restart_registry(self) -> None:
        """Let the registry start anew, with the code that is there now; returns as it begins."""
        self._call("POST", "api/registry/restart", None, timeout=RESTART_TIMEOUT)

    def backup(self, file: IO[bytes]) -> int:
        """Write a copy of the registry's database into an open file; return its size in bytes."""
        return self._connections.download("api/registry/backup", file)

    def openapi(self) -> dict[str, Any]:
        """Return the API document (OpenAPI 3.1): all addresses, what they take and give."""
        return self._call("GET", "openapi.json", dict[str, Any])

    def file_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a cluster file, for editors."""
        return self._call("GET", "api/schema/cluster.json", dict[str, Any])
