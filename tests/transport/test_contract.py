"""What every transport does: one suite for the network in memory, for ipc and for tcp."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palm.errors import ConfigError, TransportError
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.base import Arrived, Denied, Down, Gone, Transport, Up
from palm.transport.keys import ensure_keys
from palm.transport.memory import MemoryNetwork
from palm.transport.zmq import ZmqConnector, ZmqListener
from palm.transport.zmq import connector as zmq_connector

BOUND = 20.0  # seconds; far beyond what any of this takes


class Ends:
    """A listener, and connectors to it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._open: list[Transport] = []
        if kind == "memory":
            self._network = MemoryNetwork()
            self.listener: Any = self._track(self._network.listen("memory://x"))
            return
        folders = Folders.find()
        self._keys = ensure_keys(folders.keys)
        self.listener = self._track(ZmqListener(self._keys))
        text = "tcp://127.0.0.1:0" if kind == "tcp" else f"ipc://{folders.sockets}/x"
        endpoint = parse_address(text)
        assert isinstance(endpoint, Endpoint)
        found = parse_address(self.listener.bind(endpoint))
        assert isinstance(found, Endpoint)
        self.endpoint = found

    def connect(self) -> Any:
        """Return a connector that is up."""
        connector: Any
        if self.kind == "memory":
            connector = self._track(self._network.connector())
            connector.connect("memory://x")
        else:
            connector = self._track(ZmqConnector(self._keys.client))
            connector.connect(self.endpoint)
        await_event(connector, Up)
        return connector

    def restart_listener(self) -> None:
        """Close the listener, and listen at the same address again."""
        self.listener.close()
        if self.kind == "memory":
            self.listener = self._track(self._network.listen("memory://x"))
        else:
            self.listener = self._track(ZmqListener(self._keys))
            self.listener.bind(self.endpoint)

    def reconnect(self, connector: Any) -> None:
        """Let a connector try again: those of ZeroMQ do so by themselves."""
        if self.kind == "memory":
            connector.connect("memory://x")

    def close(self) -> None:
        for transport in reversed(self._open):
            transport.close()

    def _track(self, transport: Any) -> Any:
        self._open.append(transport)
        return transport


