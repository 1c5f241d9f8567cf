"""ZeroMQ: a ROUTER listens, a DEALER connects.

High-water marks are off: libzmq stops reading a peer whose pipe is full, and a healthy busy peer
would then fail its heartbeats. Heartbeats are ZMTP's, answered by libzmq's own thread, also while
Python is busy. The end of a connection is seen by the socket's monitor: at a listener its file
descriptor is that which the peer's frames came from, confirmed by an empty message, since
descriptors are used again.
"""

from __future__ import annotations

import contextlib
import math
import random
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import zmq

from palm.errors import ConfigError, TransportError
from palm.spec.endpoint import Endpoint, is_loopback, parse_address
from palm.transport import multipart
from palm.transport.base import Arrived, Buffer, Denied, Down, Full, Gone, TransportEvent, Up
from palm.transport.descriptors import Gate, Overflow, backlog, cut
from palm.transport.forks import let_go_in_children
from palm.transport.keys import Keyring, RoleKey
from palm.transport.monitored import Monitored
from palm.transport.rotation import keys_to_try
from palm.transport.security import (
    ZapHandler,
    check_ipc_bind,
    check_ipc_server,
    check_libzmq,
    secure_connect,
    secure_ipc_bind,
    secure_tcp_bind,
)
from palm.transport.waker import Waker

__all__ = ["ZmqConnector", "ZmqListener"]

#: Most messages read before what they say is acted upon.
DRAIN: Final = 64

#: Largest frame sent, bytes: one that takes longer than the heartbeat's time-out ends the
#: connection.
CHUNK_LOCAL: Final = 1 << 20
CHUNK_REMOTE: Final = 64 * 1024

#: ZMTP heartbeats, milliseconds: interval and time-out.
HEARTBEAT_LOCAL: Final = (500, 1500)
HEARTBEAT_REMOTE: Final = (1000, 6000)

#: Received frames up to this size (bytes) are copied out of libzmq: holding them costs more.
COPY_MAX: Final = 64 * 1024

#: Milliseconds that a handshake may take.
HANDSHAKE_WITHIN: Final = 5000

#: Milliseconds between two attempts to connect: at first, and at most.
RECONNECT: Final = (20, 250)

#: Milliseconds that what was sent has to leave when a socket is closed.
LINGER: Final = 500

#: Seconds for which a peer whose descriptor was closed is asked again whether it is there.
CONFIRM_FOR: Final = 0.5

#: Seconds between two looks at a listener's monitor while there is always something to read: so
#: many connections may come meanwhile, for which there may be no room.
LOOK_EVERY: Final = 0.005

#: Messages that are read before the end of a peer is told: what it sent before comes before.
DRAIN_LAST: Final = 100_000

#: Seconds after which who was told that there is no room comes back: at first, and at most. A lot
#: of them must not keep the listener busy.
COME_BACK: Final = (0.5, 8.0)

#: Most connections by tcp that wait to be taken, if the system lets so many: one that does not fit
#: is tried again after 1, 2, 4 ... seconds. For those by ipc see `descriptors.backlog`.
BACKLOG: Final = 4096

#: Handshakes in a row that are refused at once, after which the server is taken for another one.
MAX_HANDSHAKES: Final = 5

_LISTENER_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_CONNECTOR_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class WaitsForZmq:
    """What listener and connector share: the wait for something to come."""

    def __init__(self, context: zmq.Context[Any] | None = None) -> None:
        check_libzmq()
        self._shares_context = context is not None
        self.context: zmq.Context[Any] = context or zmq.Context()
        self._waker = Waker()
        # Of descriptors: zmq's own poller asks each socket twice.
        self._poller = select.poll()
        self._poller.register(self._waker.fd, select.POLLIN)
        #: Pollers that end their waits when something comes to us: ours, and a switchboard's.
        self._pollers = [self._poller]
        self._watched: dict[int, zmq.Socket[Any]] = {}
        self._closed = False

    @property
    def wakeup_fd(self) -> int:
        """A descriptor that ends the wait of `receive` when it is written to."""
        return self._waker.write_fd

    def wake(self) -> None:
        """End the wait of `receive`, now or the next one; any thread may call it."""
        self._waker.wake()

    def _watch(self, monitored: Monitored) -> None:
        for socket in (monitored.socket, monitored.monitor):
            self._watched[socket.fd] = socket
            for poller in self._pollers:
                poller.register(socket.fd, select.POLLIN)

    def _unwatch(self, monitored: Monitored) -> None:
        for socket in (monitored.socket, monitored.monitor):
            if self._watched.pop(socket.fd, None) is not None:
                for poller in self._pollers:
                    poller.unregister(socket.fd)

    def end_waits_of(self, other: WaitsForZmq) -> None:
        """End the waits of another transport, too, when something comes to this one."""
        self._pollers.append(other._poller)
        for fd in self._watched:
            other._poller.register(fd, select.POLLIN)

    def leave(self, other: WaitsForZmq) -> None:
        """End the waits of another transport no longer."""
        self._pollers.remove(other._poller)
        for fd in self._watched:
            other._poller.unregister(fd)

    def owns(self, descriptors: set[int]) -> bool:
        """Whether one of these is of a socket of ours."""
        return not descriptors.isdisjoint(self._watched)

    def _wait(self, timeout: float | None) -> list[zmq.Socket[Any]]:
        """Return sockets that may have something; see `ready`."""
        return [self._watched[fd] for fd in self.ready(timeout) if fd in self._watched]

    def ready(self, timeout: float | None) -> set[int]:
        """Return the descriptors of sockets that may have something.

        A descriptor says that something has come since its socket said last that it has nothing:
        whoever waits has read all before.
        """
        milliseconds = None if timeout is None else math.ceil(1000 * max(0.0, timeout))
        ready = {fd for fd, _ in self._poller.poll(0 if self._waker.arm() else milliseconds)}
        self._waker.disarm()
        if self._waker.fd in ready:
            self._waker.clear()
        return ready

    def _close_context(self) -> None:
        if not self._shares_context:
            self.context.term()
        self._waker.close()


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
        _set_heartbeat(socket, endpoint.is_local)
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
                [peer, *_chunked(frames, CHUNK_LOCAL if local else CHUNK_REMOTE)],
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
            events.append(Arrived(peer, [_taken(f) for f in frames], known[1], known[2]))
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


