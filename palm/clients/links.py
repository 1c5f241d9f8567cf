"""How a client gets to its master, or to several."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palm.clients.connection import Connection
from palm.naming import asking
from palm.protocol.client import ClientMachine
from palm.protocol.link import Identity
from palm.runtime.connecting import Dialer
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector

if TYPE_CHECKING:
    from palm.clients.sharded import Shards

__all__ = ["Links", "Perform", "Place"]

Perform = dict[type, Callable[[Any], None]]
Idle = Callable[[], bool | None]


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster of a client: its folders, and its registry if it is known."""

    folders: Folders
    registry: str = ""

    @classmethod
    def here(cls) -> Place:
        """That of this process."""
        return cls(Folders.find())


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the connections of one client, which is ``uuid``; ``timeout`` as `connect_timeout`."""

    place: Place
    uuid: str
    timeout: float
    logger: logging.Logger

    def to_master(
        self, target: Endpoint | str, name: str, perform: Perform, idle: Idle
    ) -> Connection:
        """Return a connection to a master, by address or name; see `Connection`."""
        folders = self.place.folders
        connector = ZmqConnector(ensure_keys(folders.keys).client)
        identity = Identity("client", f"client-{self.uuid[:8]}", os.urandom(16), name, [])
        return Connection(
            ClientMachine(identity, self.timeout),
            connector,
            Dialer(folders, target, connector, asking(folders, "client", self.place.registry)),
            perform,
            idle,
            self.logger,
        )

    def to_masters(self, names: list[str], perform: Perform, idle: Idle) -> Shards:
        """Return connections to several masters, as one."""
        from palm.clients.sharded import Shards  # for few

        def connect(name: str, perform: Perform, idle: Idle) -> Connection:
            return self.to_master(parse_address(name), name, perform, idle)

        return Shards(names, connect, perform, idle)
