"""F25: more peers than a master has descriptors for, and peers that come and go all the time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from benchmarks.crowd import Crowd
from palm.clients import Client
from palm.errors import ConnectTimeout
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.transport.descriptors import KEPT_PART
from tests.support.cluster import ProcessCluster, Script, ThreadCluster, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors are read from /proc"),
]

#: Descriptors that a small master may have; a crowd that is larger, by less than what is kept.
LIMIT, MANY = 128, 100

SMALL = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT // 2}, {LIMIT}))
from palm.servers import Master
Master("foo", pull_address="tcp://127.0.0.1:0").start()
"""


@pytest.fixture(params=["ipc", "tcp"])
def scheme(request: pytest.FixtureRequest) -> str:
    scheme: str = request.param
    return scheme


@pytest.fixture
def small(processes: ProcessCluster) -> Script:
    """A master with few descriptors."""
    script = processes.run(SMALL)
    script.wait_for("ready")
    return script


def address(scheme: str) -> str:
    record = until(lambda: read_record(Folders.find(), "foo"), what="it can be found")
    found: str = record.endpoints["pull" if scheme == "tcp" else "ipc"]
    return found


@contextmanager
def crowd_at(scheme: str) -> Iterator[Crowd]:
    crowd = Crowd(address(scheme), Folders.find())
    yield crowd
    crowd.close()


def descriptors(master: Script) -> int:
    return len(os.listdir(f"/proc/{master.process.pid}/fd"))


def cpu_of_a_second(master: Script) -> float:
    process = psutil.Process(master.process.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(1.0)
    return sum(process.cpu_times()[:2]) - before


def serve(cluster: ThreadCluster) -> None:
    def double(value: int) -> int:
        return 2 * value

    cluster.worker({"double": double}, "w")


def test_the_soft_limit_is_raised(small: Script) -> None:
    limits = Path(f"/proc/{small.process.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == [str(LIMIT), str(LIMIT)]


def test_newcomers_without_room_are_told_the_way_out_and_the_others_go_on(
    small: Script, scheme: str, cluster: ThreadCluster
) -> None:
    serve(cluster)
    old = cluster.client("foo")
    assert old.eval("foo.double", 21) == 42
    with crowd_at(scheme) as crowd:
        greeted = crowd.enter(MANY)
        assert len(greeted.waits) + greeted.turned_away == MANY
        assert greeted.turned_away > 0
        assert f"{LIMIT} files" in greeted.reason and "ulimit -Hn" in greeted.reason
        until(lambda: descriptors(small) <= LIMIT - LIMIT // KEPT_PART, what="they have left")
        began = time.monotonic()
        with (
            Client("foo", address(scheme), connect_timeout=1.0) as newcomer,
            pytest.raises(ConnectTimeout, match=r"no room for us.*ulimit -Hn"),
        ):
            newcomer.eval("foo.double", 1)
        assert time.monotonic() - began < 5.0
        assert [old.eval("foo.double", value) for value in range(10)] == list(range(0, 20, 2))
        assert "turned away" in small.output


def test_who_is_turned_away_costs_little_and_gets_in_when_others_leave(
    small: Script, scheme: str, cluster: ThreadCluster
) -> None:
    serve(cluster)
    results: list[int] = []

    def call(value: int) -> None:
        with Client("foo", address(scheme)) as client:
            results.append(client.eval("foo.double", value))

    callers = [threading.Thread(target=call, args=(value,)) for value in range(6)]
    with crowd_at(scheme) as crowd:
        assert crowd.enter(MANY).turned_away > 0
        for caller in callers:
            caller.start()
        assert cpu_of_a_second(small) < 0.5
        assert results == []
        crowd.leave(len(callers))
        for caller in callers:
            caller.join(30)
        assert sorted(results) == [0, 2, 4, 6, 8, 10]


def test_who_says_nothing_is_cut_off_where_there_is_no_room(
    small: Script, silent: Callable[[], bytes]
) -> None:
    with crowd_at("ipc") as crowd:
        assert crowd.enter(MANY).turned_away > 0
        assert silent().startswith(b"\xff"), "the greeting of ZMTP, and the end"


@pytest.fixture
def silent() -> Iterator[Callable[[], bytes]]:
    """Connect by ipc, say nothing, and return what was read until the end."""
    import socket

    with socket.socket(socket.AF_UNIX) as peer:

        def read() -> bytes:
            peer.settimeout(3)  # a handshake may take longer than that
            until(lambda: not peer.connect_ex(address("ipc").removeprefix("ipc://")))
            read = b""
            while more := peer.recv(4096):
                read += more
            return read

        yield read


def test_peers_that_come_and_go_leave_nothing_behind(
    processes: ProcessCluster, scheme: str
) -> None:
    master = processes.master("foo", "pull_address='tcp://127.0.0.1:0'")
    before = descriptors(master)
    memory = psutil.Process(master.process.pid).memory_info
    sizes = []
    for _ in range(12):
        with crowd_at(scheme) as crowd:
            assert len(crowd.enter(50).waits) == 50
        sizes.append(memory().rss)
    until(lambda: descriptors(master) <= before, what="all descriptors are free again")
    assert sizes[-1] - sizes[3] < 8 * 2**20, "what they took is used again"
    assert cpu_of_a_second(master) < 0.5
