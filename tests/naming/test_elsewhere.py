"""Names that only the registry knows, with a real one on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.errors import AuthenticationError
from palm.naming import asking
from palm.naming.elsewhere import RegistryNames
from palm.registry_api.client import RegistryClient
from palm.runtime.folders import Folders
from palm.spec.endpoint import Endpoint
from tests.registry.test_keys import changed_keys, some_keys
from tests.registry.test_sockets import joined, report
from tests.support.nodes import eventually
from tests.support.registry import RegistryThread, Runner, spec

PLACES = ("tcp://192.0.2.7:42000", "tcp://192.0.2.8:42001")


@pytest.fixture
def registry(palm_home: Path) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home).start()
    yield running
    running.stop()


@pytest.fixture
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("c")
        client.cluster_keys("c", some_keys())
        yield client


@pytest.fixture
def node(client: RegistryClient) -> Runner:
    node = joined(client, "one", "192.0.2.7")
    client.declare("c", spec("foo", role="master", node="one"))
    return node


@pytest.fixture
def names(palm_home: Path) -> Iterator[RegistryNames]:
    names = asking(Folders.find(cluster="c"), "client")()
    assert names is not None
    yield names
    names.close()


def place_of(names: RegistryNames, name: str = "foo") -> str:
    found = names.find(name)
    return "" if found is None else str(found.endpoint)


def test_a_name_is_found_with_the_key_that_opens_it(
    registry: RegistryThread, node: Runner, names: RegistryNames
) -> None:
    report(node, node.beat(), node=PLACES[0])
    assert eventually(lambda: place_of(names) == PLACES[0])
    found = names.find("foo")
    assert found is not None and found.key is not None
    assert isinstance(found.endpoint, Endpoint)
    assert found.key.role == "client"
    assert found.key.server_publickey == "a" * 40
    assert names.find("bar") is None
    assert names.known() == ("foo",)


def test_who_goes_on_looking_learns_that_it_moved(
    registry: RegistryThread, node: Runner, names: RegistryNames
) -> None:
    for place in PLACES:
        report(node, node.beat(), node=place)
        assert eventually(lambda place=place: place_of(names) == place)


def test_what_is_known_stays_known_while_the_registry_is_away(
    registry: RegistryThread, node: Runner, names: RegistryNames
) -> None:
    report(node, node.beat(), node=PLACES[0])
    assert eventually(lambda: place_of(names) == PLACES[0])
    registry.stop()
    assert eventually(lambda: place_of(names) == PLACES[0] and bool(names._said))
    registry.start()
    again = joined(node.client, "one", "192.0.2.7")
    report(again, again.beat(), node=PLACES[1])
    assert eventually(lambda: place_of(names) == PLACES[1])


def test_47_a_key_that_was_refused_is_asked_for_again_and_then_holds(
    client: RegistryClient, node: Runner, names: RegistryNames
) -> None:
    report(node, node.beat(), node=PLACES[0])
    assert eventually(lambda: place_of(names) == PLACES[0])
    changed = changed_keys("b", some_keys())
    client.change_keys("c", changed)
    assert server_of(names) == "a" * 40  # nobody has told it
    assert names.renew()
    assert eventually(lambda: server_of(names) == "b" * 40)
    found = names.find("foo")
    assert found is not None and found.key is not None and found.key.before is not None
    assert found.key.before.server_publickey == "a" * 40
    assert changed.client.before is not None
    assert found.key.before.expires == changed.client.before.expires
    assert names.renew()  # that one is refused, too, and there is no other
    assert eventually(lambda: not names.renew())


def server_of(names: RegistryNames) -> str:
    found = names.find("foo")
    return "" if found is None or found.key is None else found.key.server_publickey


def test_what_a_runner_started_asks_nobody(
    registry: RegistryThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALM_COMPONENT", "foo")
    assert asking(Folders.find(cluster="c"), "client")() is None


def test_who_may_have_no_key_is_told_so_at_once(
    registry: RegistryThread,
    client: RegistryClient,
    node: Runner,
    palm_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report(node, node.beat(), node=PLACES[0])
    for part in ("run", "state"):  # a machine that has nothing of its own
        folder = palm_home / "desk" / part
        folder.mkdir(mode=0o700, parents=True)
        monkeypatch.setenv(f"PALM_{part.upper()}_DIR", str(folder))
    token = palm_home / "token"
    token.touch(mode=0o600)
    token.write_text(client.add_token("watcher", "viewer").token)
    monkeypatch.setenv("PALM_REGISTRY", registry.url)
    monkeypatch.setenv("PALM_TOKEN_FILE", str(token))
    monkeypatch.setenv("PALM_CLUSTER", "c")
    with Client("foo") as caller, pytest.raises(AuthenticationError, match="it takes 'operator'"):
        caller.eval("foo.f", 1, timeout=20)
