"""Sockets by name: on ipc alone, on tcp where other nodes come, and who starts anew when."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palm.errors import ConfigError
from palm.registry_api.schema import Assignment, Assignments, ComponentSpec, Heartbeat
from palm.runner.node import Node
from palm.runtime.folders import Folders
from palm.spec.node import NodeConfig
from tests.runner.conftest import PROLOGUE
from tests.support.nodes import FakeRegistry, RunningNode, component, eventually

#: Says what it was given, and listens there if it is a tcp address of its own.
BIND = (
    PROLOGUE
    + """
import socket
print(*sys.argv[1:], flush=True)
host, _, port = sys.argv[1].removeprefix("tcp://").rpartition(":")
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if host == "127.0.0.1":
    server.bind((host, int(port)))
    server.listen(1)
notify_ready()
stop.wait(60)
"""
)
SAY = PROLOGUE + "print(*sys.argv[1:], flush=True); notify_ready(); stop.wait(60)\n"


class Nodes(FakeRegistry):
    """A registry that also knows of other nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: dict[str, str] = {}
        self.reached: set[str] = set()

    def heartbeat(self, key: str, node: str, beat: Heartbeat) -> Assignments:
        answer = super().heartbeat(key, node, beat)
        answer.sockets = dict(self.sockets)
        for each in answer.components:
            each.reached = each.spec.name in self.reached
        return answer

    def said(self, name: str) -> str:
        instance = self.replicas[name].instance
        return self.output.get((instance, "stdout"), b"").decode().strip()


@pytest.fixture
def registry() -> Nodes:
    return Nodes()


@pytest.fixture
def node(registry: Nodes) -> Iterator[RunningNode]:
    running = RunningNode(registry)
    yield running
    registry.want(ending=True)
    running.join()


@contextmanager
def running(registry: Nodes) -> Iterator[Callable[[NodeConfig], None]]:
    """Start a node with a configuration, and end it whatever happens."""
    threads = []

    def start(config: NodeConfig) -> None:
        node = Node(Folders.find(), registry, wait=0.1, config=config)
        threads.append(threading.Thread(target=node.run))
        threads[0].start()

    try:
        yield start
    finally:
        registry.want(ending=True)
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


def binder(**more: object) -> ComponentSpec:
    return component("foo", BIND, args=["${socket:foo.pull}"], **more)


def user(**more: object) -> ComponentSpec:
    return component("bar", SAY, args=["${socket:foo.pull}"], **more)


def test_alone_sockets_are_on_ipc(registry: Nodes, node: RunningNode) -> None:
    registry.want((binder(), 1), (user(), 1))
    assert registry.are(foo="ready", bar="ready")
    assert eventually(lambda: registry.said("foo") == registry.said("bar") != "")
    assert registry.said("bar").startswith("ipc:///")
    assert registry.replicas["foo"].sockets == {}


def test_a_socket_that_other_nodes_name_is_on_tcp_and_stays_so(
    registry: Nodes, node: RunningNode
) -> None:
    registry.want((binder(), 1), (user(), 1))
    assert registry.are(foo="ready", bar="ready")
    first = registry.pids()
    registry.reached = {"foo"}
    registry.want((binder(), 1), (user(), 1))
    assert eventually(lambda: bool(registry.replicas["foo"].sockets))
    address = registry.replicas["foo"].sockets["pull"]
    assert eventually(lambda: registry.are(foo="ready", bar="ready"))
    assert eventually(lambda: registry.said("foo") == registry.said("bar") == address)
    assert address.startswith("tcp://127.0.0.1:")
    second = registry.pids()
    assert set(first.values()).isdisjoint(second.values())
    registry.reached = set()
    registry.want((binder(), 1), (user(), 1), (component("new", SAY), 1))
    assert registry.are(foo="ready", bar="ready", new="ready")
    assert {name: registry.pids()[name] for name in second} == second


def test_who_names_a_socket_of_another_node_waits_until_it_is_known(
    registry: Nodes, node: RunningNode
) -> None:
    registry.sockets = {"foo.pull": ""}
    registry.want((user(), 1))
    assert registry.are(bar="starting")
    assert registry.replicas["bar"].reason == "waits for the address of foo.pull"
    assert registry.replicas["bar"].pid is None
    registry.sockets = {"foo.pull": "tcp://192.0.2.7:42000"}
    registry.want((user(), 1))
    assert registry.are(bar="ready")
    assert eventually(lambda: registry.said("bar") == "tcp://192.0.2.7:42000")
    # Nothing is known for a while: it goes on with what it has.
    before = registry.pids()
    registry.sockets = {"foo.pull": ""}
    registry.want((user(), 1), (component("new", SAY), 1))
    assert registry.are(bar="ready", new="ready")
    assert registry.pids()["bar"] == before["bar"]
    registry.sockets = {"foo.pull": "tcp://192.0.2.8:42000"}
    registry.want((user(), 1), (component("new", SAY), 1))
    assert eventually(lambda: registry.said("bar") == "tcp://192.0.2.8:42000")
    assert registry.are(bar="ready", new="ready")
    assert registry.pids()["bar"] != before["bar"]


