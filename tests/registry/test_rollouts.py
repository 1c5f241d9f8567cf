"""Another version takes the place of a few replicas at a time, and halts where it fails."""

from __future__ import annotations

from typing import Any

import pytest

from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import Assignments, ReplicaState
from tests.support.registry import Runner, spec, status_of

pytestmark = pytest.mark.both_databases


def wanted(version: str, **more: Any) -> Any:
    return spec("x", role="worker", replicas=4, env={"VERSION": version}, **more)


class Rolling(Runner):
    """A runner that does what it is told to a component x, step by step."""

    def become(self, answer: Assignments, number: int, state: ReplicaState) -> Assignments:
        reason = "ended with exit code 1" if state in ("failed", "backing-off") else ""
        return self.beat(status_of(answer.components[0].spec, number, state, reason=reason))


@pytest.fixture
def rolling(client: RegistryClient) -> Rolling:
    runner = Rolling(client, "c")
    runner.join()
    client.declare("c", wanted("1"))
    runner.run_all()
    return runner


def test_others_wait_until_the_one_before_is_ready(
    client: RegistryClient, rolling: Rolling
) -> None:
    client.declare("c", wanted("2"))
    answer = rolling.beat()
    (told,) = answer.components
    assert (told.numbers, told.keep) == ([0, 1, 2, 3], [1, 2, 3])
    status = client.component("c", "x")
    assert "3 missing: runs the version before, until its turn" in status.conditions
    assert not client.cluster_status("c").ready
    for number, left in enumerate(([2, 3], [3], [], [])):
        during = rolling.become(answer, number, "starting")
        assert during.components[0].keep == list(range(number + 1, 4))
        after = rolling.become(answer, number, "ready")
        assert after.components[0].keep == left
    assert client.cluster_status("c").ready
    assert client.component("c", "x").conditions == []


def test_rollout_halts_where_the_new_version_fails_and_says_so(
    client: RegistryClient, rolling: Rolling
) -> None:
    client.declare("c", wanted("2"))
    answer = rolling.beat()
    rolling.become(answer, 0, "starting")
    for state in ("backing-off", "failed"):
        assert rolling.become(answer, 0, state).components[0].keep == [1, 2, 3]
    status = client.component("c", "x")
    said = (
        "rollout halted: new version of x-0 ended with exit code 1;"
        " 3 of 4 still run the version before"
    )
    assert status.reason == said
    assert said in status.conditions
    assert sum(r.state == "ready" for r in status.replicas) == 3
    whys = {each.why: each.count for each in client.cluster_status("c").missing}
    assert whys["runs the version before, as the rollout is halted"] == 3


def test_rollout_goes_on_with_a_version_that_is_repaired(
    client: RegistryClient, rolling: Rolling
) -> None:
    client.declare("c", wanted("2"))
    answer = rolling.beat()
    rolling.become(answer, 0, "failed")
    client.declare("c", wanted("3"))
    answer = rolling.beat()
    assert answer.components[0].keep == [1, 2, 3]
    for number in range(4):
        answer = rolling.become(answer, number, "ready")
    assert client.cluster_status("c").ready


def test_rollout_survives_a_registry_that_is_started_again(
    client: RegistryClient, rolling: Rolling
) -> None:
    client.declare("c", wanted("2"))
    rolling.become(rolling.beat(), 0, "ready")
    again = Rolling(client, "c")
    again.join()
    assert again.beat().components[0].keep == [2, 3]


def test_component_that_asks_for_it_is_replaced_at_once(
    client: RegistryClient, rolling: Rolling
) -> None:
    client.declare("c", wanted("1", rollout="at-once"))
    before = client.component("c", "x").generation
    client.declare("c", wanted("2", rollout="at-once"))
    assert rolling.beat().components[0].keep == []
    assert client.component("c", "x").generation > before


def test_way_of_a_rollout_alone_restarts_nothing(client: RegistryClient, rolling: Rolling) -> None:
    before = client.component("c", "x").generation
    client.declare("c", wanted("1", rollout="at-once"))
    assert client.component("c", "x").generation == before
    assert client.cluster_status("c").ready


def test_scaled_component_of_another_version_grows_before_it_changes(
    client: RegistryClient, rolling: Rolling
) -> None:
    more = wanted("2")
    more.replicas = 6
    client.declare("c", more)
    answer = rolling.beat()
    assert answer.components[0].keep == [0, 1, 2, 3]
    rolling.become(answer, 4, "ready")
    assert rolling.become(answer, 5, "ready").components[0].keep == [1, 2, 3]


def test_replicas_on_several_nodes_have_their_turns_one_after_the_other(
    client: RegistryClient, runner: Runner
) -> None:
    other = Runner(client, "c", "other").join()
    client.declare("c", wanted("1"))
    for each in (runner, other):
        each.run_all()
    client.declare("c", wanted("2"))
    told = [each.beat().components[0] for each in (runner, other)]
    kept = sorted(number for each in told for number in each.keep)
    assert kept == [1, 2, 3]
    assert sorted(number for each in told for number in each.numbers) == [0, 1, 2, 3]
