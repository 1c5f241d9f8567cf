"""The newest output in memory: what is there is all there is, and what is not is said to be not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from palm_registry.store.output import Segment
from palm_registry.tail import BLOCK, Tail


def segment(number: int, size: int) -> Segment:
    return Segment(id=number, component="a", replica=0, name="a", instance="a", stream="stdout",
                   offset=0, time=0.0, data=b"x" * size)  # fmt: skip


#: What is appended at once: steps from one id to the next, and sizes; ids of other clusters are
#: in between. A step of None: something was stored that the tail did not get.
BATCHES = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, BLOCK)), min_size=1, max_size=4)
    | st.none(),
    max_size=12,
)


@given(BATCHES, st.integers(1, 4), st.data())
def test_a_reader_gets_all_from_the_tail_or_is_sent_away(
    batches: list[list[tuple[int, int]] | None], blocks: int, data: st.DataObject
) -> None:
    tail = Tail(blocks * BLOCK)
    stored: list[int] = []
    last = 0
    for batch in batches:
        previous = last
        if batch is None:
            last += 1
            stored.append(last)
            continue
        segments = []
        for step, size in batch:
            last += step
            segments.append(segment(last, size))
        stored += [s.id for s in segments]
        tail.append(previous, segments)
        position = data.draw(st.integers(0, last))
        while (run := tail.after(position)) is not None:
            wanted = [number for number in stored if position < number <= run.last]
            assert [s.id for s in run.segments] == wanted
            assert run.more == any(number > run.last for number in stored)
            if not run.segments:
                break
            position = run.last
        if run is not None:
            assert position >= max(stored)


def test_the_newest_is_never_dropped_and_the_oldest_is() -> None:
    tail = Tail(2 * BLOCK)
    for number in range(1, 20):
        tail.append(number - 1, [segment(number, BLOCK)])
    assert tail.after(0) is None
    assert tail.after(18) is not None
    run = tail.after(17)
    assert run is not None
    assert [s.id for s in run.segments] == [18]
    assert run.more


def test_what_was_made_for_one_serves_the_others() -> None:
    tail = Tail(BLOCK)
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"frame"

    assert [tail.shared(("a", 1), make) for _ in range(3)] == [b"frame"] * 3
    assert len(made) == 1
    assert tail.shared(("b", 1), make) == b"frame"
    assert len(made) == 2


def test_memory_of_what_was_made_is_bounded() -> None:
    tail = Tail(BLOCK)
    for number in range(1000):
        tail.shared(number, lambda: b"frame")
    assert len(tail._made) < 100
