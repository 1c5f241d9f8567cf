"""Messages of several frames, with few calls: what pyzmq has for that costs more than the message.

Its flags are enumerations, which cost a microsecond wherever two are joined, and a socket that has
nothing says so by an exception, which costs ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import zmq

__all__ = ["is_readable", "receive", "send"]

_NOW: Final = int(zmq.DONTWAIT)
_NOW_MORE: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)


def is_readable(socket: zmq.Socket[Any]) -> bool:
    """Whether a message is there.

    Once this has said no, the socket's descriptor becomes readable when one may have come; not
    before, and not while some are left.
    """
    return bool(socket.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]


def receive(socket: zmq.Socket[Any]) -> list[zmq.Frame]:
    """Return a message; raises `zmq.Again` if there is none."""
    frame = socket.recv(_NOW, copy=False)
    frames = [frame]
    while frame.more:
        frame = socket.recv(_NOW, copy=False)
        frames.append(frame)
    return frames


def send(socket: zmq.Socket[Any], frames: Sequence[Any]) -> None:
    """Send a message at once.

    Raises
    ------
    zmq.ZMQError
        It cannot be sent; nothing of it was.
    """
    last = len(frames) - 1
    for at, frame in enumerate(frames):
        socket.send(frame, _NOW_MORE if at < last else _NOW)
