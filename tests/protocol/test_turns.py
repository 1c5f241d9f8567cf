"""Who may begin while others run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.turns import Turns


def test_who_must_run_alone_waits_for_those_that_run() -> None:
    turns: Turns[str] = Turns()
    assert turns.ask("a", alone=False) == ["a"]
    assert turns.ask("b", alone=True) == []
    assert turns.leave("a") == ["b"]


def test_nobody_begins_beside_one_that_runs_alone() -> None:
    turns: Turns[str] = Turns()
    assert turns.ask("a", alone=True) == ["a"]
    assert turns.ask("b", alone=False) == []
    assert turns.ask("c", alone=False) == []
    assert turns.leave("a") == ["b", "c"]


def test_who_came_later_does_not_overtake_one_that_waits_to_run_alone() -> None:
    turns: Turns[str] = Turns()
    turns.ask("a", alone=False)
    turns.ask("b", alone=True)
    assert turns.ask("c", alone=False) == []
    assert turns.leave("b") == ["c"]  # it does not want to any more


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=60))
def test_everybody_has_a_turn_and_who_runs_alone_is_alone(steps: list[tuple[int, bool]]) -> None:
    turns: Turns[int] = Turns()
    running: dict[int, bool] = {}
    waiting: dict[int, bool] = {}

    def begin(begun: list[int]) -> None:
        for who in begun:
            running[who] = waiting.pop(who)
        assert not any(running.values()) or len(running) == 1
        assert not waiting or running, "somebody waits for nobody"

    for who, alone in steps:
        if who in running or who in waiting:
            running.pop(who, None)
            waiting.pop(who, None)
            begin(turns.leave(who))
        else:
            waiting[who] = alone
            begin(turns.ask(who, alone=alone))
    while running:
        who = next(iter(running))
        del running[who]
        begin(turns.leave(who))
    assert not waiting
