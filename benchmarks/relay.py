"""The yardstick: a bare pyzmq relay of two ROUTERs, one message at a time, and two workers.

It batches nothing, checks nothing, survives nothing. Runs over tcp on loopback.
"""

from __future__ import annotations

import subprocess
import time
from types import TracebackType
from typing import Self

import zmq

from benchmarks.cluster import end, spawn

RELAY = """
import sys, zmq
context = zmq.Context()
front, back = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
for socket in (front, back):
    socket.set_hwm(0)
front.bind(sys.argv[1]), back.bind(sys.argv[2])
workers = []
while len(workers) < int(sys.argv[3]):
    workers.append(back.recv_multipart()[0])
poller = zmq.Poller()
poller.register(front, zmq.POLLIN), poller.register(back, zmq.POLLIN)
turn = 0
while True:
    ready = dict(poller.poll())
    if front in ready:
        for _ in range(100):
            try:
                client, body = front.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            turn = (turn + 1) % len(workers)
            back.send_multipart([workers[turn], client, body])
    if back in ready:
        for _ in range(100):
            try:
                _, client, body = back.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            front.send_multipart([client, body])
"""
WORKER = """
import sys, zmq
from benchmarks import work
function = getattr(work, sys.argv[2])
socket = zmq.Context().socket(zmq.DEALER)
socket.set_hwm(0)
socket.connect(sys.argv[1])
socket.send(b"here")
while True:
    client, body = socket.recv_multipart()
    socket.send_multipart([client, function(body)])
"""


class Relay:
    """The relay with two workers that run a function of `benchmarks.work`."""

    def __init__(self, function: str, front: int, back: int, workers: int = 2) -> None:
        self._front, self._back = f"tcp://127.0.0.1:{front}", f"tcp://127.0.0.1:{back}"
        self._function = function
        self._workers = workers
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._processes.append(spawn(RELAY, self._front, self._back, str(self._workers)))
        for _ in range(self._workers):
            self._processes.append(spawn(WORKER, self._back, self._function))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set_hwm(0)
        self._socket.linger = 0
        self._socket.connect(self._front)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._context.term()
        for process in self._processes:
            end(process)

    def call(self, payload: bytes) -> bytes:
        """Send one message and wait for its result."""
        self._socket.send(payload)
        return self._receive()

    def stream(self, payload: bytes, n: int, window: int = 1000) -> int:
        """Send ``n`` messages, ``window`` in flight; return the count of results."""
        sent = received = 0
        while received < n:
            while sent < n and sent - received < window:
                self._socket.send(payload)
                sent += 1
            self._receive()
            received += 1
        return received

    def _receive(self) -> bytes:
        if not self._socket.poll(20_000):
            raise TimeoutError("the relay does not answer")
        return self._socket.recv()


def first_result(front: int, back: int) -> float:
    """Return the seconds from nothing to a first result."""
    start = time.perf_counter()
    with Relay("stamp", front, back) as relay:
        relay.call(b"x")
        return time.perf_counter() - start
