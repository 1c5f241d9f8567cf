"""A crowd: bare peers that greet a master, are welcome, and do nothing.

A `palm.clients.Client` has threads and a context of its own, of which a machine holds hundreds. A
peer here is one socket that speaks palm's protocol, with the options of a client's, and many of
them share a context.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import zmq

from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.security import load_key, secure_connect
from palm.transport.zmq import HANDSHAKE_WITHIN, HEARTBEAT_LOCAL, RECONNECT
from palm.wire import framing
from palm.wire.message import VERSION, Hello, Welcome

__all__ = ["Crowd", "Greeted"]


@dataclass
class Greeted:
    """What became of those who entered: seconds that each waited for its welcome."""

    waits: list[float]
    #: Those who were told that there is no room, and left.
    turned_away: int = 0
    #: What they were told.
    reason: str = ""


class Crowd:
    """Peers of a master, in this process."""

    def __init__(self, address: str, folders: Folders) -> None:
        self._endpoint = parse_address(address)
        self._folders = folders
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.max_sockets = 60_000
        self._poller = zmq.Poller()
        self._entered_at: dict[zmq.Socket[bytes], float] = {}
        self._count = 0
        #: Those who are welcome.
        self.members: list[zmq.Socket[bytes]] = []

    def enter(self, n: int, within: float = 60.0) -> Greeted:
        """Have so many greet the master at once, and wait until all have an answer."""
        for _ in range(n):
            self._enter_one()
        greeted, until = Greeted([]), time.monotonic() + within
        while self._entered_at and time.monotonic() < until:
            for peer, _ in self._poller.poll(100):
                self._hear(peer, greeted)
        return greeted

    def leave(self, n: int) -> None:
        """Have so many leave, without a word."""
        leaving, self.members = self.members[:n], self.members[n:]
        for peer in leaving:
            peer.close(0)

    def close(self) -> None:
        """Have all leave."""
        for peer in [*self._entered_at, *self.members]:
            peer.close(0)
        self._entered_at.clear()
        self.members.clear()
        self._context.term()

    def _enter_one(self) -> None:
        peer: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        peer.linger = 0
        peer.set_hwm(0)
        peer.reconnect_ivl, peer.reconnect_ivl_max = RECONNECT
        peer.handshake_ivl = HANDSHAKE_WITHIN
        peer.heartbeat_ivl, peer.heartbeat_timeout = HEARTBEAT_LOCAL
        peer.heartbeat_ttl = peer.heartbeat_timeout
        if isinstance(self._endpoint, Endpoint) and self._endpoint.scheme == "tcp":
            secure_connect(peer, load_key(self._folders.keys / "client.json"))
        peer.connect(str(self._endpoint))
        self._count += 1
        session = self._count.to_bytes(16, "big")
        hello = Hello(0, VERSION, "client", f"idle-{self._count}", session, "", [], [])
        peer.send_multipart(framing.pack(hello, None))
        self._entered_at[peer] = time.monotonic()
        self._poller.register(peer, zmq.POLLIN)

    def _hear(self, peer: zmq.Socket[bytes], greeted: Greeted) -> None:
        header, *rest = peer.recv_multipart()
        if not header and not rest:
            return  # a probe
        self._poller.unregister(peer)
        entered_at = self._entered_at.pop(peer)
        if not header:
            greeted.turned_away += 1
            greeted.reason = rest[0].decode()
            peer.close(0)
            return
        message, _ = framing.unpack([header, *rest])
        if not isinstance(message, Welcome):
            raise TypeError(f"no welcome: {message}")
        greeted.waits.append(time.monotonic() - entered_at)
        self.members.append(peer)
