"""A ROUTER: who listens, and knows its peers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import zmq

from palm.errors import TransportError
from palm.spec.endpoint import Endpoint, is_loopback, parse_address
from palm.transport import multipart
from palm.transport.base import Arrived, Buffer, Gone, TransportEvent
from palm.transport.descriptors import Gate, Overflow, backlog, cut
from palm.transport.forks import let_go_in_children
from palm.transport.keys import Keyring
from palm.transport.monitored import Monitored
from palm.transport.security import ZapHandler, check_ipc_bind, secure_ipc_bind, secure_tcp_bind
from palm.transport.zmq.sockets import (
    CHUNK_LOCAL,
    CHUNK_REMOTE,
    DRAIN,
    HANDSHAKE_WITHIN,
    LINGER,
    chunked,
    set_heartbeat,
    taken,
)
from palm.transport.zmq.waits import WaitsForZmq

__all__ = ["BACKLOG", "CONFIRM_FOR", "DRAIN_LAST", "LOOK_EVERY", "ZmqListener"]

#: Seconds for which a peer whose descriptor was closed is asked again whether it is there.
CONFIRM_FOR: Final = 0.5

#: Seconds between two looks at a listener's monitor while there is always something to read: so
#: many connections may come meanwhile, for which there may be no room.
LOOK_EVERY: Final = 0.005

#: Messages that are read before the end of a peer is told: what it sent before comes before.
DRAIN_LAST: Final = 100_000

#: Most connections by tcp that wait to be taken, if the system lets so many: one that does not fit
#: is tried again after 1, 2, 4 ... seconds. For those by ipc see `descriptors.backlog`.
BACKLOG: Final = 4096

_LISTENER_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


class ZmqListener(WaitsForZmq):
    """A ROUTER; bind tcp endpoints first, then ipc ones."""

    def __init__(self, keyring: Keyring) -> None:
        super().__init__()
        self._owner = keyring.owner
        self._zap = ZapHandler(self.context, keyring)
        self._zap.start()
        self._router = Monitored(self.context, zmq.ROUTER, _LISTENER_EVENTS)
        self._router.socket.router_mandatory = True
        self._router.socket.handshake_ivl = HANDSHAKE_WITHIN
        self._watch(self._router)
        self._peers: dict[bytes, tuple[int, str, bool]] = {}
        self._by_fd: dict[int, set[bytes]] = {}
        self._suspects: dict[bytes, float] = {}
        self._lost: dict[bytes, None] = {}
        self._look_at = 0.0
        self._bound: list[Endpoint] = []
        self._overflow = Overflow()
        self._gate = Gate()
        #: Connections so far for which there was no room.
        self.turned_away = 0
        let_go_in_children(self)

    def bind(self, endpoint: Endpoint) -> str:
        """Listen at an endpoint, and return its address with the port that was found.

        Raises
        ------
        TransportError
            The port is taken, the address is not of this host, or it may not be used.
        """
        socket = self._router.socket
        if endpoint.scheme == "tcp":
            secure_tcp_bind(socket, self._owner)
            socket.backlog = BACKLOG
        else:
            check_ipc_bind(Path(endpoint.path))
            secure_ipc_bind(socket)
            socket.backlog = backlog()
        set_heartbeat(socket, endpoint.is_local)
        socket.ipv6 = endpoint.is_ipv6
        try:
            socket.bind(str(endpoint))
        except zmq.ZMQError as error:
            raise TransportError(f"cannot listen at {endpoint}: {error.strerror}") from error
        address = str(socket.last_endpoint.rstrip(b"\0").decode())
        found = parse_address(address)
        self._bound.append(found if isinstance(found, Endpoint) else endpoint)
        if endpoint.scheme == "ipc":
            self._gate.add(Path(endpoint.path))
        return address

    def bound_to(self) -> list[Endpoint]:
        """Return where it listens."""
        return [] if self._closed else self._bound

    def connected_to(self) -> list[Endpoint]:
        """Return an empty list: it connects to nobody."""
        return []

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames to a peer; `Gone` follows if it is not there."""
        local = self._peers.get(peer, (0, "", True))[2]
        try:
            multipart.send(
                self._router.socket,
                [peer, *chunked(frames, CHUNK_LOCAL if local else CHUNK_REMOTE)],
            )
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lost[peer] = None

    def probe(self, peer: bytes) -> None:
        """Send an empty message, which every connector ignores."""
        try:
            multipart.send(self._router.socket, [peer, b""])
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lost[peer] = None

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """See `palm.transport.base.Transport`."""
        events = self._drain(DRAIN)
        if not events and not self._lost:
            ready = self._wait(self._patience(timeout))
            if self._router.socket in ready:
                events = self._drain(DRAIN)
            if self._router.monitor in ready:
                self._look_at = 0.0
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._look(now)
        if self._suspects:
            self._confirm(now)
        if self._lost:
            events += self._drain(DRAIN_LAST)
            events += [self._forget(peer) for peer in self._lost]
            self._lost.clear()
        return events

    def close(self) -> None:
        """Let go of all sockets."""
        if not self._closed:
            self._closed = True
            self._unwatch(self._router)
            self._router.close(LINGER)
            self._zap.stop()
            self._close_context()
            self._gate.remove()

    def _drain(self, most: int) -> list[TransportEvent]:
        events: list[TransportEvent] = []
        socket = self._router.socket
        while len(events) < most and multipart.is_readable(socket):
            peer_frame, *frames = multipart.receive(socket)
            peer = peer_frame.bytes
            known = self._peers.get(peer)
            if known is None:
                known = self._meet(peer, frames[-1]) if frames else (0, "", True)
            if known is None:
                continue
            events.append(Arrived(peer, [taken(f) for f in frames], known[1], known[2]))
        return events

    def _meet(self, peer: bytes, frame: zmq.Frame) -> tuple[int, str, bool] | None:
        """Take down a newcomer; None: there is no room for it."""
        fd = int(frame.get(zmq.SRCFD))
        if self._overflow.has(fd):
            self._turn_away(peer, fd)
            return None
        user = _property(frame, "User-Id")
        address = _property(frame, "Peer-Address")  # on ipc there is none
        local = user == "local" or not address or is_loopback(address)
        self._peers[peer] = (fd, user, local)
        self._by_fd.setdefault(fd, set()).add(peer)
        return fd, user, local

    def _turn_away(self, peer: bytes, fd: int) -> None:
        if self._overflow.tell(fd, peer):
            self.turned_away += 1
            with contextlib.suppress(zmq.ZMQError):  # it has left
                reason = self._overflow.reason().encode()
                multipart.send(self._router.socket, [peer, b"", reason])

    def _look(self, now: float) -> None:
        """See who came and who left; whose descriptor was closed is asked whether it is there."""
        until = now + CONFIRM_FOR
        for event, fd in self._router.read_monitor():
            if event == zmq.EVENT_ACCEPTED:
                self._overflow.opened(fd, now)
                continue
            self._overflow.closed(fd)
            for peer in self._by_fd.get(fd, ()):
                self._suspects[peer] = until
        for fd in self._overflow.overdue(now):
            cut(fd)
        self._gate.set(is_open=not self._overflow)

    def _confirm(self, now: float) -> None:
        for peer, until in list(self._suspects.items()):
            self.probe(peer)
            if now > until:
                self._suspects.pop(peer, None)  # its descriptor is another connection's by now

    def _patience(self, timeout: float | None) -> float | None:
        cut_in = self._overflow.patience(time.monotonic()) if self._overflow else None
        waits = (timeout, cut_in, 0.005 if self._suspects else None)
        return min((wait for wait in waits if wait is not None), default=None)

    def _forget(self, peer: bytes) -> Gone:
        self._suspects.pop(peer, None)
        known = self._peers.pop(peer, None)
        if known is not None:
            peers = self._by_fd[known[0]]
            peers.discard(peer)
            if not peers:
                del self._by_fd[known[0]]
        return Gone(peer)


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        value = frame.get(name)
    except zmq.ZMQError:  # the peer's mechanism has no such property
        return ""
    return value if isinstance(value, str) else ""
