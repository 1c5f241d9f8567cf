"""A cluster over several hosts (F17 to F21 with addresses of their own): it works, and goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palm.clients import Client, Job
from palm.registry_api.client import Unreachable
from palm.registry_api.schema import ReplicaStatus
from palm.runner.sharedkeys import shown
from palm.transport.keys import read_keyring
from tests.support.hosts import Hosts
from tests.support.nodes import eventually
from tests.support.site import Site, running_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.netns,
    pytest.mark.timeout(180),
    pytest.mark.no_leak_check("threads", "descriptors", "processes"),
]

N = 600
SOON = 30.0


@pytest.fixture
def site(palm_home: Path) -> Iterator[Site]:
    """One of which hosts may be lost."""
    with running_site(palm_home / "site") as site:
        yield site


@pytest.fixture(scope="module")
def lasting_site() -> Iterator[Site]:
    home = Path(tempfile.mkdtemp(prefix="palm-"))
    try:
        with running_site(home / "site") as site:
            yield site
    finally:
        shutil.rmtree(home)


@pytest.fixture
def whole(lasting_site: Site) -> Iterator[Site]:
    """One that is as it was afterwards."""
    lasting_site.runs.write_text("")
    yield lasting_site
    lasting_site.hosts.heal()
    assert eventually(lasting_site.is_ready, SOON)


def begin(client: Client, n: int = N) -> Job:
    """A job that is under way."""
    job = client.job("foo.work", list(range(n)))
    assert eventually(lambda: job.progress.done > 20, SOON)
    return job


def again(site: Site, before: ReplicaStatus) -> bool:
    """Whether the registry answers, and says that a process runs again, on the same node."""
    try:
        now = site.replicas()[before.name]
    except Unreachable:
        return False
    return now.node == before.node and now.state == "ready" and now.pid not in (None, before.pid)


def check(site: Site, job: Job, n: int = N) -> None:
    """Each message has one outcome, the right one; and each was run."""
    assert sorted(job) == [2 * x for x in range(n)]
    assert set(site.times_run()) == set(range(n))


def test_four_hosts_are_one_cluster(whole: Site) -> None:
    began = time.monotonic()
    (whole.hosts["desk"].home / "desk.py").write_text("def at_the_desk(x):\n    return -x\n")
    with whole.caller() as client:
        assert client.eval("foo.echo", (1, {2})) == (1, {2})
        print(f"first answer after {time.monotonic() - began:.2f} s")
        job = begin(client)
        check(whole, job)
        assert set(whole.times_run().values()) == {1}
        # A worker that somebody starts at the desk finds the master in the same way.
        whole.hosts["desk"].start(
            "-m", "palm", "worker", "desk.py", "--master", "foo", "--name", "w-desk"
        )  # fmt: skip
        assert client.eval("foo.at_the_desk", 3, timeout=SOON) == -3
    places = {name: replica.node for name, replica in whole.replicas().items()}
    assert places["foo"] == "north"
    assert {places["foo-worker-0"], places["foo-worker-1"]} == {"east", "south"}


def test_f17_f18_partitions_heal_and_each_message_has_one_outcome(whole: Site) -> None:
    hosts = whole.hosts
    with whole.caller() as client:
        job = begin(client)
        done = job.progress.done
        hosts.cut("desk", "north")  # client and master
        hosts.cut("east", "north")  # a worker and the master
        cut = time.monotonic()
        # Longer than heartbeats of other hosts are waited for: both sides give up.
        assert eventually(lambda: time.monotonic() - cut > 8.0, SOON)
        hosts.heal()
        healed = time.monotonic()
        assert eventually(lambda: job.progress.done > done + 200 or job.state == "done", SOON)
        print(f"F17 F18: results again {time.monotonic() - healed:.2f} s after the healing")
        check(whole, job)
        assert {replica.node for replica in whole.replicas().values()} == {"north", "east", "south"}


def test_f19_what_is_lost_one_way_only_is_made_good(whole: Site) -> None:
    with whole.caller() as client:
        job = begin(client)
        whole.hosts.one_way("north", "desk")
        whole.hosts.one_way("east", "north")
        cut = time.monotonic()
        assert eventually(lambda: time.monotonic() - cut > 8.0, SOON)
        whole.hosts.heal()
        healed = time.monotonic()
        check(whole, job)
        print(f"F19: done {time.monotonic() - healed:.2f} s after the healing")


def test_f21_a_slow_link_that_loses_frames_is_slow_and_right(whole: Site) -> None:
    whole.hosts.slow("desk", "north", 0.1, 0.05)  # 200 ms there and back
    with whole.caller() as client:
        began = time.monotonic()
        assert client.eval("foo.echo", b"x") == b"x"
        print(f"F21: connected and answered in {time.monotonic() - began:.2f} s")
        assert client.eval("foo.echo", bytes(500_000)) == bytes(500_000)
        job = begin(client, 300)
        check(whole, job, 300)
        print(f"F21: all done in {time.monotonic() - began:.2f} s")


def test_f47_keys_that_change_reach_nodes_and_a_client_elsewhere(whole: Site) -> None:
    with whole.caller() as client:
        before = whole.client.cluster_keys("default")
        job = begin(client)
        rotating = whole.hosts["desk"].start("-m", "palm", "keys", "rotate", "--overlap", "1m")
        assert rotating.wait(60) == 0, whole.logs()
        rotated = time.monotonic()
        done = job.progress.done
        check(whole, job)
        print(f"F47: {done} were done when all had other keys, all {N}"
              f" {time.monotonic() - rotated:.2f} s later")  # fmt: skip
    after = whole.client.cluster_keys("default")
    assert after.follows(before)
    assert after.owner.curve_publickey != before.owner.curve_publickey
    # The desk has no key but in its memory.
    assert not list((whole.hosts["desk"].home / "state" / "default" / "keys").glob("*.before.*"))
    for name in ("north", "east", "south"):
        folder = whole.hosts[name].home / "state" / "default" / "keys"
        assert shown(read_keyring(folder)) == after


def test_a_lost_host_of_workers_loses_no_message(site: Site) -> None:
    with site.caller() as client:
        job = begin(client)
        lost = site.hosts.lose("east")
        done = job.progress.done
        check(site, job)
        print(f"lost workers: {done} were done, all were {time.monotonic() - lost:.2f} s later")
        assert eventually(lambda: site.replicas()["foo-worker-0"].node == "south", SOON)


def test_a_lost_host_of_the_master_is_followed(site: Site) -> None:
    """Workers and clients go to where the master is placed, and the job goes on there."""
    with site.caller() as client:
        job = begin(client)
        before = site.address_of_master()
        lost = site.hosts.lose("north")
        assert eventually(lambda: site.address_of_master() not in ("", before), SOON)
        placed = time.monotonic()
        done = job.progress.done
        assert eventually(lambda: job.progress.done > done or job.state == "done", SOON)
        followed = time.monotonic()
        print(f"lost master: placed elsewhere after {placed - lost:.2f} s, the next result"
              f" {followed - placed:.2f} s after that")  # fmt: skip
        assert followed - placed < 10.0
        check(site, job)
        assert site.replicas()["foo"].node == "south"


def test_a_lost_host_of_the_registry_stops_no_work(site: Site) -> None:
    with site.caller() as client:
        job = begin(client)
        worker = site.replicas()["foo-worker-0"]
        site.hosts.lose("registry")
        # A process that ends is its runner's to start again, which needs nobody for that.
        os.kill(worker.pid or 0, signal.SIGKILL)
        check(site, job)
        assert client.eval("foo.echo", 7) == 7
    site.hosts.restore("registry")
    site.begin_registry()
    back = time.monotonic()
    assert eventually(lambda: again(site, worker) and site.is_ready(), SOON)
    print(f"lost registry: it knew of the worker {time.monotonic() - back:.2f} s after its start")


def test_a_master_that_is_cut_off_does_no_harm(site: Site) -> None:
    """It lives on behind the partition; who can be reached follows the one that counts."""
    hosts = site.hosts
    with site.caller() as client:
        job = begin(client)
        hosts.isolate("north")
        cut = time.monotonic()
        check(site, job)
        print(f"cut off master: the job was done {time.monotonic() - cut:.2f} s after the cut")
        conditions = site.client.component("default", "foo").conditions
        assert conditions == ["foo may run on node north too, which is lost"]
        hosts.heal()
        assert eventually(lambda: not site.client.component("default", "foo").conditions, SOON)
        assert site.replicas()["foo"].node == "south"
        assert client.eval("foo.echo", 8) == 8


def test_a_master_that_only_the_registry_has_lost_is_left_for_the_new_one(site: Site) -> None:
    with site.caller() as client:
        job = begin(client)
        site.hosts.cut("registry", "north")  # all others reach it
        cut = time.monotonic()
        assert eventually(lambda: site.replicas()["foo"].node == "south", SOON)
        check(site, job)
        print(f"lost to the registry alone: done {time.monotonic() - cut:.2f} s after the cut")
        with site.caller() as other:  # it finds the new one, and workers that serve it
            assert other.eval("foo.echo", 9, timeout=SOON) == 9


def test_what_a_killed_run_left_is_removed_by_the_next(palm_home: Path) -> None:
    run = subprocess.Popen(["sleep", "600"])
    left = f"palmtest-{run.pid}-0-north"
    subprocess.run(["ip", "netns", "add", left], check=True)
    orphan = subprocess.Popen(["ip", "netns", "exec", left, "sleep", "600"])
    assert eventually(lambda: subprocess.check_output(["ip", "netns", "pids", left]))
    run.kill()
    run.wait()
    hosts = Hosts(palm_home / "hosts", "north")
    hosts.close()
    assert orphan.wait(5) == -signal.SIGKILL
    gone = {left, hosts["north"].namespace}
    # Another one that begins may be at the same.
    assert eventually(lambda: gone.isdisjoint(os.listdir("/run/netns")))
