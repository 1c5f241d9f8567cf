"""Sets of message numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm.protocol.ranges import RangeSet

spans = st.tuples(st.integers(0, 60), st.integers(0, 15)).map(lambda p: (p[0], p[0] + p[1]))


@given(st.lists(spans))
def test_it_behaves_as_a_set(added: list[tuple[int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for start, stop in added:
        new = ranges.add(start, stop)
        numbers = [n for a, b in new for n in range(a, b)]
        assert numbers == sorted(set(range(start, stop)) - model)
        model |= set(range(start, stop))
        assert ranges.total == len(model)
    assert {n for n in range(80) if n in ranges} == model
    spelled = [n for a, b in ranges.ranges() for n in range(a, b)]
    assert spelled == sorted(model)
    for (_, stop), (start, _) in zip(ranges.ranges(), ranges.ranges()[1:], strict=False):
        assert stop < start


def test_what_comes_in_order_stays_one_range() -> None:
    ranges = RangeSet()
    for start in range(0, 10_000, 10):
        ranges.add(start, start + 10)
    assert ranges.ranges() == [(0, 10_000)]
