"""Where a server can be reached: by its name, here or on another node, or at a given address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from palm.runtime.folders import Folders
from palm.runtime.peers import find_peer, known_peers
from palm.runtime.records import ComponentRecord, live_records, read_record
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.keys import RoleKey

__all__ = ["Elsewhere", "Found", "Resolver", "runs"]


@dataclass(frozen=True, slots=True)
class Found:
    """Where to connect; ``server_key`` is empty for the cluster's own, as is ``key`` for ours.

    ``moves``: it may be found at another address while the one it had still answers.
    """

    endpoint: Endpoint
    server_key: str
    epoch: str
    key: RoleKey | None = None
    moves: bool = False


class Elsewhere(Protocol):
    """Who knows the components of other machines, where no runner of ours tells of them."""

    @property
    def refusal(self) -> str:
        """Why nothing will ever be said to us, "" if it may."""

    def find(self, name: str) -> Found | None:
        """Return where a component is, as far as is known by now; does not wait."""

    def renew(self) -> bool:
        """Have our key asked for anew, as it was refused; False: it is the one that holds."""

    def known(self) -> tuple[str, ...]:
        """Return the names of components that run, also of those that have no address for us."""

    def close(self) -> None:
        """Look no more."""


class Resolver:
    """Finds one server, again and again: it may move."""

    def __init__(
        self,
        folders: Folders,
        target: Endpoint | str,
        elsewhere: Callable[[], Elsewhere | None] | None = None,
    ) -> None:
        self._folders = folders
        self._target = target
        self._asks = elsewhere
        self._elsewhere: Elsewhere | None = None

    def find(self) -> Found | None:
        """Return where the server is now; None: nothing of that name runs."""
        if isinstance(self._target, Endpoint):
            return Found(self._target, "", "")
        record = read_record(self._folders, self._target)
        if record is None:
            return self._on_another_node(self._target)
        if not record.endpoints:
            return None
        address = record.endpoints.get("ipc") or next(iter(record.endpoints.values()))
        endpoint = parse_address(address)
        if isinstance(endpoint, str):
            return None
        return Found(endpoint, record.public_key, record.epoch)

    def _on_another_node(self, name: str) -> Found | None:
        """Return where a server of that name is on another node."""
        address = find_peer(self._folders, name)
        if not address:
            return self._ask(name)
        endpoint = parse_address(address)
        return Found(endpoint, "", "", moves=True) if isinstance(endpoint, Endpoint) else None

    def _ask(self, name: str) -> Found | None:
        """Ask somebody on another machine, once there is somebody."""
        if self._elsewhere is None and self._asks is not None:
            self._elsewhere = self._asks()
        return self._elsewhere.find(name) if self._elsewhere is not None else None

    @property
    def refusal(self) -> str:
        """Why nothing will ever be found, "" if it may."""
        return self._elsewhere.refusal if self._elsewhere is not None else ""

    def renew(self) -> bool:
        """Have our key asked for anew, as it was refused; False: nobody may have another."""
        return self._elsewhere is not None and self._elsewhere.renew()

    def close(self) -> None:
        """Ask nobody any more."""
        self._asks = None
        if self._elsewhere is not None:
            self._elsewhere.close()

    def known(self) -> tuple[str, ...]:
        """Return the names of what runs that others connect to, here and on other machines."""
        here = (*runs(live_records(self._folders)), *known_peers(self._folders))
        there = self._elsewhere.known() if self._elsewhere is not None else ()
        return tuple(dict.fromkeys((*here, *there)))


def runs(records: list[ComponentRecord]) -> tuple[str, ...]:
    """Return the names of components that others connect to."""
    return tuple(record.name for record in records if record.endpoints and record.role != "gateway")
