"""A bad network between two peers: a TCP proxy that cuts, holds back, delays and slows down."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from typing import Literal

Direction = Literal["up", "down"]
DIRECTIONS: tuple[Direction, ...] = ("up", "down")
_PIECE = 16 * 1024
_LOOK = 0.2


class Proxy:
    """Forwards connections to an address; "up" is from who connects to who listens.

    What is held back stays in the proxy, as packets that are lost and sent again stay in the
    network; a connection that is closed meanwhile is closed at the other end once it can be told.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = {direction: threading.Event() for direction in DIRECTIONS}
        self.heal()
        #: Seconds that a piece is under way, and bytes a second that fit through; 0 for any.
        self.delay = 0.0
        self.rate = 0
        self.accepted = 0
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._start(self._accept)

    def hold(self, *directions: Direction) -> None:
        """Let nothing through, in these directions or in both."""
        for direction in directions or DIRECTIONS:
            self._open[direction].clear()

    def heal(self) -> None:
        """Let everything through again."""
        for gate in self._open.values():
            gate.set()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _close(each)

    def close(self) -> None:
        """End it."""
        self._closed.set()
        self.heal()
        # Closing does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), thread

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._start(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            _close(near)
            return
        with self._lock:
            self._sockets |= {near, far}
        self._start(self._pump, near, far, "up")
        self._pump(far, near, "down")

    def _pump(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        under_way: deque[tuple[float, bytes]] = deque()
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(source, selectors.EVENT_READ)
                while not self._closed.is_set():
                    now = time.monotonic()
                    while under_way and under_way[0][0] <= now:
                        self._send(target, under_way.popleft()[1], direction)
                        now = time.monotonic()
                    # A socket that another thread closes wakes nobody.
                    wait = min(under_way[0][0] - now, _LOOK) if under_way else _LOOK
                    if not selector.select(wait):
                        continue
                    data = source.recv(_PIECE)
                    if not data:
                        break
                    under_way.append((time.monotonic() + self.delay, data))
        except (OSError, ValueError):  # cut: the descriptor is gone
            pass
        finally:
            self._open[direction].wait()
            _close(source)
            _close(target)

    def _send(self, target: socket.socket, data: bytes, direction: Direction) -> None:
        self._open[direction].wait()
        target.sendall(data)
        if self.rate:
            self._closed.wait(len(data) / self.rate)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
