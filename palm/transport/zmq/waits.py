"""The wait for something to come, which listeners and connectors share."""

from __future__ import annotations

import math
import select
from typing import Any

import zmq

from palm.transport.monitored import Monitored
from palm.transport.security import check_libzmq
from palm.transport.waker import Waker

__all__ = ["WaitsForZmq"]


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
