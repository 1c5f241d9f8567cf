"""Connecting to a server that may not be there yet, or not be where it was."""

from __future__ import annotations

from palm.errors import ConfigError
from palm.runtime.folders import Folders
from palm.runtime.resolver import Found, Resolver
from palm.spec.endpoint import Endpoint
from palm.transport.zmq import ZmqConnector

__all__ = ["Dialer"]


class Dialer:
    """Looks a server up and connects when it is found, or found elsewhere."""

    def __init__(self, folders: Folders, target: Endpoint | str, connector: ZmqConnector) -> None:
        self._resolver = Resolver(folders, target)
        self._is_given = isinstance(target, Endpoint)
        self._connector = connector
        self._dialled: Found | None = None

    def dial(self) -> tuple[bool, tuple[str, ...]]:
        """Connect if there is somewhere new to; return what `LookedUp` says."""
        try:
            found = self._resolver.find()
            if found is not None and found != self._dialled:
                self._connector.connect(found.endpoint, found.server_key)
                self._dialled = found
        except ConfigError:
            if self._is_given:
                raise
            found = None  # what is written of it leads nowhere: as good as nothing
        if found is None:
            return False, self._resolver.known()
        return True, ()