class ZmqConnector(WaitsForZmq):
    """A DEALER; `connect` may be called again when the server is found elsewhere.

    ``context``: one that several connectors share, for its maker to end after them.
    """

    def __init__(self, key: RoleKey, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(context)
        self._key = key
        self._dealer: Monitored | None = None
        self._up = False
        self._failures = 0
        self._failed_at = -math.inf
        self._chunk = CHUNK_LOCAL
        self._endpoint: Endpoint | None = None
        self._server_key = ""
        #: Public keys, ours and the server's, that were tried since the last success.
        self._tried: list[tuple[str, str]] = []
        #: Called when all keys were refused: whether somebody looks for another one, with which
        #: `connect` will be called.
        self.renew: Callable[[], bool] = lambda: False
        self._again_at = math.inf
        self._again_in = COME_BACK[0]
        #: Whether a connection was given up for another one, and nobody was told yet.
        self._given_up = False
        let_go_in_children(self)

    def connect(self, endpoint: Endpoint, server_key: str = "", key: RoleKey | None = None) -> None:
        """Connect, and reconnect for ever; an earlier connection is given up.

        ``key`` takes the place of the one that it was made with.
        """
        self._key = key or self._key
        self._given_up = self._given_up or self._up
        self._disconnect(linger=0)
        self._dealer = dealer = Monitored(self.context, zmq.DEALER, _CONNECTOR_EVENTS)
        socket = dealer.socket
        socket.ipv6 = endpoint.is_ipv6
        socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT
        socket.handshake_ivl = HANDSHAKE_WITHIN
        _set_heartbeat(socket, endpoint.is_local)
        self._chunk = CHUNK_LOCAL if endpoint.is_local else CHUNK_REMOTE
        if endpoint.scheme == "tcp":
            secure_connect(socket, self._next_key(), server_key)
        else:
            check_ipc_server(Path(endpoint.path))
        self._endpoint, self._server_key = endpoint, server_key
        self._again_at = math.inf
        self._failures = 0
        try:
            socket.connect(str(endpoint))
        except zmq.ZMQError as error:
            self._disconnect(linger=0)
            raise ConfigError(f"cannot connect to {endpoint}: {error.strerror}") from error
        self._watch(dealer)

    def bound_to(self) -> list[Endpoint]:
        """Return an empty list: it listens nowhere."""
        return []

    def connected_to(self) -> list[Endpoint]:
        """Return where it is connected to, or tries to be."""
        return [self._endpoint] if self._endpoint is not None and not self._closed else []

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> None:
        """Send frames to the server; without a connection they are lost."""
        if self._dealer is not None and self._up:
            multipart.send(self._dealer.socket, _chunked(frames, self._chunk))

    def probe(self, peer: bytes) -> None:
        """Do nothing: the monitor reports the end of the connection."""

    def receive(self, timeout: float | None) -> list[TransportEvent]:
        """See `palm.transport.base.Transport`."""
        self._come_back()
        if self._given_up:
            self._given_up = False
            return [Down()]
        events = self._drain()
        if not events:
            ready = self._wait(self.patience(timeout))
            dealer = self._dealer
            seen = []
            if dealer is not None and dealer.monitor in ready:
                seen = self._read_monitor(dealer)
            events = more = self._drain()
            while seen and more:  # what was sent before an end comes before it
                more = self._drain()
                events = events + more
            events = events + seen
        return events

    def close(self) -> None:
        """Let go of the socket."""
        if not self._closed:
            self._closed = True
            self._disconnect(LINGER if self._up else 0)
            self._close_context()

    def _disconnect(self, linger: int) -> None:
        if self._dealer is not None:
            self._unwatch(self._dealer)
            self._dealer.close(linger)
            self._dealer = None
            self._up = False

    def _drain(self) -> list[TransportEvent]:
        events: list[TransportEvent] = []
        if self._dealer is None:
            return events
        socket = self._dealer.socket
        while len(events) < DRAIN and multipart.is_readable(socket):
            frames = multipart.receive(socket)
            if len(frames[0]):
                events.append(Arrived(b"", [_taken(frame) for frame in frames]))
            elif len(frames) > 1:  # else it is a probe
                return [*events, *self._turned_away(frames[1].bytes)]
        if events:
            self._again_in = COME_BACK[0]
        return events

    def _turned_away(self, reason: bytes) -> list[TransportEvent]:
        """Leave, since the listener has no room for us, and come back later."""
        was_up = self._up
        self._disconnect(linger=0)
        self._again_at = time.monotonic() + self._again_in * random.uniform(0.5, 1.5)  # noqa: S311 - spreads them
        self._again_in = min(2 * self._again_in, COME_BACK[1])
        down: list[TransportEvent] = [Down()] if was_up else []
        return [*down, Full(reason.decode("utf-8", "replace"))]

    def _come_back(self) -> None:
        if self._endpoint is not None and time.monotonic() >= self._again_at:
            self.connect(self._endpoint, self._server_key)

    def patience(self, timeout: float | None) -> float | None:
        """Return how long a wait of up to ``timeout`` may be: it comes back to try again."""
        if self._again_at == math.inf:
            return timeout
        again_in = max(0.0, self._again_at - time.monotonic())
        return again_in if timeout is None else min(timeout, again_in)

    def _read_monitor(self, dealer: Monitored) -> list[TransportEvent]:
        events: list[TransportEvent] = []
        failed = False  # several failures that are read at once are of one stretch of time
        for event, _ in dealer.read_monitor():
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._failures, self._up, failed = 0, True, False
                del self._tried[:-1]
                events.append(Up())
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                events.append(Denied(f"{self._endpoint} refuses our {self._key.role} key"))
            elif event == zmq.EVENT_DISCONNECTED and self._up:
                self._up = False
                events.append(Down())
            else:
                failed = True
        if failed and self._is_another():
            events.append(
                Denied(
                    f"{self._endpoint} does not take our handshake: wrong server key? "
                    "(it may belong to another user, or to another cluster)"
                )
            )
        denied = any(isinstance(event, Denied) for event in events)
        if denied and (self._has_other_keys() or self._hopes()):
            return [event for event in events if not isinstance(event, Denied)]
        return events

    def _untried(self) -> list[RoleKey]:
        """Return the keys that may be good; they may have been changed since the last look."""
        return [key for key in keys_to_try(self._key) if _names(key) not in self._tried]

    def _next_key(self) -> RoleKey:
        untried = self._untried()
        if not untried:
            self._tried.clear()
        key = untried[0] if untried else keys_to_try(self._key)[0]
        self._tried.append(_names(key))
        return key

    def _has_other_keys(self) -> bool:
        """Go on with other keys, if there are some that were not refused yet."""
        if not self._untried():
            return False
        self._again_at = time.monotonic()
        return True

    def _hopes(self) -> bool:
        """Try again in a while, if there may be another key by then."""
        if not self.renew():
            return False
        self._again_at = time.monotonic() + COME_BACK[0]
        return True

    def _is_another(self) -> bool:
        """Count a failed handshake; return whether the server must be another one.

        One that took its whole time is no answer: the server is stopped, or has too much to do.
        """
        now = time.monotonic()
        quick = now - self._failed_at < HANDSHAKE_WITHIN / 1000
        self._failed_at = now
        self._failures = self._failures + 1 if quick else 1
        return self._failures == MAX_HANDSHAKES


def _names(key: RoleKey) -> tuple[str, str]:
    return key.curve_publickey, key.server_publickey


def _set_heartbeat(socket: zmq.Socket[Any], local: bool) -> None:
    interval, timeout = HEARTBEAT_LOCAL if local else HEARTBEAT_REMOTE
    socket.heartbeat_ivl = interval
    socket.heartbeat_timeout = timeout
    socket.heartbeat_ttl = timeout


def _taken(frame: zmq.Frame) -> Buffer:
    return frame.bytes if len(frame) <= COPY_MAX else frame


def _chunked(frames: Sequence[Buffer], chunk: int) -> Sequence[Buffer]:
    """Slice large payloads; header, lengths and body are never larger than a chunk by far."""
    if all(len(frame) <= chunk for frame in frames[3:]):
        return frames
    sliced = list(frames[:3])
    for frame in frames[3:]:
        view = memoryview(frame)
        sliced.extend(view[at : at + chunk] for at in range(0, len(view), chunk))
    return sliced


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        value = frame.get(name)
    except zmq.ZMQError:  # the peer's mechanism has no such property
        return ""
    return value if isinstance(value, str) else ""
