"""Connecting to a server that may not be there yet, or not be where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from palm.errors import ConfigError
from palm.protocol.events import LookedUp, Refused
from palm.runtime.driver import MAX_WAIT
from palm.runtime.folders import Folders
from palm.runtime.resolver import Elsewhere, Found, Resolver
from palm.spec.endpoint import Endpoint
from palm.transport.zmq import ZmqConnector

__all__ = ["FOLLOW_EVERY", "Dialer"]

#: Seconds between two looks whether a server that answers is the one that counts by now.
FOLLOW_EVERY: Final = 2.0


class Dialer:
    """Looks a server up and connects when it is found, or found elsewhere."""

    def __init__(
        self,
        folders: Folders,
        target: Endpoint | str,
        connector: ZmqConnector,
        elsewhere: Callable[[], Elsewhere | None] | None = None,
    ) -> None:
        self._resolver = Resolver(folders, target, elsewhere)
        self._is_given = isinstance(target, Endpoint)
        self._connector = connector
        connector.renew = self._resolver.renew
        self._dialled: Found | None = None
        self._looked = 0.0

    @property
    def address(self) -> str:
        """Where it was found at last, "" never."""
        return str(self._dialled.endpoint) if self._dialled is not None else ""

    def look(self) -> LookedUp | Refused:
        """Connect if there is somewhere new to; return what the machine is to be told of it."""
        looked = LookedUp(*self.dial())
        refusal = "" if looked.found else self._resolver.refusal
        return Refused(refusal) if refusal else looked

    def dial(self) -> tuple[bool, tuple[str, ...]]:
        """Connect if there is somewhere new to; return what `LookedUp` says."""
        try:
            found = self._resolver.find()
            if found is not None and found != self._dialled:
                self._connector.connect(found.endpoint, found.server_key, found.key)
                self._dialled = found
        except ConfigError:
            if self._is_given:
                raise
            found = None  # what is written of it leads nowhere: as good as nothing
        if found is None:
            return False, self._resolver.known()
        return True, ()

    def follow(self, now: float) -> float:
        """Go to where the server was placed meanwhile, though the old one may still answer.

        It answers if its node is cut off from the registry and not from us. Cheap, however often
        it is called. Returns the seconds in which it is to be called again.
        """
        if self._dialled is None or not self._dialled.moves:
            return MAX_WAIT
        if now - self._looked >= FOLLOW_EVERY:
            self._looked = now
            found = self._resolver.find()
            if found is not None and found.moves:
                self.dial()
        return FOLLOW_EVERY

    def close(self) -> None:
        """Look no more."""
        self._resolver.close()
