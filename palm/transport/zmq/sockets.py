"""How every socket is set up, and what goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import zmq

from palm.transport.base import Buffer

__all__ = [
    "CHUNK_LOCAL",
    "CHUNK_REMOTE",
    "COPY_MAX",
    "DRAIN",
    "HANDSHAKE_WITHIN",
    "HEARTBEAT_LOCAL",
    "HEARTBEAT_REMOTE",
    "LINGER",
    "chunked",
    "set_heartbeat",
    "taken",
]

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

#: Milliseconds that what was sent has to leave when a socket is closed.
LINGER: Final = 500


def set_heartbeat(socket: zmq.Socket[Any], local: bool) -> None:
    """Have the peer of what is bound or connected next watched, so often as suits its distance."""
    interval, timeout = HEARTBEAT_LOCAL if local else HEARTBEAT_REMOTE
    socket.heartbeat_ivl = interval
    socket.heartbeat_timeout = timeout
    socket.heartbeat_ttl = timeout


def taken(frame: zmq.Frame) -> Buffer:
    """Return what a received frame holds, out of libzmq if it is small."""
    return frame.bytes if len(frame) <= COPY_MAX else frame


def chunked(frames: Sequence[Buffer], chunk: int) -> Sequence[Buffer]:
    """Slice large payloads; header, lengths and body are never larger than a chunk by far."""
    if all(len(frame) <= chunk for frame in frames[3:]):
        return frames
    sliced = list(frames[:3])
    for frame in frames[3:]:
        view = memoryview(frame)
        sliced.extend(view[at : at + chunk] for at in range(0, len(view), chunk))
    return sliced
