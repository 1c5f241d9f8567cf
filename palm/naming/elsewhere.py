"""Components of other machines by name, for programs that no runner of their machine tells of.

The registry is asked in a thread of its own, and only while somebody looks for a name: one that
is away holds up nobody who has what it needs.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from typing import Final

import msgspec

from palm.errors import PalmError
from palm.naming.whereabouts import locate_registry
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import NamedAddress
from palm.runtime.folders import Folders
from palm.runtime.resolver import Found
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.keys import RoleKey

__all__ = ["RegistryNames"]

#: Least seconds between two questions, and at most while nothing answers.
ASK_EVERY: Final = 0.25
ASK_MOST: Final = 2.0
#: Seconds for which a key that was just asked for is the one that holds: refused, it stays so.
_FRESH: Final = 10.0
#: Seconds that a goodbye waits for an answer that is under way.
_PARTING: Final = 0.5

_log = logging.getLogger("palm.naming")


class RegistryNames:
    """Asks a registry, while `find` is called, where components are."""

    def __init__(self, folders: Folders, url: str, role: str) -> None:
        self._folders = folders
        self._url = url
        self._role = role
        self._names: dict[str, NamedAddress] = {}
        self._key: RoleKey | None = None
        #: Whether our key was refused since we asked for it, and when it was found unchanged.
        self._is_refused = False
        self._unchanged_at = -math.inf
        self._changed = threading.Condition()
        #: Looks so far, and how many of them there were at the last question.
        self._looked = self._asked = 0
        self._said = ""
        #: Why nothing will ever be said to us: the token is no good for that.
        self.refusal = ""
        self._closed = False
        self._thread: threading.Thread | None = None

    def find(self, name: str) -> Found | None:
        """Return where a component is, as far as is known by now."""
        with self._changed:
            self._looked += 1
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._ask, name="palm-names", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            found, key = self._names.get(name), self._key
        endpoint = parse_address(found.address) if found is not None and found.address else ""
        if key is None or not isinstance(endpoint, Endpoint):
            return None
        return Found(endpoint, "", "", key, moves=True)

    def renew(self) -> bool:
        """Ask for our key again, as it was refused: it may have been changed.

        Returns False if that was done just now, and it is still the same.
        """
        with self._changed:
            if time.monotonic() - self._unchanged_at < _FRESH:
                return False
            self._is_refused = True
            self._looked += 1
            self._changed.notify_all()
            return self._key is not None and not self._closed

    def known(self) -> tuple[str, ...]:
        """Return the names of components that run, also of those that have no address for us."""
        with self._changed:
            names = self._names.items()
            return tuple(name for name, each in names if each.address or each.runs)

    def close(self) -> None:
        """Ask no more; the thread ends after the answer that it may wait for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_PARTING)

    # The thread that asks

    def _ask(self) -> None:
        delay = ASK_EVERY
        client: RegistryClient | None = None
        try:
            while self._wait(delay):
                try:
                    client = client or self._open()
                    if client is not None:
                        self._look(client)
                    delay = ASK_EVERY
                except Refused as error:
                    delay = min(ASK_MOST, 2 * delay)
                    self._say(error)
                    if error.status in (401, 403) and self._url:
                        self.refusal = f"the registry refuses: {error}"
                except PalmError as error:
                    delay = min(ASK_MOST, 2 * delay)
                    self._say(error)
                    if client is not None:
                        client.close()
                        client = None  # it may be at another address by now
        finally:
            if client is not None:
                client.close()

    def _wait(self, delay: float) -> bool:
        """Wait a little, and until somebody has looked since; return whether to go on."""
        pause = delay * random.uniform(0.75, 1.25)  # noqa: S311 - so that not all ask at once
        with self._changed:
            if self._asked:
                self._changed.wait_for(lambda: self._closed, pause)
            self._changed.wait_for(lambda: self._closed or self._looked > self._asked)
            self._asked = self._looked
            return not self._closed

    def _open(self) -> RegistryClient | None:
        found = locate_registry(self._folders, self._url)
        if found is None:
            return None
        return RegistryClient(found.url, found.token, retry=0.0, ca_file=found.ca_file)

    def _look(self, client: RegistryClient) -> None:
        cluster = self._folders.cluster
        names = client.names(cluster)
        with self._changed:
            key, is_refused = self._key, self._is_refused
        is_wanted = key is None and any(each.address for each in names)
        if is_wanted or is_refused:
            key = msgspec.convert(
                msgspec.to_builtins(client.role_key(cluster, self._role)), RoleKey
            )
        with self._changed:
            if is_refused:
                self._is_refused = False
                self._unchanged_at = time.monotonic() if key == self._key else -math.inf
            self._names, self._key = {each.name: each for each in names}, key
            self._said = ""

    def _say(self, error: PalmError) -> None:
        """Log why nothing is known, unless it was said before."""
        text = str(error)
        if text != self._said:
            # Who did not say which registry may have nothing to do with it.
            level = logging.WARNING if self._url else logging.DEBUG
            _log.log(level, "the registry does not say where components are: %s", text)
        with self._changed:
            self._said = text
