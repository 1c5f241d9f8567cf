"""Peers that send what no peer of palm's sends: over bare sockets, and with a valid key."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec
import zmq

from palm.spec.endpoint import Endpoint
from palm.transport.keys import RoleKey
from palm.transport.security import secure_connect
from palm.wire import framing
from palm.wire.message import VERSION, Hello, Message, Welcome
from tests.support.messages import KINDS

__all__ = [
    "Stranger",
    "greet",
    "greeting",
    "hostile_starts",
    "key_holder",
    "odd_frames",
    "ready",
    "zmtp_frame",
]

#: Seconds that a peer waits for an answer before it thinks its part.
PATIENCE = 5.0


# -- bare sockets: ZMTP by hand (RFC 37) ------------------------------------------------------


class Stranger:
    """A connection without any library between."""

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.scheme == "ipc":
            self.socket = socket.socket(socket.AF_UNIX)
            address: Any = endpoint.path
        else:
            self.socket = socket.socket()
            address = endpoint.host, endpoint.port
        self.socket.settimeout(PATIENCE)
        self.over = False
        self.socket.connect(address)

    def send(self, data: bytes) -> bool:
        """Send; False: the other side has had enough."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def shake_hands(self) -> None:
        """Do what a peer does before its first message; on ipc that is enough to come in."""
        self.send(greeting())
        self._read(64)
        self.send(ready())
        _flags, size = self._read(2)
        self._read(size)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, "the connection was cut"
            data += part
        return data

    def is_cut(self, within: float) -> bool:
        """Read; return whether the other side ends the connection in that time."""
        self.read_all(within)
        return self.over

    def read_all(self, within: float) -> bytes:
        """Read to the end of the connection, or for some seconds."""
        data, until = b"", time.monotonic() + within
        try:
            while not self.over and (left := until - time.monotonic()) > 0:
                self.socket.settimeout(left)
                part = self.socket.recv(65536)
                data += part
                self.over = not part
        except TimeoutError:
            pass
        except OSError:
            self.over = True
        return data

    def close(self) -> None:
        """Go away."""
        self.socket.close()


def greeting(mechanism: bytes = b"NULL") -> bytes:
    """Return the first 64 bytes of a peer."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def ready() -> bytes:
    """Return the command that ends a handshake without security."""
    name, value = b"Socket-Type", b"DEALER"
    body = b"\x05READY" + bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
    return bytes([0x04, len(body)]) + body


def zmtp_frame(data: bytes, *, size: int | None = None, more: bool = False) -> bytes:
    """Return a frame; one that says that it is larger than it is, with ``size``."""
    return struct.pack(">BQ", 0x02 | more, len(data) if size is None else size) + data


def hostile_starts(random: Random) -> Iterator[bytes]:
    """Yield what a connection may begin with."""
    yield b""
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(500)
    yield greeting()[:30]
    for mechanism in (b"NULL", b"PLAIN", b"CURVE", b"GSSAPI", b"\xff" * 20):
        for rest in (b"", ready(), zmtp_frame(b"", size=1 << 62), random.randbytes(300)):
            yield greeting(mechanism) + rest
    yield greeting(b"CURVE") + bytes([0x04, 200]) + b"\x05HELLO" + random.randbytes(194)
    yield greeting() + ready() + zmtp_frame(b"\0" * 40) + random.randbytes(200)
    while True:
        start = bytearray(greeting(random.choice([b"NULL", b"CURVE"])) + ready())
        for _ in range(random.randint(1, 5)):
            start[random.randrange(len(start))] = random.randrange(256)
        yield bytes(start) + random.randbytes(random.choice([0, 10, 1000]))


# -- with a key -------------------------------------------------------------------------------


@contextmanager
def key_holder(endpoint: Endpoint, key: RoleKey) -> Iterator[zmq.Socket[bytes]]:
    """Connect as somebody who has a key of the cluster."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set_hwm(0)
        dealer.linger = 2000
        dealer.rcvtimeo = int(1000 * PATIENCE)
        if endpoint.scheme == "tcp":
            secure_connect(dealer, key)
        dealer.connect(str(endpoint))
        yield dealer


def greet(dealer: zmq.Socket[bytes], role: str, session: bytes) -> int:
    """Greet, and return the link."""
    hello = Hello(0, VERSION, role, role, session, "foo", ["f"] if role == "worker" else [], [])
    dealer.send_multipart(framing.pack(hello, None))
    while True:
        frames = dealer.recv_multipart()
        if frames != [b""]:
            message, _ = framing.unpack(frames)
            if isinstance(message, Welcome):
                return message.link


def odd_frames(random: Random, link: int) -> list[bytes]:
    """Return frames that may be a message, and mostly are not quite."""
    kind = random.choice(KINDS)
    header = msgspec.msgpack.encode([kind.__struct_config__.tag, *_fields(random, kind, link)])
    frames = [header, *(random.randbytes(random.choice([0, 4, 9])) for _ in range(2))]
    damage = random.random()
    if damage < 0.2:
        header = bytearray(header)
        header[random.randrange(len(header))] = random.randrange(256)
        frames[0] = bytes(header)
    elif damage < 0.3:
        frames[0] = random.randbytes(random.choice([0, 1, 50, 3000]))
    elif damage < 0.4:
        frames += [random.randbytes(20_000)] * random.randint(1, 3)
    return frames[: random.randint(1, len(frames))]


def _fields(random: Random, kind: type[Message], link: int) -> Iterator[object]:
    for field in kind.__struct_fields__:
        if field == "link":
            yield link if random.random() < 0.9 else random.getrandbits(60)
        elif random.random() < 0.1:
            yield random.choice([None, -1, 1 << 63, "", b"", [], {}, 1.5])
        else:
            yield _likely(random, field)


def _likely(random: Random, field: str) -> object:
    if field in ("role", "name", "server", "function", "key", "text", "reason", "code", "worker"):
        return random.choice(["client", "worker", "foo", "foo.f", "f", "x" * 300])
    if field in ("session", "job", "epoch", "durations", "kinds"):
        return random.choice([b"", b"job", random.randbytes(16), bytes(4)])
    if field in ("functions", "endpoints"):
        return {} if field == "endpoints" else ["f"]
    if field in ("holds", "keep", "leases"):
        return [random.randrange(5) for _ in range(random.randrange(3))]
    if field in ("last", "delete", "found"):
        return random.random() < 0.5
    if field == "started":
        return random.choice([0.0, float("nan"), 1e300])
    return random.choice([0, 1, 2, 5, 1 << 40])
