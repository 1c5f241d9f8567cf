"""Shared values on bad links, and when their master is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from palm.clients.cache import MISSING
from palm.servers import Master
from tests.support.cluster import ROOT, ProcessCluster, ThreadCluster, until
from tests.support.fixtures import cluster, processes
from tests.support.proxy import Proxy

__all__ = ["cluster", "processes"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def lossy(cluster: ThreadCluster) -> Iterator[tuple[Master, Client, Proxy]]:
    """A master, and a client whose link to it can be broken."""
    master = cluster.master(db_address="tcp://127.0.0.1:0").component
    assert isinstance(master, Master)
    proxy = Proxy(int(master.endpoints["db"].rpartition(":")[2]))
    try:
        client = cluster.client("foo", proxy.address)
        assert len(client.cache) == 0
        yield master, client, proxy
        client.close()
    finally:
        proxy.close()


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("what", ["cas", "set", "clear", "delete"])
def test_operation_whose_answer_is_lost_is_carried_out_once(
    lossy: tuple[Master, Client, Proxy], what: str, large: bool
) -> None:
    master, client, proxy = lossy
    old, new = (bytes(3 << 20), b"x" * (3 << 20)) if large else (0, 1)
    master.cache["k"] = old
    calls: dict[str, Callable[[], Any]] = {
        "cas": lambda: client.cache.cas("k", old, new, ttl=500),
        "set": lambda: client.cache.set("k", new, ttl=500),
        "clear": lambda: client.cache.clear("k"),
        "delete": lambda: client.delete("k"),
    }
    answers: list[Any] = []
    asker = threading.Thread(target=lambda: answers.append(calls[what]()))
    proxy.hold("down")
    asker.start()
    until(lambda: master.cache.get("k") != old, within=30, what="it is carried out")
    master.cache["k"] = old  # would be changed again
    proxy.cut()
    proxy.heal()
    asker.join(30)
    assert answers == [{"cas": True, "set": None, "clear": 1, "delete": True}[what]]
    assert client.cache["k"] == old


def test_what_was_answered_outlives_the_kill_of_a_master_with_a_file(
    processes: ProcessCluster, palm_home: Path
) -> None:
    master = processes.master("foo", "cache='sqlite'")
    kept: list[int] = []
    with Client("foo", session="s") as client:
        client.cache.set("ends", 1, ttl=1000)
        client.cache["gone"] = 1
        del client.cache["gone"]
        over = threading.Event()

        def keep() -> None:
            while not over.is_set():
                client.cache[f"k{len(kept):05}"] = [len(kept)] * 100
                kept.append(len(kept))

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            for _ in range(3):
                before = len(kept)
                until(lambda before=before: len(kept) > before + 50, within=30)
                master.process.kill()
                master.wait()
                master = processes.master("foo", "cache='sqlite'")
        finally:
            over.set()
            keeper.join(30)
        assert client.cache.list("k") == [f"k{number:05}" for number in kept]
        assert all(client.cache[f"k{number:05}"] == [number] * 100 for number in kept[::10])
        assert client.cache["ends"] == 1 and "gone" not in client.cache
        assert client.cache.cas("lock", MISSING, "me", ttl=0.5)
        master.process.kill()
        master.wait()
        processes.master("foo", "cache='sqlite'")
        until(lambda: client.cache.cas("lock", MISSING, "you"), what="its end is kept")


def test_values_in_memory_are_gone_with_their_master(processes: ProcessCluster) -> None:
    master = processes.master()
    with Client("foo") as client:
        client.cache["k"] = 1
        master.process.kill()
        master.wait()
        processes.master()
        assert client.cache.get("k", MISSING) is MISSING


def test_the_example_checks_itself(processes: ProcessCluster) -> None:
    folder = ROOT / "examples" / "cache"
    processes.run((folder / "master.py").read_text()).wait_for("ready")
    processes.run((folder / "worker.py").read_text()).wait_for("Got worker pull address")
    client = processes.run((folder / "client.py").read_text())
    assert client.wait(30) == 0, client.output
