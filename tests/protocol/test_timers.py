"""Timers: what is due when, without a clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.timers import Timers


def test_calls_come_in_the_order_of_their_times_and_then_of_their_making() -> None:
    timers, calls = Timers(), []
    for name, when in [("c", 2.0), ("a", 1.0), ("b", 1.0), ("late", 9.0)]:
        timers.at(when, lambda name, now: calls.append((name, now)), name)
    assert timers.next_deadline == 1.0
    timers.run(3.0)
    assert calls == [("a", 3.0), ("b", 3.0), ("c", 3.0)]
    assert timers.next_deadline == 9.0


def test_cancelled_timers_are_neither_called_nor_waited_for() -> None:
    timers, calls = Timers(), []
    first, second = timers.at(1.0, calls.append), timers.at(2.0, calls.append)
    first.cancel()
    first.cancel()
    assert timers.next_deadline == 2.0
    timers.run(5.0)
    second.cancel()
    assert calls == [5.0]
    assert timers.next_deadline is None


def test_timer_that_ran_holds_nothing() -> None:
    timers = Timers()
    timer = timers.at(1.0, lambda what, now: None, object())
    timers.run(1.0)
    assert timer.call is None and timer.args == ()


def test_call_may_set_a_timer_for_now() -> None:
    timers, calls = Timers(), []
    timers.at(1.0, lambda now: timers.at(now, calls.append) and None)
    timers.run(1.0)
    assert calls == [1.0]


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans())), st.floats(0, 10))
def test_what_is_due_runs_and_the_rest_waits(wanted: list[tuple[float, bool]], now: float) -> None:
    timers, calls = Timers(), []
    for when, cancel in wanted:
        timer = timers.at(when, lambda when, now: calls.append(when), when)
        if cancel:
            timer.cancel()
    timers.run(now)
    alive = sorted(when for when, cancel in wanted if not cancel)
    assert calls == [when for when in alive if when <= now]
    assert timers.next_deadline == next((when for when in alive if when > now), None)
