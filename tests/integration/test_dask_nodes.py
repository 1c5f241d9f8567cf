"""The workers of a real Dask cluster as nodes: they come, are lost, are asked for, and go."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from palm import connect, up
from palm.clients import Client
from palm.errors import ConfigError, PalmError
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import ComponentSpec, NodeInfo, ReplicaStatus
from palm.runner.registry import find_registry, read_registry
from palm.runtime.folders import Folders
from tests.cli.conftest import Shell
from tests.runner.conftest import exists
from tests.support.dask import DaskCluster
from tests.support.folders import use_folders
from tests.support.nodes import eventually

pytestmark = pytest.mark.slow

FUNCTIONS = """
import os, time

def pause(seconds):
    time.sleep(seconds)
    return os.getpid()
"""
FILE = """
[components.foo]
role = "master"
module = "palm"
args = ["master", "--name", "${name}"]

[components.work]
role = "worker"
module = "palm"
args = ["worker", "functions.py", "--master", "foo", "--name", "${name}"]
files = ["functions.py"]
replicas = 3
needs = ["foo"]
labels = { engine = "dask" }
"""
LONG = 40.0


class House:
    """A cluster of palm on this machine."""

    def __init__(self, folder: Path) -> None:
        self.shell = Shell(folder)
        self.shell.write("functions.py", FUNCTIONS)
        self.shell.write("cluster.toml", FILE)
        self.shell.palm("up")
        client = find_registry(Folders.find())
        assert client is not None
        self.client: RegistryClient = client

    def nodes(self) -> dict[str, NodeInfo]:
        found = self.client.nodes("default")
        return {node.name: node for node in found if "pool" in node.labels}

    def replicas(self, component: str = "work") -> dict[str, ReplicaStatus]:
        found = self.client.component("default", component).replicas
        return {each.name: each for each in found}

    def has_ready(self, count: int) -> Callable[[], bool]:
        return lambda: sum(each.state == "ready" for each in self.replicas().values()) == count

    def close(self) -> None:
        self.client.close()
        self.shell.palm("down")


@pytest.fixture
def start_dask(tmp_path: Path) -> Iterator[Callable[..., DaskCluster]]:
    pytest.importorskip("distributed")
    started: list[DaskCluster] = []

    def start(*args: int, **options: int) -> DaskCluster:
        started.append(DaskCluster(tmp_path, *args, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def house(
    palm_home: Path, tmp_path: Path, start_dask: Callable[..., DaskCluster]
) -> Iterator[House]:
    found = House(tmp_path)
    yield found
    found.close()


def test_a_cluster_that_has_just_begun_takes_workers(
    palm_home: Path, start_dask: Callable[..., DaskCluster]
) -> None:
    dask = start_dask(1)
    with up() as cluster:  # whose own runner is about to join
        assert cluster.add_nodes(dask.url) == ["dask-0"]
        cluster.down()


def test_workers_are_nodes_as_long_as_they_last_and_nothing_is_left(
    house: House, start_dask: Callable[..., DaskCluster]
) -> None:
    dask = start_dask()
    done = house.shell.palm("nodes", "add", dask.url, "--label", "zone=eu")
    assert "dask-0, dask-1: nodes of default" in done.stdout
    node = house.nodes()["dask-0"]
    assert (node.cores, node.places) == (2, 2)
    labels = {key: node.labels[key] for key in ("engine", "pool", "cores", "zone")}
    assert labels == {"engine": "dask", "pool": "dask", "cores": "2", "zone": "eu"}
    assert node.labels["memory"][-1] in "GM"
    house.shell.palm("up", "cluster.toml")
    assert {each.node for each in house.replicas().values()} == {"dask-0", "dask-1"}

    # A worker is lost in the middle of a job, with all that it says.
    with Client("foo") as client:
        job = client.job("pause", [0.01] * 600)
        results = [next(job) for _ in range(20)]
        lost = dask.pids()["0"]
        before = house.replicas()
        os.kill(lost, signal.SIGKILL)
        results += list(job)
    assert len(results) == 600
    gone = [each.pid for each in before.values() if each.node == "dask-0"]
    assert gone and eventually(lambda: not any(pid and exists(pid) for pid in gone))
    # Dask starts another one of its name; nobody's work waits for that.
    assert eventually(lambda: dask.pids().keys() == {"0", "1"}, LONG)
    assert eventually(
        lambda: {n for n, i in house.nodes().items() if i.alive} == {"dask-0", "dask-1"}, LONG
    )
    assert eventually(house.has_ready(3), LONG)

    # The provider is killed, and finds all as it was.
    pids = {each.pid for each in house.replicas().values()}
    provider = house.replicas("dask")["dask"].pid
    assert provider is not None
    os.kill(provider, signal.SIGKILL)
    assert eventually(lambda: house.replicas("dask")["dask"].pid not in (None, provider), LONG)
    assert eventually(lambda: house.replicas("dask")["dask"].state == "ready", LONG)
    assert {each.pid for each in house.replicas().values()} == pids

    refused = house.shell.palm("nodes", "remove", dask.url, code=2)
    assert "dask runs 3 processes; to remove it all the same: --yes" in refused.stderr
    assert "pool dask is no more" in house.shell.palm("nodes", "remove", dask.url, "--yes").stdout
    assert not house.nodes()
    assert not any(pid and exists(pid) for pid in pids)
    assert not list(dask.scratch.glob("palm-*"))
    plugins = "[name for name in cluster.scheduler.plugins if name.startswith('palm')]"
    assert dask.evaluate(plugins) == []
    assert dask.evaluate("client.submit(pow, 2, 5).result()") == 32
    assert [t.name for t in house.client.tokens() if t.name.startswith("node-")] == []


def test_an_adaptive_cluster_has_as_many_workers_as_places_are_wanted(
    house: House, start_dask: Callable[..., DaskCluster]
) -> None:
    dask = start_dask(0, 2, adapt=4)
    assert "no worker yet" in house.shell.palm("nodes", "add", dask.url, "--name", "big").stdout
    house.shell.palm("apply", "cluster.toml", "--no-wait")
    assert eventually(house.has_ready(3), LONG)
    assert len(house.nodes()) == 2
    house.shell.palm("scale", "work", "7")
    assert eventually(house.has_ready(7), LONG)
    assert len(house.nodes()) == 4
    # All that there may be are full: the rest waits, and says for what.
    house.client.scale("default", "work", 9)
    why = "waits for a place: the 4 nodes for it have 8, all taken"
    status = house.client.cluster_status
    assert eventually(lambda: why in [each.why for each in status("default").missing])
    kept = {name: each.pid for name, each in house.replicas().items() if each.replica < 2}
    house.client.scale("default", "work", 2)
    assert eventually(lambda: {n: r.pid for n, r in house.replicas().items()} == kept)
    left = {each.node for each in house.replicas().values()}
    assert eventually(lambda: len(dask.pids()) == len(left), LONG)
    assert eventually(lambda: set(house.nodes()) == left)


def test_a_client_of_dask_gives_its_workers_over_tls(
    house: House, start_dask: Callable[..., DaskCluster]
) -> None:
    dask = start_dask(1, 1, tls=True)
    folders = Folders.find()
    here = {"PALM_RUN_DIR": str(folders.run), "PALM_STATE_DIR": str(folders.state)}
    assert dask.evaluate(f"os.environ.update({here})") is None
    assert dask.evaluate("palm.connect('default').add_nodes(client, 'tls')") == ["tls-0"]
    keys = folders.keys.parent / "pools/tls"
    assert {path.stat().st_mode & 0o77 for path in keys.iterdir()} == {0}
    refused = house.shell.palm("nodes", "add", dask.url, "--name", "again", code=1)
    assert "are nodes already: pool tls" in refused.stderr
    assert dask.evaluate("palm.connect('default').remove_nodes('tls')") == ["tls-0"]
    assert not keys.exists()


def test_a_scheduler_that_is_gone_is_waited_for(
    house: House, start_dask: Callable[..., DaskCluster]
) -> None:
    dask = start_dask(1, 1)
    house.shell.palm("nodes", "add", dask.url)
    port = int(dask.url.rpartition(":")[2])
    dask.close()
    assert eventually(lambda: not any(node.alive for node in house.nodes().values()), LONG)
    start_dask(2, 1, port=port)
    assert eventually(lambda: sum(node.alive for node in house.nodes().values()) == 2, LONG)
    house.shell.palm("nodes", "remove", "dask", "--yes")


def test_what_cannot_work_is_said_before_anything_is_done(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    palm = house.shell.palm
    assert "no scheduler of Dask answers at dask://127.0.0.1:9" in (
        palm("nodes", "add", "dask://127.0.0.1:9", code=1).stderr
    )
    assert "HOST:PORT, as of 8786" in palm("nodes", "add", "dask://there", code=1).stderr
    assert "says that itself" in palm("nodes", "add", "dask://h:1", "--cores", "4", code=1).stderr
    house.client.declare("default", ComponentSpec(name="taken", command=["sleep", "600"]))
    taken = palm("nodes", "add", "dask://127.0.0.1:9", "--name", "taken", code=1)
    assert "a component is called taken already" in taken.stderr
    house.client.remove("default", "taken")
    assert "no pool of nodes is called dask://h:1" in (
        palm("nodes", "remove", "dask://h:1", code=1).stderr
    )
    with connect("default") as cluster, pytest.raises(PalmError, match="is no engine"):
        cluster.add_nodes(3)
    _add_from_another_machine(house, tmp_path / "another", monkeypatch)
    assert eventually(lambda: house.client.components("default") == [])


def _add_from_another_machine(house: House, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there could look after the nodes: it is none."""
    record = read_registry(Folders.find())
    assert record is not None
    token = Folders.find().state / "tokens/owner"
    with monkeypatch.context() as there:
        use_folders(there, folder)
        there.setenv("PALM_TOKEN_FILE", str(token))
        there.setattr("palm.clusters.pools.node_name", lambda: "another")
        refused = pytest.raises(ConfigError, match="none of the cluster")
        with connect("default", record.url, hold=False) as cluster, refused:
            cluster.add_nodes("dask://127.0.0.1:9")
