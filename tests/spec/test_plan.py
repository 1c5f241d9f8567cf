"""How a node gets to what it is to run."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from palm.spec.plan import Present, Step, Wanted, steps
from palm.spec.process import OVER

NAMES = st.sampled_from(["a", "b", "c"])
WANTED = st.dictionaries(
    NAMES, st.builds(Wanted, st.just("x"), st.just(0), st.integers(1, 3)), max_size=3
)
PRESENT = st.dictionaries(
    NAMES,
    st.builds(
        Present,
        st.just("x"),
        st.integers(1, 3),
        st.sampled_from(["starting", "ready", "backing-off", "stopping", "stopped", "failed"]),
        st.booleans(),
        st.just(5.0),
    ),
    max_size=3,
)


def follow(present: dict[str, Present], wanted: dict[str, Wanted], step: Step) -> None:
    """Do a step, and let a process that is told to stop be gone."""
    if step.action == "start":
        assert step.name not in present or present[step.name].state in OVER
        present[step.name] = Present("x", wanted[step.name].generation, "ready")
    elif step.action == "forget":
        assert present.pop(step.name).state in OVER
    else:
        present[step.name] = replace(present[step.name], state="stopped", asked=True, grace=5.0)


@given(WANTED, PRESENT)
def test_node_gets_to_what_is_wanted_and_stays_there(
    wanted: dict[str, Wanted], present: dict[str, Present]
) -> None:
    gave_up = {
        name
        for name, process in present.items()
        if name in wanted
        and process.state in OVER
        and not process.asked
        and process.generation == wanted[name].generation
    }
    for _ in range(3):
        for name, process in present.items():
            if process.state == "stopping":  # told to stop before: it has by now
                asked = process.asked or name not in wanted
                present[name] = replace(process, state="stopped", asked=asked)
        for step in steps(wanted, present):
            follow(present, wanted, step)
    assert present.keys() == wanted.keys()
    assert all(present[name].generation == wanted[name].generation for name in wanted)
    assert steps(wanted, present) == []
    assert {name for name in gave_up if present[name].state in OVER} == gave_up


def test_nothing_is_done_where_all_is_well() -> None:
    wanted = {"a": Wanted("x", 0, 1)}
    assert steps(wanted, {"a": Present("x", 1, "ready")}) == []
    assert steps(wanted, {"a": Present("x", 1, "backing-off")}) == []


def test_another_generation_waits_for_the_end_of_the_one_before() -> None:
    wanted = {"a": Wanted("x", 0, 2)}
    assert steps(wanted, {"a": Present("x", 1, "ready")}) == [Step("stop", "a")]
    assert steps(wanted, {"a": Present("x", 1, "stopping", asked=True)}) == []
    assert steps(wanted, {"a": Present("x", 1, "stopped", asked=True)}) == [Step("start", "a")]


def test_what_ended_by_itself_is_not_started_again() -> None:
    wanted = {"a": Wanted("x", 0, 1)}
    assert steps(wanted, {"a": Present("x", 1, "stopped")}) == []
    assert steps(wanted, {"a": Present("x", 1, "failed")}) == []
    assert steps({}, {"a": Present("x", 1, "failed")}) == [Step("forget", "a")]


def test_stop_that_is_wanted_sooner_is_told_again() -> None:
    stopping = {"a": Present("x", 1, "stopping", asked=True, grace=30.0)}
    assert steps({}, stopping, {"x": 30.0}) == []
    assert steps({}, stopping, {"x": 0.0}) == [Step("stop", "a", 0.0)]
