"""How long a cluster lives: holders, leases, linger."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm_registry.watch import Leases
from tests.support.registry import RegistryProcess, RegistryThread, Runner, spec

pytestmark = pytest.mark.both_databases


def wait_for_state(client: RegistryClient, state: str) -> None:
    end = time.monotonic() + 10
    while client.view_cluster("c").state != state:
        assert time.monotonic() < end, client.view_cluster("c")
        time.sleep(0.02)


def test_a_cluster_lingers_after_its_last_lease_and_then_its_nodes_stop(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("mine", owner="notebook"))
    client.set_cluster("c", '[components.file]\ncommand = ["x"]\n')
    runner.run_all()
    reply = client.lease("c", "notebook", 0.4, linger=0.4)
    assert reply.holders == ["notebook"]
    assert reply.lease_until is not None
    began = time.monotonic()
    answer = runner.beat(wait=10.0)
    while not answer.stop:
        answer = runner.beat(wait=10.0)
    assert 0.8 <= time.monotonic() - began < 5.0
    assert answer.components == []
    assert client.view_cluster("c").state == "ending"
    client.leave("c", "here")
    assert client.view_cluster("c").state == "ended"
    assert [(c.name, c.state) for c in client.components("c")] == [("file", "stopped")]
    status = client.cluster_status("c")
    assert (status.state, status.ready) == ("ended", False)
    kinds = [event.kind for event in client.events("c")[0]]
    assert kinds[-4:] == ["lease.ended", "cluster.ending", "node.left", "cluster.ended"]


def test_another_holder_keeps_it_alive(client: RegistryClient) -> None:
    client.lease("c", "first", 30.0, linger=0.0)
    client.lease("c", "second", 30.0)
    assert client.release("c", "first").holders == ["second"]
    time.sleep(0.6)
    assert client.view_cluster("c").state == "alive"
    client.release("c", "second")
    wait_for_state(client, "ended")


def test_a_lease_that_is_renewed_does_not_end(client: RegistryClient) -> None:
    client.lease("c", "me", 0.4, linger=0.0)
    for _ in range(5):
        time.sleep(0.2)
        client.lease("c", "me", 0.4)
    assert client.view_cluster("c").state == "alive"
    wait_for_state(client, "ended")


def test_a_cluster_that_nobody_ever_held_or_that_lingers_for_ever_goes_on(
    client: RegistryClient,
) -> None:
    client.create_cluster("d", 0.0)
    client.lease("c", "me", 0.1, linger=None)
    time.sleep(0.8)
    assert [cluster.state for cluster in client.cluster_list()] == ["alive", "alive"]


def test_a_new_lease_in_time_saves_it(client: RegistryClient) -> None:
    client.lease("c", "me", 30.0, linger=1.0)
    client.release("c", "me")
    client.lease("c", "you", 30.0)
    time.sleep(1.4)
    assert client.view_cluster("c").state == "alive"


def test_the_user_ends_it_whoever_holds_it(client: RegistryClient, runner: Runner) -> None:
    client.lease("c", "me", 30.0, linger=None)
    reply = client.end_cluster("c")
    assert reply.holders == []
    assert runner.beat().stop
    client.leave("c", "here")
    wait_for_state(client, "ended")


def test_what_has_ended_begins_anew_with_nothing_that_runs(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("old", owner="me"))
    runner.run_all()
    client.end_cluster("c")
    client.leave("c", "here")
    with pytest.raises(Refused) as caught:
        client.declare("c", spec("new"))
    assert (caught.value.status, caught.value.code) == (409, "cluster-ended")
    assert client.create_cluster("c").state == "alive"
    assert client.components("c") == []
    client.declare("c", spec("new"))
    assert {a.spec.name for a in runner.join().beat().components} == {"new"}


def test_leases_begin_anew_with_the_registry(
    client: RegistryClient, registry: RegistryThread
) -> None:
    client.lease("c", "me", 1.0, linger=0.0)
    registry.stop()
    time.sleep(1.2)  # the holder could not renew it meanwhile
    registry.start()
    assert client.view_cluster("c").holders == ["me"]
    client.lease("c", "me", 1.0)
    assert client.view_cluster("c").state == "alive"
    wait_for_state(client, "ended")


def test_lingering_goes_on_after_a_restart(
    client: RegistryClient, registry: RegistryThread
) -> None:
    client.lease("c", "me", 30.0, linger=0.3)
    client.release("c", "me")
    registry.stop()
    registry.start()
    wait_for_state(client, "ended")


@pytest.mark.slow
def test_a_registry_for_one_user_ends_with_the_last_cluster(
    palm_home: Path, process: RegistryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.arguments = ("--linger", "0.5")
    monkeypatch.setenv("PALM_LOG_LEVEL", "INFO")
    process.start()
    assert process.process is not None
    with process.client() as client:
        client.create_cluster("c", 0.0)
        client.lease("c", "me", 30.0)
        client.create_cluster("d")
        client.end_cluster("d")
        client.release("c", "me")
    # It waits a while for a first cluster, and no longer once there was one.
    assert process.process.wait(15) == 0
    process.end()
    assert not (palm_home / "run" / "registry.json").exists()


def test_leases_are_counted_by_the_clock_that_only_goes_forward() -> None:
    leases = Leases()
    assert leases.renew("c", "a", 10.0, now=0.0)
    assert not leases.renew("c", "a", 10.0, now=5.0)
    assert leases.renew("c", "a", 20.0, now=5.0)
    assert leases.left("c", now=5.0) == 20.0
    assert leases.expired(now=24.9) == []
    assert leases.expired(now=25.0) == [("c", "a")]
    assert leases.release("c", "a", now=25.0)
    assert not leases.release("c", "a", now=26.0)
    assert leases.unheld() == {"c": 25.0}
    leases.renew("c", "b", 1.0, now=30.0)
    assert leases.unheld() == {}
    leases.forget("c")
    assert leases.holders("c") == []
