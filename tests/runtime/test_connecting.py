"""Going where a server is by now, also while the one that it was still answers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest

from palm.files import privatefile
from palm.protocol.events import LookedUp, Refused
from palm.runtime.connecting import FOLLOW_EVERY, Dialer
from palm.runtime.driver import MAX_WAIT
from palm.runtime.folders import Folders
from palm.runtime.peers import peers_path
from palm.runtime.resolver import Found
from palm.spec.endpoint import Endpoint, parse_address
from palm.transport.base import Down, Up
from palm.transport.keys import ensure_keys
from palm.transport.zmq import ZmqConnector, ZmqListener


@pytest.fixture
def folders(palm_home: object) -> Folders:
    return Folders.find()


@pytest.fixture
def addresses(folders: Folders) -> Iterator[list[str]]:
    """Where two servers listen."""
    listeners = [ZmqListener(ensure_keys(folders.keys)) for _ in range(2)]
    yield [each.bind(Endpoint("tcp", host="127.0.0.1", port=0)) for each in listeners]
    for each in listeners:
        each.close()


@pytest.fixture
def connector(folders: Folders) -> Iterator[ZmqConnector]:
    connector = ZmqConnector(ensure_keys(folders.keys).client)
    yield connector
    connector.close()


def tell(folders: Folders, **peers: str) -> None:
    """Do as the runner does when the registry has said where components are."""
    _ = folders.components
    privatefile.replace(peers_path(folders, "here"), msgspec.json.encode(peers))


def seen(connector: ZmqConnector, count: int) -> list[type]:
    """The kinds of the next events."""
    found: list[type] = []
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        found += map(type, connector.receive(0.1))
    return found


def test_a_server_is_followed_though_the_old_one_answers(
    folders: Folders, addresses: list[str], connector: ZmqConnector
) -> None:
    dialer = Dialer(folders, "foo", connector)
    tell(folders, foo=addresses[0])
    assert dialer.dial() == (True, ())
    assert seen(connector, 1) == [Up]
    now = 100.0
    assert dialer.follow(now) == FOLLOW_EVERY
    tell(folders, foo=addresses[1])
    dialer.follow(now + FOLLOW_EVERY / 2)  # it was looked at a moment ago
    assert [str(each) for each in connector.connected_to()] == addresses[:1]
    dialer.follow(now + FOLLOW_EVERY)
    assert [str(each) for each in connector.connected_to()] == addresses[1:]
    assert seen(connector, 2) == [Down, Up]


def test_a_server_without_an_address_for_others_is_known_to_run(
    folders: Folders, connector: ZmqConnector
) -> None:
    tell(folders, foo="", bar="tcp://192.0.2.7:42000")
    assert Dialer(folders, "foo", connector).dial() == (False, ("bar", "foo"))


def test_a_name_that_leads_nowhere_for_a_while_costs_no_connection(
    folders: Folders, addresses: list[str], connector: ZmqConnector
) -> None:
    dialer = Dialer(folders, "foo", connector)
    tell(folders, foo=addresses[0])
    dialer.dial()
    assert seen(connector, 1) == [Up]
    tell(folders)
    dialer.follow(100.0)
    assert [str(each) for each in connector.connected_to()] == addresses[:1]


def test_an_address_that_was_given_is_never_left(
    folders: Folders, addresses: list[str], connector: ZmqConnector
) -> None:
    given = parse_address(addresses[0])
    dialer = Dialer(folders, given, connector)
    dialer.dial()
    tell(folders, foo=addresses[1])
    assert dialer.follow(100.0) == MAX_WAIT
    assert connector.connected_to() == [given]


class Elsewhere:
    """A registry that knows one component."""

    refusal = ""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.closed = False

    def find(self, name: str) -> Found | None:
        return self.found if name == "foo" else None

    def known(self) -> tuple[str, ...]:
        return ("foo",)

    def close(self) -> None:
        self.closed = True


def test_who_knows_other_machines_is_asked_once_nobody_here_knows(
    folders: Folders, addresses: list[str], connector: ZmqConnector
) -> None:
    endpoint = parse_address(addresses[0])
    assert isinstance(endpoint, Endpoint)
    key = ensure_keys(folders.keys).worker
    elsewhere = Elsewhere(Found(endpoint, "", "", key, moves=True))
    asked: list[str] = []

    def ask() -> Elsewhere | None:
        asked.append("asked")
        return elsewhere if len(asked) > 1 else None  # there is no registry yet, and then one

    tell(folders, foo=addresses[1])
    dialer = Dialer(folders, "foo", connector, ask)
    dialer.dial()
    assert asked == []
    tell(folders)
    for _ in range(4):
        dialer.dial()
    assert asked == ["asked", "asked"]
    assert connector.connected_to() == [endpoint]
    other = Dialer(folders, "bar", connector, ask)
    assert other.look() == LookedUp(False, ("foo",))
    elsewhere.refusal = "no"
    assert other.look() == Refused("no")
    dialer.close()
    assert elsewhere.closed
