"""The yardstick: a bare pyzmq relay of two ROUTERs, one message at a time, over tcp on loopback.

It batches nothing, checks nothing, survives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zmq

from benchmarks import work

#: Messages that are read from one side before the other has its turn.
DRAIN = 100

#: Milliseconds that a client waits for a result.
PATIENCE = 20_000


class RelayClient:
    """A DEALER with so many messages in flight."""

    def __init__(self, front: str, window: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = _socket(self._context, zmq.DEALER)
        self._socket.rcvtimeo = PATIENCE
        self._socket.connect(front)
        self._window = window

    def call(self, payload: bytes) -> bytes:
        """Send one message and wait for its result."""
        self._socket.send(payload)
        return self._socket.recv()

    def stream(self, payloads: list[bytes]) -> Iterator[bytes]:
        """Send all, and yield the results as they come."""
        send, receive = self._socket.send, self._socket.recv
        for payload in payloads[: self._window]:
            send(payload)
        for payload in payloads[self._window :]:
            yield receive()
            send(payload)
        for _ in range(min(self._window, len(payloads))):
            yield receive()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close(0)
        self._context.term()


def serve(front_address: str, back_address: str, workers: int) -> None:
    """Relay between clients and workers, in turn, for ever."""
    context: zmq.Context[Any] = zmq.Context()
    front, back = _socket(context, zmq.ROUTER), _socket(context, zmq.ROUTER)
    front.bind(front_address)
    back.bind(back_address)
    known = [back.recv_multipart()[0] for _ in range(workers)]
    poller = zmq.Poller()
    poller.register(front, zmq.POLLIN)
    poller.register(back, zmq.POLLIN)
    turn = 0
    while True:
        poller.poll()
        try:
            for _ in range(DRAIN):
                _, client, result = back.recv_multipart(zmq.DONTWAIT)
                front.send_multipart([client, result])
        except zmq.Again:
            pass  # that was all
        try:
            for _ in range(DRAIN):
                client, payload = front.recv_multipart(zmq.DONTWAIT)
                turn = (turn + 1) % workers
                back.send_multipart([known[turn], client, payload])
        except zmq.Again:
            pass  # that was all


def work_for(back_address: str, name: str) -> None:
    """Run a function of `work` for the relay, for ever."""
    function = work.FUNCTIONS[name]
    socket = _socket(zmq.Context(), zmq.DEALER)
    socket.connect(back_address)
    socket.send(b"")
    while True:
        client, payload = socket.recv_multipart()
        socket.send_multipart([client, function(payload)])


def _socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.set_hwm(0)
    socket.reconnect_ivl = 20  # as palm does: any order of start, and no waiting for it
    return socket
