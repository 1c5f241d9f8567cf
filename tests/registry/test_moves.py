"""What a lost node had goes elsewhere: when, where to, and what happens when it comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import Assignments, NodeJoin
from palm_registry.watch import Nodes
from tests.support.registry import RegistryThread, Runner, spec, status_of

pytestmark = pytest.mark.both_databases

LOST = MOVE = 0.8


@pytest.fixture
def registry(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryThread]:
    monkeypatch.setattr("palm_registry.watch.LOST_AFTER", LOST)
    running = RegistryThread(palm_home, move_after=MOVE).start()
    yield running
    running.stop()


def eventually(check: Callable[[], bool], runner: Runner | None = None) -> bool:
    """Wait, while a runner goes on being there."""
    end = time.monotonic() + 15
    while not check():
        if time.monotonic() > end:
            return False
        if runner is not None:
            runner.beat()
        time.sleep(0.02)
    return True


def numbers(answer: Assignments) -> dict[str, list[int]]:
    return {each.spec.name: each.numbers for each in answer.components}


def kinds(client: RegistryClient) -> list[str]:
    return [event.kind for event in client.events("c")[0]]


def conditions(client: RegistryClient, name: str = "a") -> list[str]:
    return client.component("c", name).conditions


@pytest.fixture
def other(client: RegistryClient) -> Runner:
    return Runner(client, "c", "other").join()


def test_what_a_lost_node_had_runs_elsewhere_after_its_time(
    client: RegistryClient, runner: Runner
) -> None:
    """F26 in part: and a master is no exception."""
    client.declare("c", spec("m", role="master"))
    client.declare("c", spec("w", role="worker", replicas=2, needs=["m"]))
    runner.run_all()
    other = Runner(client, "c", "other").join()
    assert numbers(other.beat()) == {}
    assert eventually(lambda: "node.lost" in kinds(client), other)
    lost = time.monotonic()
    assert numbers(other.beat()) == {}  # it may be back in a moment
    assert {r.state for r in client.component("c", "w").replicas} == {"unknown"}
    assert eventually(lambda: bool(numbers(other.beat())))
    assert time.monotonic() - lost > MOVE / 2
    assert numbers(other.beat()) == {"m": [0], "w": [0, 1]}
    moved = [event for event in client.events("c")[0] if event.kind == "component.moved"]
    assert [event.text for event in moved] == [
        f"{name} moves to node other, since node here is lost" for name in ("m", "w-0", "w-1")
    ]
    assert moved[0].data == {"name": "m", "from": "here"}
    why = {each.why for each in client.cluster_status("c").missing}
    assert why == {"moves from node here to node other"}
    other.run_all()
    status = client.cluster_status("c")
    assert status.ready
    assert {r.node for component in status.components for r in component.replicas} == {"other"}


def test_asking_again_moves_nothing_back(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("w", role="worker", replicas=2))
    runner.run_all()
    other = Runner(client, "c", "other").join()
    assert eventually(lambda: numbers(other.beat()) == {"w": [0, 1]})
    other.run_all()
    generation = other.beat().generation
    again = Runner(client, "c").join()
    assert numbers(again.beat(full=True)) == {}
    assert numbers(other.beat()) == {"w": [0, 1]}
    assert other.beat().generation == generation + 1  # that a node has joined, and nothing more
    assert client.cluster_status("c").ready


def test_a_node_that_comes_back_is_told_to_stop_what_moved(
    client: RegistryClient, runner: Runner, other: Runner
) -> None:
    client.declare("c", spec("a", node="here"))
    declared = runner.run_all().components[0].spec
    client.declare("c", spec("a"))  # wherever
    assert eventually(lambda: numbers(other.beat()) == {"a": [0]})
    other.run_all()
    assert conditions(client) == ["a may run on node here too, which is lost"]
    assert client.cluster_status("c").ready
    assert numbers(runner.beat()) == {}
    assert conditions(client) == ["a runs on node here too, and is to stop there"]
    runner.beat(status_of(declared, state="stopping"))
    assert conditions(client) == ["a runs on node here too, and is to stop there"]
    assert [r.node for r in client.component("c", "a").replicas] == ["other"]
    runner.beat(status_of(declared, state="stopped", exit=0))
    assert conditions(client) == []
    assert numbers(other.beat()) == {"a": [0]}


def test_a_node_that_was_started_anew_has_no_strays(
    client: RegistryClient, runner: Runner, other: Runner
) -> None:
    client.declare("c", spec("a", node="here"))
    runner.run_all()
    client.declare("c", spec("a"))
    assert eventually(lambda: numbers(other.beat()) == {"a": [0]})
    other.run_all()
    assert conditions(client)
    Runner(client, "c").join().beat(full=True)
    assert conditions(client) == []


def test_a_node_that_is_back_in_time_keeps_all(
    client: RegistryClient, registry: RegistryThread, runner: Runner, other: Runner
) -> None:
    assert registry.registry is not None
    assert registry.registry.service is not None
    core = registry.registry.service.core
    core.nodes.move_after = 60.0
    client.declare("c", spec("a", node="here"))
    runner.run_all()
    client.declare("c", spec("a"))
    assert eventually(lambda: "node.lost" in kinds(client), other)
    assert eventually(lambda: core.nodes.overdue(core.now() + 61.0), other)
    runner.beat()
    assert client.cluster_status("c").ready
    assert not core.nodes.overdue(core.now() + 61.0)
    assert numbers(other.beat()) == {}
    assert "component.moved" not in kinds(client)


def test_one_machine_that_is_lost_keeps_all(client: RegistryClient, runner: Runner) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    assert eventually(lambda: client.nodes("c")[0].overdue)
    assert client.component("c", "a").replicas[0].state == "unknown"
    runner.beat()
    assert client.cluster_status("c").ready
    assert not client.nodes("c")[0].overdue
    assert "component.moved" not in kinds(client)


def test_a_node_that_joins_takes_what_could_go_nowhere(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    assert eventually(lambda: client.nodes("c")[0].overdue)
    assert numbers(Runner(client, "c", "late").join().beat()) == {"a": [0]}


def test_what_has_done_its_work_is_not_done_again_elsewhere(
    client: RegistryClient, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    client.declare("c", spec("b"))
    first = {each.spec.name: each.spec for each in runner.beat().components}
    runner.beat(status_of(first["a"], state="stopped", exit=0), status_of(first["b"]))
    other = Runner(client, "c", "other").join()
    assert eventually(lambda: numbers(other.beat()) == {"b": [0]})
    other.run_all()
    assert client.cluster_status("c").ready
    client.restart("c", "a")
    assert numbers(other.beat()) == {"a": [0], "b": [0]}


def test_what_needs_a_label_stays_with_the_only_node_that_has_it(
    client: RegistryClient, other: Runner
) -> None:
    client.join("c", NodeJoin(name="gpu", labels={"gpu": "yes"}))
    client.declare("c", spec("a", labels={"gpu": "yes"}))
    assert eventually(lambda: any(n.overdue for n in client.nodes("c")), other)
    assert numbers(other.beat()) == {}
    why = client.cluster_status("c").missing[0].why
    assert why == "node gpu is lost"


def test_a_registry_that_is_started_again_gives_nodes_time_to_come_back(
    client: RegistryClient, registry: RegistryThread, runner: Runner
) -> None:
    client.declare("c", spec("a"))
    runner.run_all()
    assert eventually(lambda: client.nodes("c")[0].overdue)
    registry.stop()
    registry.start()
    other = Runner(client, "c", "other").join()
    assert numbers(other.beat()) == {}  # placed where it was
    assert numbers(runner.beat()) == {"a": [0]}
    assert client.cluster_status("c").ready


def test_a_node_that_is_removed_gives_up_all_at_once(
    client: RegistryClient, runner: Runner, other: Runner
) -> None:
    client.declare("c", spec("a", node="here"))
    runner.run_all()
    client.declare("c", spec("a"))
    client.leave("c", "here")
    assert numbers(other.beat()) == {"a": [0]}
    said = client.events("c")[0][-1]
    assert said.text == "a moves to node other, since node here is no node any more"
    with pytest.raises(Refused) as caught:
        runner.beat()
    assert caught.value.status == 410


def test_a_reset_moves_at_once_what_a_lost_node_had(
    client: RegistryClient, runner: Runner, other: Runner
) -> None:
    client.declare("c", spec("a", node="here"))
    client.declare("c", spec("b", node="other"))
    runner.run_all()
    other.run_all()
    client.declare("c", spec("a"))
    assert eventually(lambda: "node.lost" in kinds(client), other)
    client.cluster_reset("c")
    assert numbers(other.beat()) == {"a": [0], "b": [0]}
    assert kinds(client).count("component.moved") == 1


def test_what_is_to_run_elsewhere_begins_there_once_it_has_ended_here(
    client: RegistryClient, runner: Runner, other: Runner
) -> None:
    client.declare("c", spec("a", node="here"))
    old = runner.run_all().components[0].spec
    client.declare("c", spec("a", node="other"))
    assert numbers(runner.beat()) == {}
    assert numbers(other.beat()) == {}
    missing = client.cluster_status("c").missing[0].why
    assert missing == "moves from node here to node other, once it has ended there"
    runner.beat(status_of(old, state="stopping"))
    assert numbers(other.beat()) == {}
    runner.beat(status_of(old, state="stopped", exit=-15))
    answer = other.beat()
    assert numbers(answer) == {"a": [0]}
    assert answer.components[0].spec.generation == old.generation
    other.run_all()
    assert client.cluster_status("c").ready


def test_a_wish_that_what_runs_fits_leaves_it_alone(client: RegistryClient) -> None:
    labelled = NodeJoin(name="here", labels={"gpu": "yes"})
    runner = Runner(client, "c")
    runner.session, runner.generation = client.join("c", labelled).session, -1
    client.declare("c", spec("a"))
    before = runner.run_all().components[0].spec
    client.declare("c", spec("a", labels={"gpu": "yes"}, node="here"))
    after = runner.beat().components[0].spec
    assert (after.generation, after.labels) == (before.generation, {"gpu": "yes"})


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"labels": {"gpu": "yes"}}, "no node has the label gpu=yes"),
        ({"node": "hare"}, "there is no node hare (did you mean here?)"),
    ],
)
def test_what_no_node_suits_is_missing_and_says_why(
    client: RegistryClient, runner: Runner, wish: dict[str, object], why: str
) -> None:
    client.declare("c", spec("a", **wish))
    assert numbers(runner.beat()) == {}
    status = client.cluster_status("c")
    assert [(each.component, each.count, each.why) for each in status.missing] == [("a", 1, why)]
    assert status.components[0].reason == why


def test_nodes_share_by_their_cores(client: RegistryClient) -> None:
    for name, cores in (("small", 2), ("large", 6)):
        client.join("c", NodeJoin(name=name, cores=cores))
    client.declare("c", spec("w", role="worker", replicas=8))
    nodes = [event.node for event in client.events("c")[0] if event.kind == "component.moved"]
    assert nodes == []
    small = Runner(client, "c", "small")
    small.session, small.generation = client.join("c", NodeJoin(name="small", cores=2)).session, -1
    assert len(numbers(small.beat())["w"]) == 2


def test_each_node_is_lost_and_overdue_once() -> None:
    nodes = Nodes(move_after=30.0)
    nodes.expect("c", "n", now=0.0)
    assert nodes.overdue(now=100.0) == []
    nodes.lose("c", "n", now=100.0)
    assert nodes.overdue(now=129.0) == []
    assert nodes.overdue(now=130.0) == [("c", "n")]
    nodes.give_up("c", "n")
    assert nodes.overdue(now=1000.0) == []
    nodes.begin("c", "n", now=1000.0)
    assert nodes.back("c", "n")
    nodes.lose("c", "n", now=1001.0)
    nodes.expect("c", "n", now=1002.0)
    assert nodes.overdue(now=2000.0) == []
    nodes.expect_back("c", "n", now=2000.0)
    assert nodes.overdue(now=2030.0) == [("c", "n")]
