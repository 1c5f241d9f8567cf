"""Of each partition one batch is out at a time, in order, whatever comes back."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palm.protocol.jobs import Piece
from palm.protocol.partitions import Partitions
from palm.wire.batch import Batch


class PartitionsUnderTest(RuleBasedStateMachine):
    """Pieces are taken, end, come back, or hold their partition up."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions = Partitions()
        self.next = 0
        self.waiting: dict[int, int] = {}
        self.out: list[Piece] = []
        self.held: list[int] = []
        self.done: set[int] = set()

    @rule(partition=st.integers(0, 2), n=st.integers(1, 4), alone=st.booleans())
    def put(self, partition: int, n: int, alone: bool) -> None:
        n = 1 if alone else n
        batch = Batch.pack([b"%d" % (self.next + at) for at in range(n)])
        self.partitions.put(Piece(self.next, batch, 0, alone=alone, partition=partition))
        self.waiting.update(dict.fromkeys(range(self.next, self.next + n), partition))
        self.next += n

    @precondition(lambda self: bool(self.partitions))
    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        alone = self.partitions.next_is_alone
        piece = self.partitions.take(limit)
        assert 1 <= piece.n <= limit and piece.start == 0
        assert piece.alone == alone
        assert [bytes(p) for p in piece.batch.payloads()] == [
            b"%d" % number for number in range(piece.first, piece.first + piece.n)
        ]
        busy = {other.partition for other in self.out} | set(self.held)
        assert piece.partition not in busy
        earliest = min(n for n, partition in self.waiting.items() if partition == piece.partition)
        assert piece.first == earliest, "in order"
        for number in range(piece.first, piece.first + piece.n):
            del self.waiting[number]
        self.out.append(piece)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        piece = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.partitions.release(piece.partition)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        piece = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.partitions.release(piece.partition)
        self.waiting.update(
            dict.fromkeys(range(piece.first, piece.first + piece.n), piece.partition)
        )
        self.partitions.put(piece)

    @rule(partition=st.integers(0, 2))
    def hold(self, partition: int) -> None:
        self.held.append(partition)
        self.partitions.hold(partition)

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self) -> None:
        self.partitions.release(self.held.pop())

    @precondition(lambda self: self.partitions.pieces)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        piece = data.draw(st.sampled_from(self.partitions.pieces))
        for number in range(piece.first, piece.first + piece.n):
            del self.waiting[number]
        self.partitions.remove(piece)

    @invariant()
    def gives_what_is_free(self) -> None:
        busy = {piece.partition for piece in self.out} | set(self.held)
        assert bool(self.partitions) == bool(set(self.waiting.values()) - busy)
        held = [n for p in self.partitions.pieces for n in range(p.first, p.first + p.n)]
        assert sorted(held) == sorted(self.waiting)


TestPartitions = PartitionsUnderTest.TestCase
