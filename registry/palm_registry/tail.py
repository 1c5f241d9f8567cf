"""The newest output of a cluster, kept in memory while somebody follows it. No I/O.

Those who follow a cluster mostly want the same: what has just been stored. They get it from here,
and what was made of it for one serves the others. Whoever is behind what is kept reads from the
database, and is here again once it has caught up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from palm_registry.store.output import Segment

__all__ = ["BLOCK", "Run", "Tail"]

#: Bytes of output after which a block is full. Readers go from block to block, so that those who
#: are in step get the very same.
BLOCK = 256 * 1024
#: What was made of blocks, kept for others: so many.
_MADE = 32


@dataclass(slots=True)
class _Block:
    """Segments after ``floor``, up to ``last``."""

    floor: int
    last: int
    size: int = 0
    segments: list[Segment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """What follows a place: segments, up to ``last``; ``more`` if there is more yet."""

    segments: Sequence[Segment]
    last: int
    more: bool


class Tail:
    """The last ``limit`` bytes of a cluster's output, about."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._blocks: deque[_Block] = deque()
        self._size = 0
        self._made: OrderedDict[Hashable, bytes | None] = OrderedDict()

    def append(self, previous: int, segments: Sequence[Segment]) -> None:
        """Take what was stored after the id `previous`, which was the last until then."""
        if not segments:
            return
        if not self._blocks or self._blocks[-1].last != previous:
            # Something came by another way: what is here is not all any more.
            self.clear()
            self._blocks.append(_Block(previous, previous))
        for segment in segments:
            self._add(segment)
        while self._size > self.limit and len(self._blocks) > 1:
            self._size -= self._blocks.popleft().size

    def _add(self, segment: Segment) -> None:
        block = self._blocks[-1]
        if block.size >= BLOCK:
            block = _Block(block.last, block.last)
            self._blocks.append(block)
        block.segments.append(segment)
        block.last = segment.id
        block.size += len(segment.data)
        self._size += len(segment.data)

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()
        self._made.clear()
        self._size = 0

    def after(self, position: int) -> Run | None:
        """Return what follows an id, to the end of a block; None if that is not all here."""
        if not self._blocks or position < self._blocks[0].floor:
            return None
        newest = self._blocks[-1]
        if position >= newest.last:
            return Run((), position, more=False)
        # Most readers are near the end.
        block = next(b for b in reversed(self._blocks) if b.floor <= position)
        if position >= block.last:
            block = self._blocks[self._blocks.index(block) + 1]
        segments = block.segments[_first_after(block, position) :]
        return Run(segments, block.last, more=block is not newest)

    def size_after(self, position: int) -> int:
        """Return how many bytes follow an id, as far as they are here."""
        total = 0
        for block in reversed(self._blocks):
            if block.last <= position:
                break
            total += sum(len(s.data) for s in block.segments[_first_after(block, position) :])
        return total

    def shared(self, key: Hashable, make: Callable[[], bytes | None]) -> bytes | None:
        """Return what `make` makes, or has made for another who asked by the same key."""
        if key not in self._made:
            self._made[key] = make()
            if len(self._made) > _MADE:
                self._made.popitem(last=False)
        return self._made[key]


def _first_after(block: _Block, position: int) -> int:
    return bisect_right(block.segments, position, key=lambda segment: segment.id)
