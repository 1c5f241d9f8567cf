"""A network between two peers that can fall silent, or be away."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

#: Bytes that are passed on at once.
PIECE = 64 * 1024


class Proxy:
    """Passes connections on to a port of this machine, until it is told otherwise.

    `silence` holds back every byte and every end of a connection, as a network does that is cut
    somewhere: those at its ends have to find out. `refuse` ends all connections and takes no new
    ones, as a machine does on which nobody listens. `heal` ends either.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._passes = threading.Event()
        self._passes.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self._listen()
        self.address = f"tcp://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._passes.set()
        for thread in self._threads:
            thread.join(5)

    def silence(self) -> None:
        """Let nothing through."""
        self._passes.clear()

    def refuse(self) -> None:
        """End all connections and take no new ones."""
        if self._listener is not None:
            _end(self._listener)
            self._listener = None
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:  # those who read them are woken, and close them
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Let everything through again."""
        self._passes.set()
        if self._listener is None:
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # it is over
                return
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                _end(near)
                continue
            far.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
            if self._listener is not listener:  # `refuse` did not see them
                _end(near)
                _end(far)
                return
            self._start(self._pass_on, near, far)
            self._start(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(PIECE):
                self._passes.wait()
                target.sendall(data)
        self._passes.wait()
        with self._lock:
            self._sockets -= {source, target}
        _end(source)
        _end(target)


def _end(each: socket.socket) -> None:
    with suppress(OSError):  # closing alone wakes nobody
        each.shutdown(socket.SHUT_RDWR)
    each.close()
