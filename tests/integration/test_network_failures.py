"""Failures of the network between real components (F17 to F22): no loss, no double, no hang.

Masters, workers and clients are processes or threads of their own, and what they say to one
another over TCP goes through a proxy that breaks it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Job
from palm.servers import Master
from tests.support.cluster import ThreadCluster, until
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

N = 2_000
#: Seconds in which a broken connection must have been noticed and replaced.
SOON = 30.0


class Net:
    """A master, two workers and a client; each worker's and the client's way is a proxy's."""

    def __init__(self, cluster: ThreadCluster, size: int = 0) -> None:
        self.cluster = cluster
        self.runs: Counter[int] = Counter()
        self._lock = threading.Lock()
        self.pad = bytes(size)
        address = "tcp://127.0.0.1:0"
        self.master = cluster.serve(Master("foo", pull_address=address)).component
        port = int(self.master.endpoints["pull"].rpartition(":")[2])
        self.to_workers = [Proxy(port), Proxy(port)]
        self.to_client = Proxy(port)
        for number, proxy in enumerate(self.to_workers):
            cluster.worker({"work": self.work}, f"w{number}", master=proxy.address)
        self.client = cluster.client("foo", db_address=self.to_client.address)

    def work(self, x: int) -> tuple[int, bytes]:
        with self._lock:
            self.runs[x] += 1
        threading.Event().wait(0.001)
        return 2 * x, self.pad

    def begin(self, n: int = N) -> Job:
        """A job that is under way."""
        job = self.client.job("foo.work", list(range(n)))
        until(lambda: job.progress.done > 20 or job.state == "paused")
        return job

    def check(self, job: Job, n: int = N) -> None:
        """Each message has one outcome, the right one."""
        results = sorted(value for value, _ in job)
        assert results == [2 * x for x in range(n)]
        assert set(self.runs) == set(range(n))

    def close(self) -> None:
        for proxy in (*self.to_workers, self.to_client):
            proxy.heal()
        self.cluster.close()
        for proxy in (*self.to_workers, self.to_client):
            proxy.close()


@pytest.fixture
def cluster(palm_home: Path) -> ThreadCluster:
    return ThreadCluster()


@pytest.fixture
def net(cluster: ThreadCluster) -> Iterator[Net]:
    net = Net(cluster)
    yield net
    net.close()


def test_f17_partition_between_client_and_master_heals(net: Net) -> None:
    job = net.begin()
    accepted = net.to_client.accepted
    net.to_client.hold()
    # Each side gives the connection up by itself: the client tries new ones.
    until(lambda: net.to_client.accepted > accepted, within=SOON)
    net.to_client.heal()
    net.check(job)
    assert max(net.runs.values()) == 1, "nothing was wrong with the workers"


def test_f18_short_partition_of_a_worker_runs_nothing_twice(net: Net) -> None:
    job = net.begin()
    for _ in range(3):
        net.to_workers[0].hold()
        threading.Event().wait(0.3)  # shorter than any heartbeat's patience
        net.to_workers[0].heal()
    net.check(job)
    assert max(net.runs.values()) == 1


def test_f18_long_partition_of_a_worker_gives_its_work_to_others(net: Net) -> None:
    job = net.begin()
    net.to_workers[0].hold()
    net.check(job)  # all of it, without that worker
    net.to_workers[0].heal()
    # It comes back, and works again.
    until(lambda: len(workers_of(net.client.job("foo.work", list(range(200))))) == 2, within=SOON)


def workers_of(job: Job) -> set[str]:
    return set(job.to_frame()["worker"])


@pytest.mark.parametrize("direction", ["up", "down"])
def test_f19_one_way_partition_is_no_livelock(net: Net, direction: Any) -> None:
    job = net.begin()
    before = net.to_workers[0].accepted + net.to_client.accepted
    net.to_workers[0].hold(direction)
    net.to_client.hold(direction)
    until(lambda: net.to_client.accepted + net.to_workers[0].accepted >= before + 2, within=SOON)
    threading.Event().wait(3.0)  # time in which a livelock would show
    tries = net.to_client.accepted + net.to_workers[0].accepted - before
    assert tries < 60, f"{tries} connections in a few seconds"
    net.to_workers[0].heal()
    net.to_client.heal()
    net.check(job)


def test_f20_half_open_connection_is_found_while_nothing_is_sent(net: Net) -> None:
    assert net.client.eval("foo.work", 1)[0] == 2
    accepted = net.to_client.accepted
    net.to_client.hold()  # nobody says anything now, and nobody closes
    until(lambda: net.to_client.accepted > accepted, within=SOON)
    net.to_client.heal()
    assert net.client.eval("foo.work", 2, timeout=SOON)[0] == 4


def test_f21_slow_link_is_correct_and_trips_no_heartbeat(cluster: ThreadCluster) -> None:
    net = Net(cluster, size=50_000)
    try:
        net.to_client.delay = 0.2
        net.to_client.rate = 1_000_000  # bytes a second
        assert net.client.eval("foo.work", 1, timeout=SOON)[0] == 2
        accepted = net.to_client.accepted
        job = net.client.job("foo.work", list(range(100)))  # five megabytes of results
        net.check(job, 100)
        assert net.to_client.accepted == accepted, "the connection was busy, not dead"
    finally:
        net.close()


def test_f21_connections_that_break_all_the_time_lose_nothing(net: Net) -> None:
    job = net.begin()
    for _ in range(20):
        done = job.progress.done
        net.to_client.cut()
        net.to_workers[0].cut()
        until(lambda done=done: job.progress.done > done or job.state == "paused", within=SOON)
    net.check(job)


def test_f22_frames_of_another_life_are_answered_and_ignored(net: Net) -> None:
    """The master is started again under its address: everything in flight is of an old epoch."""
    job = net.begin()
    for proxy in (*net.to_workers, net.to_client):
        proxy.hold("up")
    address = net.master.endpoints["pull"]
    net.cluster._served[0].stop()
    net.master = net.cluster.serve(Master("foo", pull_address=address)).component
    for proxy in (*net.to_workers, net.to_client):
        proxy.heal()  # what was held back arrives at nobody, or at the new one
    net.check(job)
