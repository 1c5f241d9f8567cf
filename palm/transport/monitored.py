"""A socket with its monitor, which tells of connections that come and go."""

from __future__ import annotations

import struct
from typing import Any, Final

import zmq

from palm.transport import multipart

__all__ = ["MAX_FRAME", "Monitored"]

#: Largest frame accepted, bytes: a full body, see `palm.wire.batch`. Whoever sends, or announces, a
#: larger one is cut off; without that the memory for it would be given.
MAX_FRAME: Final = 16 << 20

_MONITOR_FRAME: Final = struct.Struct("=Hi")


class Monitored:
    """A socket with its monitor."""

    def __init__(self, context: zmq.Context[Any], kind: int, events: int) -> None:
        self.socket = context.socket(kind)
        self.socket.set_hwm(0)
        self.socket.maxmsgsize = MAX_FRAME
        self.socket.linger = 0
        address = f"inproc://monitor-{self.socket.underlying}"
        self.socket.monitor(address, events)
        self.monitor = context.socket(zmq.PAIR)
        self.monitor.rcvhwm = 1  # see `descriptors.UNSEEN`: 1000 more are those of libzmq's end
        self.monitor.connect(address)
        multipart.is_readable(self.monitor)  # not yet; its descriptor tells from here on

    def read_monitor(self) -> list[tuple[int, int]]:
        """Return (event, value) of what the monitor saw."""
        seen: list[tuple[int, int]] = []
        while multipart.is_readable(self.monitor):
            seen.append(_MONITOR_FRAME.unpack(multipart.receive(self.monitor)[0].bytes))
        return seen

    def close(self, linger: int) -> None:
        """Close both; what was sent has ``linger`` milliseconds to leave."""
        self.read_monitor()  # if libzmq's thread waited for room, the next line would wait for it
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger)
