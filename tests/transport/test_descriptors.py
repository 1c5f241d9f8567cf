"""How many connections there are descriptors for; see also tests/servers/test_crowd.py."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint
from palm.transport.descriptors import LEAVE_WITHIN, Gate, Overflow, backlog, cut, kept
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqListener

LIMIT, KEPT = 1000, 250
LAST, FIRST = LIMIT - KEPT - 1, LIMIT - KEPT


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """Let this process have so many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def hard() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_the_highest_descriptors_are_kept() -> None:
    overflow = Overflow()
    assert kept() == KEPT
    assert not overflow.has(LAST)
    assert overflow.has(FIRST)
    assert "1000 files" in overflow.reason() and "ulimit -Hn" in overflow.reason()


def test_a_limit_that_was_raised_since_counts() -> None:
    overflow = Overflow()
    assert overflow.has(FIRST)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * LIMIT, hard()))
    assert not overflow.has(FIRST)


def test_what_waits_by_ipc_takes_a_part_of_those_kept() -> None:
    assert 1 <= backlog() < kept() / 2


def test_who_does_not_leave_is_cut_off_until_it_is_closed() -> None:
    overflow = Overflow()
    overflow.opened(LAST, 0.0)
    assert not overflow and overflow.patience(0.0) is None
    overflow.opened(FIRST, 0.0)
    assert overflow and overflow.patience(0.25) == LEAVE_WITHIN - 0.25
    assert overflow.overdue(0.5) == []
    assert overflow.overdue(LEAVE_WITHIN) == [FIRST]
    assert overflow.overdue(LEAVE_WITHIN) == []
    assert overflow.overdue(2 * LEAVE_WITHIN) == [FIRST]
    overflow.closed(FIRST)
    assert not overflow and overflow.overdue(9.0) == []


def test_each_is_told_once() -> None:
    overflow = Overflow()
    assert overflow.tell(FIRST, b"a") and not overflow.tell(FIRST, b"a")
    assert overflow.tell(FIRST, b"b"), "another one with the same descriptor"


def test_a_connection_is_cut_off_and_nothing_else_is_hurt(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "x").open("w") as file:
        cut(ours.fileno())
        assert theirs.recv(1) == b""
        cut(file.fileno())
        file.write("x")
        closed = os.dup(file.fileno())
        os.close(closed)
        cut(closed)
        assert ours.fileno() >= 0


def test_a_gate_takes_the_paths_away_and_puts_them_back(tmp_path: Path) -> None:
    path = tmp_path / "s"
    gate = Gate()
    gate.add(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        gate.set(is_open=False)
        gate.set(is_open=False)
        assert not path.exists()
        gate.set(is_open=True)
        with socket.socket(socket.AF_UNIX) as connecting:
            connecting.connect(str(path))
    gate.set(is_open=False)
    gate.remove()
    assert not list(tmp_path.iterdir())


UNREAD = """
import os, socket, sys, time
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqListener

listener = ZmqListener(ensure_keys(Folders.find().keys))
listener.bind(Endpoint("ipc", path=sys.argv[1]))
taken, until = 0, time.monotonic() + 1
while time.monotonic() < until:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setblocking(False)
        try:
            peer.connect(sys.argv[1])
        except BlockingIOError:  # it takes no more for now
            time.sleep(0.001)
        else:
            taken, until = taken + 1, time.monotonic() + 1
print(taken, flush=True)
listener.close()
"""


def test_a_listener_that_is_not_read_takes_some_connections_and_can_be_closed() -> None:
    path = Folders.find().sockets / "u"
    done = subprocess.run(
        [sys.executable, "-c", UNREAD, str(path)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert 400 < int(done.stdout) < 1500


def test_a_listener_ends_while_its_gate_is_closed() -> None:
    folders = Folders.find()
    path = folders.sockets / "g"
    listener = ZmqListener(ensure_keys(folders.keys))
    listener.bind(Endpoint("ipc", path=str(path)))
    listener._gate.set(is_open=False)
    listener.close()
    assert not list(folders.sockets.iterdir())
