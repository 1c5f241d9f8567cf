"""Where a server can be reached: by its name, here or on another node, or at a given address."""

from __future__ import annotations

from dataclasses import dataclass

from palm.runtime.folders import Folders
from palm.runtime.peers import find_peer
from palm.runtime.records import ComponentRecord, live_records, read_record
from palm.spec.endpoint import Endpoint, parse_address

__all__ = ["Found", "Resolver", "runs"]


@dataclass(frozen=True, slots=True)
class Found:
    """Where to connect; ``server_key`` is empty for the cluster's own."""

    endpoint: Endpoint
    server_key: str
    epoch: str


class Resolver:
    """Finds one server, again and again: it may move."""

    def __init__(self, folders: Folders, target: Endpoint | str) -> None:
        self._folders = folders
        self._target = target

    def find(self) -> Found | None:
        """Return where the server is now; None: nothing of that name runs."""
        if isinstance(self._target, Endpoint):
            return Found(self._target, "", "")
        record = read_record(self._folders, self._target)
        if record is None:
            return self._elsewhere(self._target)
        if not record.endpoints:
            return None
        address = record.endpoints.get("ipc") or next(iter(record.endpoints.values()))
        endpoint = parse_address(address)
        if isinstance(endpoint, str):
            return None
        return Found(endpoint, record.public_key, record.epoch)

    def _elsewhere(self, name: str) -> Found | None:
        """Return where a server of that name is on another node."""
        address = find_peer(self._folders, name)
        endpoint = parse_address(address) if address else ""
        return Found(endpoint, "", "") if isinstance(endpoint, Endpoint) else None

    def known(self) -> tuple[str, ...]:
        """Return the names of what runs and can be connected to."""
        return runs(live_records(self._folders))


def runs(records: list[ComponentRecord]) -> tuple[str, ...]:
    """Return the names of components that others connect to."""
    return tuple(record.name for record in records if record.endpoints and record.role != "gateway")
