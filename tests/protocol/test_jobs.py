"""What waits of a job: nothing of it is lost or doubled, however it is taken and put back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.protocol.jobs import ClientSession, Fate, JobState, Piece
from palm.wire.batch import Batch


def new_job() -> JobState:
    return JobState(ClientSession(b"session", "client", "foo"), b"job", "f")


def piece(first: int, n: int, **fields: Any) -> Piece:
    return Piece(first, Batch.pack([b"%d" % at for at in range(first, first + n)]), 0, **fields)


def numbers(piece: Piece) -> list[int]:
    """The messages of a piece by what they hold; it must be what its range says."""
    found = [int(payload) for payload in piece.batch.payloads()][piece.start :]
    assert found == list(range(piece.first, piece.first + piece.n))
    return found


class WaitingMessages(RuleBasedStateMachine):
    """Queue, suspects and leases, as a dispatcher uses them."""

    def __init__(self) -> None:
        super().__init__()
        self.job = new_job()
        self.next = 0
        self.taken: list[Piece] = []

    @rule(n=st.integers(1, 9))
    def submit(self, n: int) -> None:
        self.job.known.add(self.next, self.next + n)
        self.job.put(piece(self.next, n))
        self.next += n

    @rule(limit=st.integers(1, 12))
    def take(self, limit: int) -> None:
        taken = self.job.take(limit)
        if taken is not None:
            assert 1 <= taken.n <= limit
            assert not taken.alone
            self.taken.append(taken)

    @rule()
    def take_suspect(self) -> None:
        taken = self.job.take_suspect()
        if taken is not None:
            assert taken.n == 1 and taken.alone
            assert taken.first not in self.job.done
            self.taken.append(taken)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), alone=st.booleans())
    def put_back(self, data: st.DataObject, alone: bool) -> None:
        back = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.job.late = True
        pieces = [back.split(1) for _ in range(back.n)] if alone or back.alone else [back]
        for each in pieces:
            each.alone = alone or back.alone
            self.job.put_back(each)

    @precondition(lambda self: self.next)
    @rule(data=st.data())
    def take_alone(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, self.next - 1))
        stop = data.draw(st.integers(first, self.next))
        waiting = {piece.first for piece in self.job.suspects}
        wanted = {n for n in range(first, stop) if n not in self.job.done}
        pieces = self.job.take_alone(first, stop)
        assert sorted(piece.first for piece in pieces) == sorted(
            wanted if wanted <= waiting else ()
        )
        self.taken += pieces

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        done = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.job.done.add(done.first, done.first + done.n)

    @precondition(lambda self: self.next)
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, self.next - 1))
        self.job.done.add(first, data.draw(st.integers(first, self.next)))
        self.job.late = True

    @invariant()
    def each_open_message_is_in_one_place(self) -> None:
        job = self.job
        held = [n for each in (*job.queue, *job.suspects, *self.taken) for n in numbers(each)]
        assert len(held) == len(set(held))
        assert {n for n in range(self.next) if n not in job.done} <= set(held)
        assert job.queued == sum(each.n for each in job.queue)
        assert job.open == self.next - job.done.total
        assert job.waiting == bool(job.queue or job.suspects)


TestWaitingMessages = WaitingMessages.TestCase


@given(st.integers(1, 20), st.data())
def test_piece_is_split_without_a_message_lost(n: int, data: st.DataObject) -> None:
    fates = Fate(), Fate(died=True), Fate(died=False)
    whole, found = piece(100, n, attempts=2, fates=fates), []
    while whole.n:
        head = whole.split(data.draw(st.integers(1, whole.n)))
        assert (head.attempts, head.codec) == (2, 0)
        assert (head.deaths, head.doubts, head.fates) == (1, 1, fates)
        found += numbers(head)
    assert found == list(range(100, 100 + n))


def test_messages_are_taken_in_their_order_and_returned_ones_first() -> None:
    job = new_job()
    job.put(piece(0, 4)), job.put(piece(4, 4))
    first, second = job.take(3), job.take(3)
    assert first is not None and second is not None
    assert (numbers(first), numbers(second)) == ([0, 1, 2], [3])
    job.put_back(first)
    again = job.take(10)
    assert again is not None and numbers(again) == [0, 1, 2]


def test_job_is_finished_when_it_is_closed_and_all_is_answered_and_acknowledged() -> None:
    job = new_job()
    assert not job.finished
    job.known.add(0, 2)
    job.closed = True
    assert not job.finished
    job.done.add(0, 2)
    job.unacked = 1
    assert not job.finished
    job.unacked = 0
    assert job.finished
