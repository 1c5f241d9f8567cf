"""A DEALER: who connects, and connects again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import zmq

from palm.errors import ConfigError
from palm.spec.endpoint import Endpoint
from palm.transport import multipart
from palm.transport.base import Arrived, Buffer, Denied, Down, Full, TransportEvent, Up
from palm.transport.forks import let_go_in_children
from palm.transport.keys import RoleKey
from palm.transport.monitored import Monitored
from palm.transport.rotation import keys_to_try
from palm.transport.security import check_ipc_server, secure_connect
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

__all__ = ["COME_BACK", "MAX_HANDSHAKES", "RECONNECT", "ZmqConnector"]

#: Milliseconds between two attempts to connect: at first, and at most.
RECONNECT: Final = (20, 250)

#: Seconds after which who was told that there is no room comes back: at first, and at most. A lot
#: of them must not keep the listener busy.
COME_BACK: Final = (0.5, 8.0)

#: Handshakes in a row that are refused at once, after which the server is taken for another one.
MAX_HANDSHAKES: Final = 5

_CONNECTOR_EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


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
        set_heartbeat(socket, endpoint.is_local)
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
            multipart.send(self._dealer.socket, chunked(frames, self._chunk))

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
                events.append(Arrived(b"", [taken(frame) for frame in frames]))
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