@pytest.fixture(params=["memory", "ipc", "tcp"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(request.param)
    yield ends
    ends.close()


@pytest.fixture(params=["ipc", "tcp"])
def zmq_ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(request.param)
    yield ends
    ends.close()


def collect(transport: Any, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Receive until it is enough."""
    events: list[Any] = []
    until = time.monotonic() + BOUND
    while not enough(events):
        assert time.monotonic() < until, events
        events += transport.receive(0.1)
    return events


def await_event(transport: Any, kind: type) -> Any:
    return collect(transport, lambda events: any(isinstance(e, kind) for e in events))[-1]


def frames(events: list[Any]) -> list[list[bytes]]:
    return [[bytes(frame) for frame in e.frames] for e in events if isinstance(e, Arrived)]


def meet(ends: Ends, connector: Any) -> bytes:
    """Let the listener know a connector; return its routing id."""
    connector.send(b"", [b"hello"])
    peer: bytes = collect(ends.listener, bool)[0].peer
    return peer


def test_frames_arrive_whole_and_in_order_both_ways(ends: Ends) -> None:
    connector = ends.connect()
    peer = meet(ends, connector)
    sent = [[b"header", b"", b"x" * (i % 50), str(i).encode()] for i in range(2000)]
    for message in sent:
        connector.send(b"", message)
        ends.listener.send(peer, message)
    assert frames(collect(ends.listener, lambda e: len(e) >= len(sent))) == sent
    assert frames(collect(connector, lambda e: len(e) >= len(sent))) == sent


@pytest.mark.parametrize("size", [16 * 1024, 64 * 1024 + 1, 5 << 20])
def test_large_payloads_arrive_intact(ends: Ends, size: int) -> None:
    connector = ends.connect()
    peer = meet(ends, connector)
    payload = os.urandom(1024) * (size // 1024) + b"end"
    message = [b"header", b"lengths", b"body", payload]
    connector.send(b"", message)
    (there,) = frames(collect(ends.listener, bool))
    ends.listener.send(peer, message)
    (back,) = frames(collect(connector, bool))
    for arrived in (there, back):
        assert arrived[:3] == message[:3]
        assert b"".join(arrived[3:]) == payload


def test_a_peer_that_leaves_is_gone_and_sending_to_it_is_no_error(ends: Ends) -> None:
    connector = ends.connect()
    peer = meet(ends, connector)
    connector.close()
    assert await_event(ends.listener, Gone) == Gone(peer)
    ends.listener.send(peer, [b"too late"])
    ends.listener.probe(peer)


def test_a_probe_is_not_seen_by_a_peer_that_is_there(ends: Ends) -> None:
    connector = ends.connect()
    peer = meet(ends, connector)
    ends.listener.probe(peer)
    ends.listener.send(peer, [b"after"])
    assert frames(collect(connector, bool)) == [[b"after"]]
    assert not any(isinstance(e, Gone) for e in ends.listener.receive(0.0))


def test_nothing_is_kept_of_peers_that_are_gone(zmq_ends: Ends) -> None:
    listener = zmq_ends.listener
    events: list[Any] = []
    for _ in range(10):  # their descriptors are used again
        connectors = [zmq_ends.connect() for _ in range(2)]
        for connector in connectors:
            connector.send(b"", [b"hello"])
            connector.close()
        events += listener.receive(0.0)
    events += collect(listener, lambda more: len(frames(events + more)) == 20)
    events += collect(listener, lambda more: not listener._peers)
    assert len({event.peer for event in events if isinstance(event, Gone)}) == 20
    collect(listener, lambda more: not listener._suspects)
    assert not listener._by_fd and not listener._lost


def test_a_connector_that_comes_back_is_another_peer(ends: Ends) -> None:
    connector = ends.connect()
    first = meet(ends, connector)
    connector.close()
    await_event(ends.listener, Gone)
    assert meet(ends, ends.connect()) != first


def test_a_listener_that_closes_takes_its_connections_down(ends: Ends) -> None:
    connector = ends.connect()
    meet(ends, connector)
    ends.listener.close()
    assert isinstance(await_event(connector, Down), Down)
    connector.send(b"", [b"lost"])


def test_users_and_hosts_are_told(ends: Ends) -> None:
    ends.connect().send(b"", [b"hello"])
    (arrived,) = collect(ends.listener, bool)
    assert arrived.user == ("client" if ends.kind == "tcp" else "local")
    assert arrived.local


def test_a_wait_is_ended_by_another_thread(zmq_ends: Ends) -> None:
    connector = zmq_ends.connect()
    for transport in (zmq_ends.listener, connector):
        timer = threading.Timer(0.05, transport.wake)
        timer.start()
        began = time.monotonic()
        assert transport.receive(BOUND) == []
        assert time.monotonic() - began < BOUND / 2
        timer.join()


def test_a_wake_up_before_the_wait_counts(zmq_ends: Ends) -> None:
    zmq_ends.listener.wake()
    began = time.monotonic()
    assert zmq_ends.listener.receive(BOUND) == []
    assert time.monotonic() - began < BOUND / 2


def test_an_unknown_key_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends("tcp")
    home = Path(os.environ["PALM_STATE_DIR"]).parent
    stranger = ensure_keys(Folders(home / "r2", home / "s2", "other").keys).client
    connector = ZmqConnector(stranger)
    try:
        server = ends._keys.owner.curve_publickey
        connector.connect(ends.endpoint, server)
        assert "refuses our client key" in await_event(connector, Denied).reason
    finally:
        connector.close()
        ends.close()


def test_a_wrong_server_key_is_noticed() -> None:
    ends = Ends("tcp")
    connector = ZmqConnector(ends._keys.client)
    try:
        connector.connect(ends.endpoint, ends._keys.worker.curve_publickey)
        assert "wrong server key" in await_event(connector, Denied).reason
    finally:
        connector.close()
        ends.close()


def test_a_taken_port_is_an_error_that_names_it() -> None:
    ends = Ends("tcp")
    second = ZmqListener(ends._keys)
    try:
        with pytest.raises(TransportError, match=str(ends.endpoint.port)):
            second.bind(ends.endpoint)
    finally:
        second.close()
        ends.close()


def test_the_path_of_a_living_socket_is_refused() -> None:
    ends = Ends("ipc")
    second = ZmqListener(ends._keys)
    try:
        with pytest.raises(ConfigError, match="listens"):
            second.bind(ends.endpoint)
    finally:
        second.close()
        ends.close()


PEER = """
import sys
from palm.runtime.folders import Folders
from palm.spec.endpoint import parse_address
from palm.transport.base import Up
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector
connector = ZmqConnector(ensure_keys(Folders.find().keys).worker)
connector.connect(parse_address(sys.argv[1]))
while not any(isinstance(event, Up) for event in connector.receive(1.0)):
    pass
connector.send(b"", [b"hello"])
while True:
    connector.receive(60.0)
"""


LISTENER = """
import sys
from palm.runtime.folders import Folders
from palm.spec.endpoint import parse_address
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqListener
listener = ZmqListener(ensure_keys(Folders.find().keys))
print(listener.bind(parse_address(sys.argv[1])), flush=True)
while True:
    listener.receive(60.0)
"""


@contextmanager
def process_of(source: str, address: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script that gets an address; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(address)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_the_end_of_a_process_is_seen(zmq_ends: Ends, number: signal.Signals) -> None:
    with process_of(PEER, zmq_ends.endpoint) as process:
        peer = collect(zmq_ends.listener, bool)[0].peer
        process.send_signal(number)
        assert await_event(zmq_ends.listener, Gone) == Gone(peer)


@pytest.mark.parametrize("noticed", ["by itself", "by a send", "by a probe"])
def test_what_was_sent_before_the_end_arrives_before_it(ends: Ends, noticed: str) -> None:
    leaver, other = ends.connect(), ends.connect()
    peer = meet(ends, leaver)
    sent = [[b"header", str(i).encode()] for i in range(1000)]
    for message in sent:
        leaver.send(b"", message)
    other.send(b"", [b"too"])
    leaver.close()
    if noticed == "by a send":
        ends.listener.send(peer, [b"too late"])
    elif noticed == "by a probe":
        ends.listener.probe(peer)
    events = collect(ends.listener, lambda events: Gone(peer) in events)
    before = [event for event in events[: events.index(Gone(peer))] if event.peer == peer]
    assert frames(before) == sent
    ends.listener.probe(peer)
    assert not frames(ends.listener.receive(0.1))


def test_the_end_of_one_is_seen_while_others_talk(ends: Ends) -> None:
    leaver, talker = ends.connect(), ends.connect()
    peer = meet(ends, leaver)
    leaver.close()
    sent = received = 0
    seen = False
    until = time.monotonic() + BOUND
    while not seen and time.monotonic() < until:
        for _ in range(200):
            talker.send(b"", [b"header", b"words"])
        sent += 200
        events = ends.listener.receive(0.1)
        received += len(frames(events))
        seen = Gone(peer) in events
    assert seen
    collect_more = lambda events: len(events) >= sent - received  # noqa: E731
    assert len(frames(collect(ends.listener, collect_more))) == sent - received


def test_thousands_of_messages_between_many(ends: Ends) -> None:
    connectors = [ends.connect() for _ in range(5)]
    peers = [meet(ends, connector) for connector in connectors]
    n = 1000
    for i in range(n):
        for peer, connector in zip(peers, connectors, strict=True):
            connector.send(b"", [b"header", b"%d" % i])
            ends.listener.send(peer, [b"header", b"%d" % i])
    expected = [[b"header", b"%d" % i] for i in range(n)]
    arrived = collect(ends.listener, lambda events: len(events) >= n * len(peers))
    for peer, connector in zip(peers, connectors, strict=True):
        assert frames([event for event in arrived if event.peer == peer]) == expected
        assert frames(collect(connector, lambda events: len(events) >= n)) == expected


@pytest.mark.parametrize("size", [65_536, 65_537, 256 * 1024])
def test_frames_of_any_size_have_a_length_and_a_buffer(ends: Ends, size: int) -> None:
    connector = ends.connect()
    peer = meet(ends, connector)
    message = [b"h" * size, b"l" * size, memoryview(b"b" * size)]
    connector.send(b"", message)
    ends.listener.send(peer, message)
    for transport in (ends.listener, connector):
        (event,) = collect(transport, bool)
        assert [len(frame) for frame in event.frames] == [size] * 3
        assert [bytes(memoryview(frame)) for frame in event.frames] == list(map(bytes, message))


def test_listener_that_comes_back_finds_its_connectors(ends: Ends) -> None:
    connector = ends.connect()
    first = meet(ends, connector)
    ends.restart_listener()
    await_event(connector, Down)
    ends.reconnect(connector)
    await_event(connector, Up)
    assert meet(ends, connector) != first or ends.kind != "memory"
    assert not any(isinstance(event, Down) for event in connector.receive(0.0))


def test_closing_twice_is_harmless(ends: Ends) -> None:
    connector = ends.connect()
    for transport in (connector, ends.listener):
        transport.close()
        transport.close()
        transport.wake()


def test_connector_without_a_listener_waits_and_finds_it_later() -> None:
    ends = Ends("ipc")
    endpoint = ends.endpoint
    ends.listener.close()
    connector = ZmqConnector(ends._keys.client)
    later = ZmqListener(ends._keys)
    try:
        connector.connect(endpoint)
        connector.send(b"", [b"lost"])
        assert connector.receive(0.2) == []
        later.bind(endpoint)
        await_event(connector, Up)
    finally:
        connector.close()
        later.close()


@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_server_that_is_stopped_for_a_while_is_not_taken_for_another(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_connector, "HANDSHAKE_WITHIN", 100)
    folders = Folders.find()
    keys = ensure_keys(folders.keys)
    asked = "tcp://127.0.0.1:0" if kind == "tcp" else f"ipc://{folders.sockets}/x"
    with process_of(LISTENER, asked) as process:
        assert process.stdout is not None
        endpoint = parse_address(process.stdout.readline().strip())
        assert isinstance(endpoint, Endpoint)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # all of its threads have stopped
        connector = ZmqConnector(keys.client)
        try:
            connector.connect(endpoint)
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                assert connector.receive(0.1) == []
            process.send_signal(signal.SIGCONT)
            await_event(connector, Up)
        finally:
            connector.close()


CHILD = """
import os, sys, time
from palm.runtime.folders import Folders
from palm.spec.endpoint import parse_address
from palm.transport.base import Up
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector, ZmqListener
keys = ensure_keys(Folders.find().keys)
listener = ZmqListener(keys)
endpoint = parse_address(listener.bind(parse_address(sys.argv[1])))
connector = ZmqConnector(keys.worker)
connector.connect(endpoint)
while not any(isinstance(event, Up) for event in connector.receive(1.0)):
    pass
connector.send(b"", [b"hello"])
while not listener.receive(1.0):
    pass
def sockets():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # that of the listing
            pass
    return sum(link.startswith("socket:") for link in links)

reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(writer, str(sockets()).encode())
    os._exit(0)
os.waitpid(pid, 0)
print(sockets(), os.read(reader, 10).decode())
connector.close()
listener.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are read from /proc")
@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_a_forked_child_keeps_none_of_our_sockets(kind: str) -> None:
    address = "tcp://127.0.0.1:0" if kind == "tcp" else f"ipc://{Folders.find().sockets}/f"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, address],
        capture_output=True, text=True, timeout=BOUND, check=True,
    )  # fmt: skip
    ours, child = map(int, done.stdout.split())
    assert ours >= 3  # it listens, and both ends of a connection are here
    assert child == 0
