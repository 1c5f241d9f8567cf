"""Components end in the reverse order of their needs, and workers before masters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.spec.component import ROLES
from palm.spec.order import Dependent, first_to_leave, stop_waves
from palm.spec.plan import Present, Step, Wanted, steps
from palm.spec.process import OVER

NAMES = [f"c{number}" for number in range(6)]


@st.composite
def clusters(draw: st.DrawFn, *, rings: bool = False) -> dict[str, Dependent]:
    found = {}
    for number, name in enumerate(NAMES[: draw(st.integers(1, 6))]):
        others = NAMES if rings else NAMES[:number]
        needs = draw(st.lists(st.sampled_from(others), unique=True)) if others else []
        found[name] = Dependent(draw(st.sampled_from(ROLES)), needs)
    return found


def test_who_needs_another_ends_before_it() -> None:
    cluster = {
        "db": Dependent("process"),
        "api": Dependent("process", ["db"]),
        "page": Dependent("process", ["api"]),
    }
    assert stop_waves(cluster) == [["page"], ["api"], ["db"]]


def test_workers_end_before_their_masters() -> None:
    cluster = {"m": Dependent("master"), "w": Dependent("worker"), "x": Dependent("process")}
    assert stop_waves(cluster) == [["w", "x"], ["m"]]


def test_need_beats_the_role() -> None:
    cluster = {"m": Dependent("master", ["db"]), "db": Dependent("process")}
    assert stop_waves(cluster) == [["m"], ["db"]]


def test_need_through_one_that_is_gone_counts_as_long_as_it_is_known() -> None:
    cluster = {"a": Dependent("", ["b"]), "b": Dependent("", ["c"]), "c": Dependent()}
    assert first_to_leave(cluster, ["a", "c"]) == {"a"}


@given(clusters())
def test_everything_ends_once_and_after_all_that_need_it(cluster: dict[str, Dependent]) -> None:
    waves = stop_waves(cluster)
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    assert sorted(place) == sorted(cluster)
    assert sum(map(len, waves)) == len(cluster)
    for name, each in cluster.items():
        assert all(place[name] < place[need] for need in each.needs)


@given(clusters(rings=True))
def test_ring_holds_nothing_up_for_ever(cluster: dict[str, Dependent]) -> None:
    assert sorted(name for wave in stop_waves(cluster) for name in wave) == sorted(cluster)


@given(clusters(rings=True), st.data())
def test_node_ends_all_in_that_order(cluster: dict[str, Dependent], data: st.DataObject) -> None:
    present = {
        name: Present(name, 1, "ready", role=each.role, needs=tuple(each.needs))
        for name, each in cluster.items()
    }
    stays = data.draw(st.sets(st.sampled_from(sorted(cluster))))
    wanted = {name: Wanted(name, 0, 1) for name in stays}
    order: list[str] = []
    while found := steps(wanted, present):
        assert {step.action for step in found} <= {"stop", "forget"}
        step = data.draw(st.sampled_from(found))
        if step.action == "stop":
            order.append(step.name)
            present[step.name] = Present(step.name, 1, "stopped", asked=True)
        else:
            assert present.pop(step.name).state in OVER
    assert sorted(order) == sorted(cluster.keys() - stays)
    leaving = {name: each for name, each in cluster.items() if name not in stays}
    free = first_to_leave(leaving, leaving) if leaving else set()
    assert not order or order[0] in free


def test_replacement_waits_for_nobody() -> None:
    present = {"a": Present("a", 1, "ready"), "b": Present("b", 1, "ready", needs=("a",))}
    wanted = {"a": Wanted("a", 0, 2), "b": Wanted("b", 0, 2)}
    assert steps(wanted, present) == [Step("stop", "a"), Step("stop", "b")]
