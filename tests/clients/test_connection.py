"""What a client hears of its connection, over real sockets."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint
from palm.transport import waker as waker_module
from palm.transport.base import Arrived, Down, TransportEvent, Up
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector, ZmqListener
from tests.support.cluster import until


@pytest.fixture
def pair(palm_home: Path) -> Iterator[tuple[ZmqListener, ZmqConnector]]:
    """A listener, and a connector that is connected to it."""
    keyring = ensure_keys(Folders.find().keys)
    listener, connector = ZmqListener(keyring), ZmqConnector(keyring.client)
    endpoint = Endpoint("ipc", path=str(palm_home / "socket"))
    listener.bind(endpoint)
    connector.connect(endpoint)
    until(lambda: any(isinstance(event, Up) for event in connector.receive(0.1)))
    yield listener, connector
    connector.close()
    listener.close()


@pytest.mark.parametrize("n", [1, 200])
def test_what_was_sent_before_the_end_comes_before_it(
    pair: tuple[ZmqListener, ZmqConnector], monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    listener, connector = pair
    connector.send(b"", [b"hello"])
    peer = until(lambda: [e.peer for e in listener.receive(0.1) if isinstance(e, Arrived)])[0]
    wait = connector._wait
    dealer = connector._dealer
    assert dealer is not None

    def wait_while_all_happens(timeout: float | None) -> list[Any]:
        monkeypatch.undo()
        for number in range(n):
            listener.send(peer, [str(number).encode()])
        listener.close()
        until(lambda: select.select([dealer.monitor.fd], [], [], 0)[0])
        return wait(timeout)

    monkeypatch.setattr(connector, "_wait", wait_while_all_happens)
    events: list[TransportEvent] = []
    until(lambda: events.extend(connector.receive(0.1)) or Down() in events)
    events.extend(connector.receive(0.0))
    arrived = [event.frames[0] for event in events if isinstance(event, Arrived)]
    assert arrived == [str(number).encode() for number in range(n)]
    assert isinstance(events[-1], Down)


def test_a_wake_up_is_over_before_its_pipe_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    waker = waker_module.Waker()
    waker.arm()
    closes = threading.Thread(target=waker.close)
    write = os.write

    def write_late(descriptor: int, data: bytes) -> int:
        closes.start()
        closes.join(0.1)
        return write(descriptor, data)

    monkeypatch.setattr(waker_module.os, "write", write_late)
    waker.wake()
    closes.join()
    waker.wake()
