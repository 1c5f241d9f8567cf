"""Two nodes, as two runners on this machine, and a real registry: what one had, the other runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import ReplicaStatus
from tests.runner.conftest import ROOT, exists
from tests.support.nodes import Runner, eventually, two_nodes
from tests.support.registry import RegistryProcess

FILE = """
[components.foo]
role = "master"
script = "master.py"
args = [
    "--name", "foo",
    "--pull", "${socket:foo.pull}",
    "--pub", "${socket:foo.pub}",
    "--wpush", "${socket:foo.wpush}",
    "--wpull", "${socket:foo.wpull}",
    "--db", "${socket:foo.db}",
]
[components.foo-worker]
role = "worker"
script = "worker.py"
args = ["--name", "${name}", "--db", "${socket:foo.db}"]
replicas = 2
needs = ["foo"]
"""
#: Seconds: a node is lost after 5, and what it had moves a second later; the rest is starting.
BOUND = 40.0


class TwoNodes:
    """A registry and two runners with ports of their own."""

    def __init__(self, home: Path) -> None:
        self.registry = RegistryProcess(home, "--move-after", "1").start()
        self.client: RegistryClient = self.registry.client(retry=5.0)
        self.client.create_cluster("default")
        self.runners = {name: Runner(home, name) for name in ("n1", "n2")}
        for name in self.runners:
            self.start(name)
        assert eventually(lambda: len(self.client.nodes("default")) == 2)

    def start(self, name: str) -> None:
        ports = {"n1": "42000-42499", "n2": "42500-42999"}[name]
        self.runners[name].start("--ports", ports)

    def apply(self, text: str) -> None:
        folder = f"{ROOT}/examples/parallel"
        self.client.set_cluster("default", text, folder=folder)

    def ready(self) -> bool:
        return self.client.cluster_status("default").ready

    def replicas(self) -> dict[str, ReplicaStatus]:
        status = self.client.cluster_status("default")
        return {r.name: r for component in status.components for r in component.replicas}

    def kill(self, name: str) -> list[int]:
        """End a node as a power cut would: the runner, and what it runs."""
        there = [r.pid for r in self.replicas().values() if r.node == name and r.pid]
        self.runners[name].kill()
        for pid in there:
            os.kill(pid, signal.SIGKILL)
        return there

    def close(self) -> None:
        self.client.end_cluster("default")
        for runner in self.runners.values():
            if runner.process is not None and runner.process.poll() is None:
                assert runner.wait() == 0
        self.client.close()
        self.registry.stop()


@pytest.fixture
def nodes(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT}/registry")
    nodes = TwoNodes(palm_home)
    yield nodes
    nodes.close()


@pytest.mark.slow
def test_26_what_a_killed_node_had_runs_on_the_other_one(nodes: TwoNodes) -> None:
    nodes.apply(FILE)
    assert eventually(nodes.ready, BOUND)
    before = nodes.replicas()
    assert {name: r.node for name, r in before.items()} == {
        "foo": "n1",
        "foo-worker-0": "n2",
        "foo-worker-1": "n1",
    }
    assert all(a.startswith("tcp://127.0.0.1:42") for a in before["foo"].sockets.values())
    with Client("foo") as client:
        answer = client.eval("foo.foo", b"!")
        assert answer.endswith(b"!")
    gone = nodes.kill("n1")
    assert len(gone) == 2
    assert eventually(
        lambda: {r.node for r in nodes.replicas().values()} == {"n2"} and nodes.ready(), BOUND
    )
    after = nodes.replicas()
    assert not any(exists(pid) for pid in gone)
    # The worker that was there got the master's new address: nobody is elsewhere any more.
    assert after["foo-worker-0"].pid != before["foo-worker-0"].pid
    assert after["foo"].sockets == {}
    with Client("foo") as client:
        assert client.eval("foo.foo", b"?").endswith(b"?")
    # Asking again, and the node that is back, change nothing.
    nodes.apply(FILE)
    nodes.start("n1")
    assert eventually(lambda: all(n.alive for n in nodes.client.nodes("default")))
    nodes.apply(FILE)
    assert nodes.ready()
    assert {n: r.pid for n, r in nodes.replicas().items()} == {n: r.pid for n, r in after.items()}
    kinds = [event.kind for event in nodes.client.events("default")[0]]
    assert kinds.count("component.moved") == 2


@pytest.mark.slow
def test_a_runner_that_is_away_too_long_ends_what_moved_when_it_is_back(nodes: TwoNodes) -> None:
    source = "import time; time.sleep(600)"
    nodes.apply(
        f"[components.a]\ncommand = ['python3', '-c', '{source}']\n"
        f"[components.b]\ncommand = ['python3', '-c', '{source}']\n"
    )
    assert eventually(nodes.ready, BOUND)
    assert {name: r.node for name, r in nodes.replicas().items()} == {"a": "n1", "b": "n2"}
    pid = nodes.replicas()["a"].pid
    assert pid is not None
    nodes.runners["n1"].kill()  # and what it runs goes on
    assert eventually(lambda: nodes.replicas()["a"].node == "n2" and nodes.ready(), BOUND)
    assert exists(pid)
    component = nodes.client.component("default", "a")
    assert component.conditions == ["a may run on node n1 too, which is lost"]
    nodes.start("n1")
    assert eventually(lambda: not exists(pid))
    assert eventually(lambda: not nodes.client.component("default", "a").conditions)
    assert nodes.replicas()["a"].node == "n2"
    assert nodes.ready()


NAMED = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "foo"]
node = "n1"
[components.w]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${name}"]
node = "n2"
"""


@pytest.mark.slow
def test_a_name_is_found_on_another_node(
    palm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two run folders, as two machines have, and the keys that they share."""
    (tmp_path / "functions.py").write_text("def double(x):\n    return 2 * x\n")
    with two_nodes(palm_home, tmp_path, NAMED, monkeypatch), Client("foo") as caller:
        assert caller.eval("foo.double", 21) == 42
    assert not list(palm_home.glob("*/default/peers-*.json"))
