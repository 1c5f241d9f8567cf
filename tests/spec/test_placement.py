"""Which node each replica runs on: rules that hold for all demands and nodes, and the words."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.spec.placement import Demand, Host, plan, why_not

NAMES = [f"n{number}" for number in range(5)]
LABELS = st.dictionaries(st.sampled_from(["gpu", "disk"]), st.sampled_from(["yes", "no"]))
HOSTS = st.lists(
    st.builds(
        Host,
        st.sampled_from(NAMES),
        st.integers(0, 16),
        LABELS,
        st.sampled_from(["alive", "alive", "away", "lost"]),
        st.integers(0, 4),
        st.booleans(),
    ),
    unique_by=lambda host: host.name,
)
DEMANDS = st.lists(
    st.builds(
        Demand,
        st.sampled_from("abcd"),
        st.integers(0, 6),
        LABELS,
        st.sampled_from(["", "", "n1", "n9"]),
    ),
    unique_by=lambda demand: demand.component,
)
PLACED = st.dictionaries(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), st.sampled_from([*NAMES, "gone"])
)
Placed = dict[tuple[str, int], str]


def replicas(demands: list[Demand]) -> set[tuple[str, int]]:
    return {(each.component, number) for each in demands for number in range(each.replicas)}


@given(DEMANDS, HOSTS, PLACED)
def test_each_replica_has_a_node_or_a_reason(
    demands: list[Demand], hosts: list[Host], placed: Placed
) -> None:
    """Defects 29 and 31: 3 for 2 on 4 cores, none on 8."""
    found = plan(demands, hosts, placed)
    assert found.nodes.keys() | found.unplaced.keys() == replicas(demands)
    assert not found.nodes.keys() & found.unplaced.keys()
    assert all(found.unplaced.values())
    known = {host.name: host for host in hosts}
    for (component, number), name in found.nodes.items():
        demand = next(each for each in demands if each.component == component)
        stays = placed.get((component, number)) == name
        host = known[name]
        assert (host.state == "alive" and demand.suits(host)) or (stays and host.state != "alive")
    load = Counter(found.nodes.values())
    for component, _ in found.unplaced:
        demand = next(each for each in demands if each.component == component)
        suitable = [host for host in hosts if host.state == "alive" and demand.suits(host)]
        assert all(host.places and load[host.name] >= host.places for host in suitable)


@given(DEMANDS, HOSTS, PLACED)
def test_a_node_gets_nothing_beyond_its_places(
    demands: list[Demand], hosts: list[Host], placed: Placed
) -> None:
    found = plan(demands, hosts, placed)
    stayed = Counter(node for replica, node in found.nodes.items() if placed.get(replica) == node)
    for host in hosts:
        after = Counter(found.nodes.values())[host.name]
        assert not host.places or after <= host.places or after == stayed[host.name]


def test_who_finds_no_place_waits_until_there_is_one() -> None:
    hosts = [Host("n1", places=1), Host("n2", places=2)]
    found = plan([Demand("a", 4)], hosts)
    assert found.unplaced == {("a", 3): "waits for a place: the 2 nodes for it have 3, all taken"}
    more = plan([Demand("a", 4)], [*hosts, Host("n3", places=8)], found.nodes)
    assert more.nodes == found.nodes | {("a", 3): "n3"}
    fewer = plan([Demand("a", 2)], hosts, found.nodes)
    assert not fewer.unplaced
    assert plan([Demand("b")], [Host("n1", places=1)], {}).nodes == {("b", 0): "n1"}


def test_a_node_by_label_takes_only_what_asks_for_it() -> None:
    dask = Host("n1", 64, {"engine": "dask"}, by_label=True)
    asks = [Demand("a", 1, {"engine": "dask"}), Demand("b", 1, node="n1")]
    assert plan(asks, [dask, Host("n2")]).nodes == {("a", 0): "n1", ("b", 0): "n1"}
    assert plan([Demand("c")], [dask, Host("n2")]).nodes == {("c", 0): "n2"}
    why = "the nodes that are there take only what asks for them by a label"
    assert plan([Demand("c")], [dask]).unplaced == {("c", 0): why}


def test_what_finds_no_place_stays_with_a_node_that_is_lost() -> None:
    placed = {("a", 0): "n1", ("b", 0): "n2"}
    hosts = [Host("n1", state="lost"), Host("n2", places=1)]
    assert plan([Demand("a"), Demand("b")], hosts, placed).nodes == placed


def test_what_has_done_its_work_takes_no_place() -> None:
    hosts, placed = [Host("n1", places=1)], {("a", 0): "n1", ("c", 0): "gone"}
    found = plan([Demand("a", done=frozenset({0})), Demand("b")], hosts, placed)
    assert found.nodes == {("a", 0): "n1", ("b", 0): "n1"}
    assert plan([Demand("c", done=frozenset({0}))], hosts, placed).nodes == {("c", 0): "gone"}


@given(DEMANDS, HOSTS, PLACED)
def test_asking_twice_changes_nothing(
    demands: list[Demand], hosts: list[Host], placed: Placed
) -> None:
    once = plan(demands, hosts, placed)
    assert plan(demands, hosts, once.nodes) == once
    assert plan(demands, hosts, placed) == once


@given(st.integers(1, 30), HOSTS)
def test_each_replica_goes_where_least_is_to_do(replicas: int, hosts: list[Host]) -> None:
    found = plan([Demand("a", replicas)], hosts).nodes
    takes = [host for host in hosts if host.state == "alive" and not host.by_label]
    takes.sort(key=lambda host: host.name)
    load: Counter[str] = Counter()
    for number in range(replicas):
        free = [host for host in takes if host.has_place(load[host.name])]
        if not free:
            break
        least = min(free, key=lambda h: ((load[h.name] + 1) / max(1, h.cores), load[h.name]))
        load[least.name] += 1
        assert found["a", number] == least.name


@given(DEMANDS, HOSTS, PLACED, st.randoms())
def test_order_of_components_and_nodes_does_not_matter(
    demands: list[Demand], hosts: list[Host], placed: Placed, chance: random.Random
) -> None:
    once = plan(demands, hosts, placed)
    chance.shuffle(demands)
    chance.shuffle(hosts)
    items = list(placed.items())
    chance.shuffle(items)
    assert plan(demands, hosts, dict(items)) == once


@given(DEMANDS, HOSTS, PLACED, st.builds(Host, st.just("new"), st.integers(1, 64), LABELS))
def test_a_node_that_joins_moves_nothing_that_is_well_placed(
    demands: list[Demand], hosts: list[Host], placed: Placed, new: Host
) -> None:
    before = plan(demands, hosts, placed).nodes
    state = {host.name: host.state for host in hosts}
    after = plan(demands, [*hosts, new], before).nodes
    for replica, node in before.items():
        assert after[replica] == node or (state[node] == "lost" and after[replica] == "new")


@given(DEMANDS, HOSTS, PLACED)
def test_a_node_that_is_lost_moves_only_what_it_had(
    demands: list[Demand], hosts: list[Host], placed: Placed
) -> None:
    before = plan(demands, hosts, placed).nodes
    for gone in [host for host in hosts if host.state == "alive"]:
        left = [replace(host, state="lost") if host == gone else host for host in hosts]
        after = plan(demands, left, before).nodes
        assert {r for r in before if after[r] != before[r]} <= {
            r for r, node in before.items() if node == gone.name
        }


@given(st.lists(st.integers(0, 9), max_size=4), st.integers(1, 5))
def test_equal_nodes_have_equally_much_to_do(counts: list[int], nodes: int) -> None:
    demands = [Demand(f"c{number}", count) for number, count in enumerate(counts)]
    hosts = [Host(name, 4) for name in NAMES[:nodes]]
    placed = plan(demands, hosts).nodes
    loads = [Counter(placed.values())[host.name] for host in hosts]
    assert max(loads) - min(loads) <= 1


@given(st.integers(0, 40), st.lists(st.integers(1, 8), min_size=1, max_size=5))
def test_nodes_have_as_much_to_do_as_they_have_cores(count: int, cores: list[int]) -> None:
    hosts = [Host(name, number) for name, number in zip(NAMES, cores, strict=False)]
    loads = Counter(plan([Demand("w", count)], hosts).nodes.values())
    for one in hosts:
        for other in hosts:
            assert loads[one.name] / one.cores <= (loads[other.name] + 1) / other.cores


def test_replicas_of_one_component_are_spread_among_equals() -> None:
    placed = plan([Demand("a"), Demand("b", 2), Demand("c", 3)], [Host("n1"), Host("n2")]).nodes
    assert Counter(placed[r] for r in placed if r[0] == "b") == {"n1": 1, "n2": 1}


def test_who_has_the_least_choice_chooses_first() -> None:
    hosts = [Host("n1", labels={"gpu": "yes"}), Host("n2")]
    placed = plan([Demand("a", 1), Demand("z", 1, {"gpu": "yes"})], hosts).nodes
    assert placed == {("z", 0): "n1", ("a", 0): "n2"}


def test_what_its_node_suits_no_more_moves_and_nothing_else() -> None:
    hosts = [Host("n1"), Host("n2", labels={"gpu": "yes"})]
    placed = {("a", 0): "n1", ("b", 0): "n1"}
    found = plan([Demand("a", 1, {"gpu": "yes"}), Demand("b")], hosts, placed)
    assert found.nodes == {("a", 0): "n2", ("b", 0): "n1"}


def test_a_node_that_is_away_keeps_what_it_has_and_gets_nothing_new() -> None:
    hosts = [Host("n1", 64, state="away"), Host("n2")]
    found = plan([Demand("a", 3)], hosts, {("a", 0): "n1"})
    assert found.nodes == {("a", 0): "n1", ("a", 1): "n2", ("a", 2): "n2"}


def test_one_machine_that_is_lost_keeps_all() -> None:
    found = plan([Demand("a", 2)], [Host("n1", state="lost")], {("a", 0): "n1", ("a", 1): "n1"})
    assert set(found.nodes.values()) == {"n1"}


GPU = Demand("a", 1, {"gpu": "yes"})


@pytest.mark.parametrize(
    ("demand", "hosts", "why"),
    [
        (Demand("a"), [], "no node is there to run it"),
        (Demand("a"), [Host("n1", state="away")], "no node is there to run it"),
        (GPU, [Host("n1")], "no node has the label gpu=yes"),
        (
            GPU,
            [Host("n1", labels={"gpus": "yes"})],
            "no node has the label gpu=yes (did you mean the label gpus?)",
        ),
        (
            GPU,
            [Host("n1", labels={"gpu": "yess"})],
            "no node has the label gpu=yes (did you mean gpu=yess?)",
        ),
        (
            GPU,
            [Host("n1", labels={"gpu": "no"}), Host("n2")],
            "no node has the label gpu=yes (there is gpu=no)",
        ),
        (
            Demand("a", 1, {"gpu": "yes", "disk": "ssd"}),
            [Host("n1", labels={"gpu": "yes"}), Host("n2", labels={"disk": "ssd"})],
            "no node has all of disk=ssd, gpu=yes: n1 lacks disk=ssd",
        ),
        (
            GPU,
            [Host("n1"), Host("n2", labels={"gpu": "yes"}, state="lost")],
            "the only node for it, n2, is lost",
        ),
        (
            Demand("a", node="north1"),
            [Host("north-1"), Host("n2")],
            "there is no node north1 (did you mean north-1?)",
        ),
        (Demand("a", node="x"), [Host("n1")], "there is no node x"),
        (
            Demand("a", 1, {"gpu": "yes"}, node="n1"),
            [Host("n1")],
            "it is for node n1, which has not the label gpu=yes",
        ),
        (GPU, [Host("n1", labels={"gpu": "yes"})], ""),
    ],
)
def test_why_nothing_is_placed_is_said(demand: Demand, hosts: list[Host], why: str) -> None:
    assert why_not(demand, hosts) == why
    assert set(plan([demand], hosts).unplaced.values()) == ({why} if why else set())
