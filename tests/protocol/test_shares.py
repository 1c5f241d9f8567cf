"""How a job is shared over masters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palm.errors import PalmError
from palm.protocol.shares import Shares


def test_masters_that_have_not_answered_yet_get_the_same() -> None:
    shares = Shares(3)
    chosen = [shares.submit(10 * at, 10, 0.0)[0] for at in range(6)]
    assert sorted(chosen) == [0, 0, 1, 1, 2, 2]


def test_a_master_that_is_four_times_as_quick_gets_about_four_times_as_much() -> None:
    shares = Shares(2)
    done, rates, now = [0.0, 0.0], [400.0, 100.0], 0.0
    for at in range(400):
        shares.submit(10 * at, 10, now)
        now += 0.02  # together they do 10 in that time
        for master, rate in enumerate(rates):
            had = shares.count(master)
            before, done[master] = done[master], min(had, done[master] + 0.02 * rate)
            shares.answer(master, int(done[master]) - int(before), now)
    assert 3.0 < shares.count(0) / shares.count(1) < 5.0


def test_a_master_that_does_not_answer_any_more_gets_nothing_any_more() -> None:
    shares = Shares(2)
    now, given_ = 0.0, [0, 0]
    for at in range(200):
        chosen, _ = shares.submit(at, 1, now)
        now += 0.1
        if chosen == 0 or at < 20:
            shares.answer(chosen, 1, now)
        given_[chosen] += at >= 100
    assert given_[0] == 100 and given_[1] == 0


def test_messages_that_were_not_submitted_have_no_place() -> None:
    shares = Shares(1)
    shares.submit(0, 4, 0.0)
    with pytest.raises(PalmError):
        shares.places(0, 2, 3)


@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=1, max_size=40), st.data())
def test_every_message_has_one_place_whatever_is_answered_at_once(
    masters: int, sizes: list[int], data: st.DataObject
) -> None:
    shares = Shares(masters)
    first = 0
    for size in sizes:
        shares.submit(first, size, 0.0)
        first += size
    found: list[int] = []
    for master in range(masters):
        at, count = 0, shares.count(master)
        while at < count:
            n = data.draw(st.integers(1, count - at))
            places = shares.places(master, at, n)
            assert [offset for offset, _, _ in places] == [
                sum(size for _, _, size in places[:i]) for i in range(len(places))
            ]
            found += [ours + i for _, ours, size in places for i in range(size)]
            at += n
    assert sorted(found) == list(range(first))
