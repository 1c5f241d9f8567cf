"""How a job is shared over masters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import PalmError
from palm.protocol.shares import Shares

#: Messages that a client has under way at most.
WINDOW = 2000


class Masters:
    """Masters that do so many messages a second each, and a client that keeps them at work."""

    def __init__(self, *rates: float, delay: float = 0.001) -> None:
        self.rates, self.delay = list(rates), delay
        self.shares = Shares(len(rates))
        self.done = [0] * len(rates)
        self.idle = [0.0] * len(rates)
        self._credit = [0.0] * len(rates)
        self.sent = 0

    def run(self, messages: int, step: float = 0.001) -> float:
        """Return the seconds after which all have their outcomes."""
        now = 0.0
        while sum(self.done) < messages:
            window = min(WINDOW, 64 + 8 * sum(self.done))  # as that of a job
            room = min(window - self.sent + sum(self.done), messages - self.sent)
            if room >= min(window // 10, messages - self.sent) > 0:
                self.shares.submit(self.sent, room, now)
                self.sent += room
            now += step
            for master, rate in enumerate(self.rates):
                self._work(master, rate * step, now)
            assert now < 600, "somebody never gets an end"
        return now

    def _work(self, master: int, could: float, now: float) -> None:
        open_ = self.shares.count(master) - self.done[master]
        self._credit[master] = min(self._credit[master] + could, open_)
        self.idle[master] += not open_
        if n := int(self._credit[master]):
            self._credit[master] -= n
            self.done[master] += n
            self.shares.answer(master, n, now)


def test_masters_that_have_shown_nothing_get_about_the_same() -> None:
    shares = Shares(2)
    shares.submit(0, 128, 0.0)
    assert [shares.count(0), shares.count(1)] == [64, 64]


@pytest.mark.parametrize("rates", [(1000.0, 1000.0), (4000.0, 1000.0), (100.0, 10_000.0)])
def test_masters_are_done_at_about_the_same_time(rates: tuple[float, float]) -> None:
    masters = Masters(*rates)
    messages = int(5 * sum(rates))
    assert masters.run(messages) < 5 * 1.3


def test_what_comes_all_at_once_is_divided_by_what_each_master_does() -> None:
    masters = Masters(1000.0, 3000.0)
    now = masters.run(8000)
    parts = masters.shares.submit(8000, 8000, now)
    had = [sum(part.n for part in parts if part.master == master) for master in (0, 1)]
    assert sum(had) == 8000
    assert had[0] / 1000 == pytest.approx(had[1] / 3000, rel=0.25)


def test_few_messages_stay_together() -> None:
    masters = Masters(100_000.0, 90_000.0)
    now = masters.run(100_000)
    masters.shares.submit(100_000, 30_000, now)  # both have enough to do
    assert len(masters.shares.submit(130_000, 1000, now)) == 1


def test_a_master_that_was_slow_at_first_is_not_slow_for_ever() -> None:
    masters = Masters(10.0, 1000.0)
    masters.run(1000)
    masters.rates[0] = 1000.0
    before = masters.done[0]
    masters.run(11_000)
    assert masters.done[0] - before > 3000


def test_a_master_that_does_not_answer_any_more_gets_nothing_any_more() -> None:
    shares = Shares(2)
    now = 0.0
    for at in range(40):
        for part in shares.submit(at, 1, now):
            shares.answer(part.master, 1, now + 0.01)
        now += 0.02
    shares.submit(40, 400, now)
    had = shares.count(1)
    for at in range(440, 840):
        shares.submit(at, 1, now)
        now += 0.02
        shares.answer(0, 1, now)
    assert shares.count(1) - had < 40


def test_messages_that_were_not_submitted_have_no_place() -> None:
    shares = Shares(1)
    shares.submit(0, 4, 0.0)
    with pytest.raises(PalmError):
        shares.places(0, 2, 3)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1)), min_size=1, max_size=8),
    st.data(),
)
def test_every_message_has_one_place_whatever_is_answered_at_once(
    masters: int, batches: list[tuple[int, float]], data: st.DataObject
) -> None:
    shares = Shares(masters)
    first, now, done = 0, 0.0, [0] * masters
    for size, seconds in batches:
        parts = shares.submit(first, size, now)
        assert [part.start for part in parts] == [
            sum(part.n for part in parts[:at]) for at in range(len(parts))
        ]
        assert sum(part.n for part in parts) == size
        first, now = first + size, now + seconds
        master = data.draw(st.integers(0, masters - 1))
        if n := data.draw(st.integers(0, shares.count(master) - done[master])):
            shares.answer(master, n, now)
            done[master] += n
    found: list[int] = []
    for master in range(masters):
        at, count = 0, shares.count(master)
        while at < count:
            n = data.draw(st.integers(1, count - at))
            for _, ours, size in shares.places(master, at, n):
                found += range(ours, ours + size)
            at += n
    assert sorted(found) == list(range(first))
