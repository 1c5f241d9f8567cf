"""Simulated nodes are nodes, as far as a registry can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.nodes.postgres import Server
from benchmarks.nodes.trial import Simulated
from benchmarks.processes import BrokenError, Place
from palm.registry_api.schema import ComponentSpec
from palm_registry.store import Database
from tests.support.nodes import eventually
from tests.support.registry import RegistryProcess

pytestmark = pytest.mark.slow


class Running:
    """What a benchmark knows of a registry."""

    def __init__(self, registry: RegistryProcess) -> None:
        self.url, self.token_file = registry.record["url"], registry.record["token_file"]
        self.registry = registry
        self.client = registry.client()
        self.client.create_cluster("bench")


@pytest.fixture
def running(palm_home: Path) -> Iterator[Running]:
    process = RegistryProcess(palm_home, "--move-after", "0.2").start()
    running = Running(process)
    yield running
    running.client.close()
    process.stop()


def test_they_join_run_what_is_wanted_and_are_lost(running: Running) -> None:
    def nodes_of_ready() -> list[str]:
        replicas = running.client.component("bench", "work").replicas
        return sorted(each.node for each in replicas if each.state == "ready")

    with Place() as place:
        nodes = Simulated(place, running, 3)  # type: ignore[arg-type]
        assert [node.alive for node in running.client.nodes("bench")] == [True] * 3
        running.client.declare("bench", ComponentSpec(name="work", command=["true"], replicas=6))
        assert eventually(lambda: nodes_of_ready() == [f"node-0000{n // 2}" for n in range(6)])
        assert eventually(lambda: running.client.metrics("bench").samples != [])
        assert set(nodes.figures()) == {"reports", "samples", "behind"}
        nodes.lose(1)
        assert eventually(
            lambda: len(nodes_of_ready()) == 6 and "node-00002" not in nodes_of_ready()
        )


def test_they_find_a_registry_that_was_killed_again(running: Running) -> None:
    def told() -> int:
        return len(running.client.metrics("bench").samples)

    with Place() as place:
        Simulated(place, running, 2)  # type: ignore[arg-type]
        running.client.declare("bench", ComponentSpec(name="work", command=["true"], replicas=4))
        assert eventually(lambda: told() == 4)
        running.registry.kill()
        running.registry.start()  # samples were in its memory only
        assert eventually(lambda: told() == 4)
        assert [node.alive for node in running.client.nodes("bench")] == [True] * 2


def test_nodes_that_do_not_join_in_time_are_none(running: Running) -> None:
    with Place() as place:
        nodes = Simulated(place, running, 3, within=0.0)  # type: ignore[arg-type]
        assert nodes.count == 0


@pytest.mark.postgres
def test_server_of_postgresql_has_a_database_for_a_registry() -> None:
    with Server() as server:
        database = Database(server.new_database())
        database.open()
        assert database.identity
        database.close()
        folder = server.folder
    assert not folder.exists()


def test_what_goes_wrong_with_them_is_said(running: Running) -> None:
    with Place() as place:
        nodes = Simulated(place, running, 1)  # type: ignore[arg-type]
        nodes.process.kill()
        with pytest.raises(BrokenError, match="the nodes are gone"):
            nodes.figures()
