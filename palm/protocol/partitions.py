"""What waits of a job with keys: of each partition one batch is out at a time, in order."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palm.protocol.jobs import Piece

__all__ = ["Partitions"]


class Partitions:
    """Pieces by partition; a partition with something out, or held back, gives nothing."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Piece]] = {}
        self._out: Counter[int] = Counter()
        #: Partitions that have something to give, in turn.
        self._ready: deque[int] = deque()

    def __bool__(self) -> bool:
        return bool(self._ready)

    @property
    def pieces(self) -> list[Piece]:
        """All that waits."""
        return [piece for line in self._lines.values() for piece in line]

    @property
    def next_is_alone(self) -> bool:
        """Whether what comes next must run alone."""
        return bool(self._ready) and self._lines[self._ready[0]][0].alone

    def put(self, piece: Piece) -> None:
        """Queue messages in their order, whether they come for the first time or again."""
        line = self._lines.setdefault(piece.partition, deque())
        if not line and not self._out[piece.partition]:
            self._ready.append(piece.partition)
        if not line or line[-1].first < piece.first:
            line.append(piece)
            return
        at = next(at for at, other in enumerate(line) if piece.first < other.first)
        line.insert(at, piece)

    def take(self, limit: int) -> Piece:
        """Take up to ``limit`` messages off the partition whose turn it is."""
        partition = self._ready.popleft()
        line = self._lines[partition]
        piece = line[0]
        if piece.n > limit:
            piece = piece.split(limit)
        else:
            line.popleft()
            if piece.start:
                piece = piece.split(piece.n)
            if not line:
                del self._lines[partition]
        self._out[partition] += 1
        return piece

    def remove(self, piece: Piece) -> None:
        """Take messages out that are not out."""
        line = self._lines[piece.partition]
        line.remove(piece)
        if not line:
            del self._lines[piece.partition]
            if piece.partition in self._ready:
                self._ready.remove(piece.partition)

    def is_out(self, partition: int) -> bool:
        """Whether a partition gives nothing, since something of it is out or held back."""
        return self._out[partition] > 0

    def hold(self, partition: int) -> None:
        """Let a partition give nothing before `release` was called as often."""
        self._out[partition] += 1
        if partition in self._ready:
            self._ready.remove(partition)

    def release(self, partition: int) -> None:
        """Note that what was out of a partition is not any more."""
        self._out[partition] -= 1
        if self._out[partition] <= 0:
            del self._out[partition]
            if partition in self._lines and partition not in self._ready:
                self._ready.append(partition)
