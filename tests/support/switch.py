"""A network switch in a process: it hands Ethernet frames from port to port, and may spoil them.

Run in a network namespace of its own, ``python -m tests.support.switch PORT...``, with one
interface for each host. Lines of JSON on its standard input say what happens to the way from one
port to another; it ends with that input, and so with whoever started it. The kernels of CI lack
netem, and this needs no module of the kernel.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import select
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

#: Bytes of the longest frame, with room for a tag.
_FRAME = 2048
_ALL = 0x0003  # ETH_P_ALL
_BROADCAST = b"\xff" * 6
#: Frames that are taken from a port before the others have their turn.
_TURN = 64


@dataclass
class Way:
    """What happens to frames on the way from one port to another."""

    cut: bool = False
    delay: float = 0.0
    loss: float = 0.0


class Switch:
    """Ports by name, and the ways between them."""

    def __init__(self, names: list[str], seed: int = 0) -> None:
        self._ports = {name: _open(name) for name in names}
        self._by_fd = {port.fileno(): name for name, port in self._ports.items()}
        self._ways = {pair: Way() for pair in itertools.permutations(names, 2)}
        self._where: dict[bytes, str] = {}
        self._late: list[tuple[float, int, str, bytes]] = []
        self._count = itertools.count()
        self._random = random.Random(seed)

    def run(self, orders: int) -> None:
        """Hand on frames until nobody can give orders any more."""
        poller = select.poll()
        for fd in (orders, *self._by_fd):
            poller.register(fd, select.POLLIN)
        text = b""
        print("ready", flush=True)
        while True:
            for fd, _ in poller.poll(self._patience()):
                if fd != orders:
                    self._take(self._by_fd[fd])
                    continue
                more = os.read(orders, 65536)
                if not more:
                    return
                *lines, text = (text + more).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
            self._deliver()

    def _obey(self, order: dict[str, object]) -> None:
        way = self._ways[str(order.pop("from")), str(order.pop("to"))]
        for key, value in order.items():
            setattr(way, key, value)
        print("done", flush=True)

    def _patience(self) -> float | None:
        if not self._late:
            return None
        return max(0.0, 1000 * (self._late[0][0] - time.monotonic()))

    def _take(self, source: str) -> None:
        for _ in range(_TURN):
            try:
                frame, (_, _, kind, *_) = self._ports[source].recvfrom(_FRAME)
            except BlockingIOError:
                return
            except OSError:  # its link is down
                return
            if kind == socket.PACKET_OUTGOING:  # what we sent ourselves
                continue
            self._where[frame[6:12]] = source
            to = self._where.get(frame[:6]) if frame[:6] != _BROADCAST else None
            for name in [to] if to else self._ports:
                if name != source:
                    self._pass(source, name, frame)

    def _pass(self, source: str, to: str, frame: bytes) -> None:
        way = self._ways[source, to]
        if way.cut or (way.loss and self._random.random() < way.loss):
            return
        if way.delay:
            due = time.monotonic() + way.delay
            heapq.heappush(self._late, (due, next(self._count), to, frame))
        else:
            self._send(to, frame)

    def _deliver(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(self._late)
            self._send(to, frame)

    def _send(self, to: str, frame: bytes) -> None:
        with suppress(OSError):  # full, or its link is down: a switch loses frames then
            self._ports[to].send(frame)


def _open(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    port.bind((name, 0))
    port.setblocking(False)
    return port


if __name__ == "__main__":
    Switch(sys.argv[1:]).run(sys.stdin.fileno())