def test_what_waits_and_is_not_wanted_any_more_leaves_nothing(
    registry: Nodes, node: RunningNode
) -> None:
    registry.sockets = {"foo.pull": ""}
    registry.want((user(), 1))
    assert registry.are(bar="starting")
    registry.want()
    assert eventually(lambda: registry.states().get("bar") == "stopped")


def test_32_a_port_that_is_taken_is_replaced_and_dependants_start_anew(
    registry: Nodes, node: RunningNode
) -> None:
    registry.reached = {"foo"}
    wanted = ((binder(), 1), (user(), 1), (component("else", SAY), 1))
    registry.want(*wanted)
    assert eventually(lambda: registry.states() == dict.fromkeys(("foo", "bar", "else"), "ready"))
    before = registry.pids()
    address = registry.replicas["foo"].sockets["pull"]
    port = int(address.rpartition(":")[2])
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    pid = before["foo"]
    assert pid is not None
    # It takes the port as soon as it is free, before the next start.
    thread = threading.Thread(target=lambda: eventually(lambda: listens(taken, port)))
    thread.start()
    os.kill(pid, signal.SIGKILL)
    thread.join()
    with taken:
        assert eventually(
            lambda: (
                registry.replicas["foo"].sockets.get("pull", address) != address
                and registry.states() == dict.fromkeys(("foo", "bar", "else"), "ready")
            )
        )
        now = registry.replicas["foo"].sockets["pull"]
        assert eventually(lambda: registry.said("bar") == registry.said("foo") == now)
        assert registry.pids()["else"] == before["else"]
        assert registry.pids()["bar"] != before["bar"]


def listens(taken: socket.socket, port: int) -> bool:
    try:
        taken.bind(("127.0.0.1", port))
    except OSError:
        return False
    taken.listen(1)
    return True


def test_the_port_is_kept_over_restarts_of_component_and_runner(
    registry: Nodes, palm_home: Path
) -> None:
    registry.reached = {"foo"}
    first = RunningNode(registry)
    registry.want((binder(), 1))
    assert registry.are(foo="ready")
    address, pid = registry.replicas["foo"].sockets["pull"], registry.pids()["foo"]
    first.stop()
    second = RunningNode(registry)
    assert eventually(lambda: registry.sessions == 2)
    assert registry.are(foo="ready")
    assert (registry.replicas["foo"].sockets["pull"], registry.pids()["foo"]) == (address, pid)
    registry.want((binder(generation=2), 1))
    assert eventually(lambda: registry.replicas["foo"].generation == 2)
    assert registry.are(foo="ready")
    assert registry.replicas["foo"].sockets["pull"] == address
    registry.want(ending=True)
    second.join()
    assert not list(palm_home.glob("state/default/ports-*.json"))


def test_a_second_replica_has_sockets_of_its_own(registry: Nodes, node: RunningNode) -> None:
    registry.reached = {"foo"}
    registry.want((binder(), 2))
    assert registry.are(foo="ready", foo_1="ready")
    one, two = (registry.replicas[name].sockets["pull"] for name in ("foo", "foo-1"))
    assert one != two


def test_what_the_machine_is_is_told_when_it_joins(registry: Nodes, palm_home: Path) -> None:
    joined = []
    join = registry.join
    registry.join = lambda key, node: (joined.append(node), join(key, node))[1]  # type: ignore[method-assign]
    with running(registry) as start:
        start(NodeConfig("north", "127.0.0.1", 12, None, {"gpu": "yes"}))
    assert [(n.name, n.address, n.cores, n.labels) for n in joined] == [
        ("north", "127.0.0.1", 12, {"gpu": "yes"})
    ]
    assert registry.left == ["north"]


def test_a_host_that_is_none_is_told_before_anything_starts(
    registry: Nodes, palm_home: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no host") as caught:
        Node(Folders.find(), registry, config=NodeConfig(address="no-such-host.invalid"))
    assert caught.value.key == "address"


def test_without_a_free_port_a_component_waits_and_says_so(
    registry: Nodes, palm_home: Path
) -> None:
    with socket.socket() as other, running(registry) as start:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        start(NodeConfig("here", ports=(port, port)))
        registry.reached = {"foo"}
        registry.want((binder(), 1))
        assert registry.are(foo="starting")
        said = f"waits for a port: none of the ports {port}-{port} is free"
        assert registry.replicas["foo"].reason == said
        other.close()
        assert registry.are(foo="ready")  # it looks again
        assert registry.replicas["foo"].sockets == {"pull": f"tcp://127.0.0.1:{port}"}


def test_assignments_of_an_older_registry_name_no_sockets() -> None:
    assert Assignment(spec=ComponentSpec(name="a"), numbers=[0]).reached is False
    assert Assignments(generation=1).sockets == {}
