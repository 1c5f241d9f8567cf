"""The rules of output on its way to the registry: what is sent next, freed, or dropped. No I/O.

Of each stream four offsets count, all from its start::

    0 ... begin ........... acked ............ size
      freed      stored and       waits to be
                 still here       sent

Bytes below ``acked`` are stored in the registry, those below ``begin`` are not in the spool any
more. If ``acked`` is below ``begin``, what is between them is nowhere: it was dropped, or the
registry has lost its data. It is sent as a *gap record*, and the stream goes on at ``begin``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from palm.runner.freed import Freed
from palm.runner.spool import STREAMS, Stream

__all__ = ["ALIGN", "KEPT", "MOST", "PIECE", "REQUEST", "STEP", "Chunk", "UploadState"]

#: Bytes of a piece, and of all pieces of one request.
PIECE = 256 * 1024
REQUEST = 1024 * 1024
#: Pieces of one request.
MOST = 256
#: Bytes of a stream that stay for those who read on the node itself, though they are stored.
KEPT = 1024 * 1024
#: Bytes that are freed at once, at least. On ext4 a megabyte takes 80 us, in steps of 64 KiB three
#: times as long; in larger ones it is no faster.
STEP = 1024 * 1024
#: What is freed ends at a multiple of this: of the blocks of all usual file systems.
ALIGN = 64 * 1024

Key = tuple[str, Stream]
_WHOLE = Freed()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes to be read from a spool, and to be sent; or a gap: ``lost``, with what is known."""

    instance: str
    stream: Stream
    offset: int
    size: int
    lost: bool = False
    reason: str = ""
    since: float = 0.0


@dataclass(slots=True)
class _Line:
    """One stream of one instance: ``size`` bytes are written, ``acked`` of them stored."""

    size: int = 0
    acked: int = 0
    freed: Freed = _WHOLE
    turn: int = 0
    rests_until: float = 0.0

    @property
    def next(self) -> int:
        """The offset of the first byte that is to be sent, and still can be."""
        return max(self.acked, self.freed.begin)

    @property
    def waiting(self) -> int:
        """Bytes that are to be sent, and still can be."""
        return max(0, self.size - self.next)


@dataclass(slots=True)
class UploadState:
    """How far each stream was written and is stored, and what to send next. No I/O."""

    #: What is freed ends at a multiple of this.
    align: int = ALIGN
    _lines: dict[Key, _Line] = field(default_factory=dict)
    _turn: int = 0

    def add(
        self,
        instance: str,
        acked: Mapping[Stream, int],
        freed: Mapping[Stream, Freed] | None = None,
    ) -> None:
        """Know of an instance, of which the registry has stored so much.

        It has stored all that was freed, too, but for what was dropped: ``acked`` may be older.
        """
        for stream in STREAMS:
            gone = (freed or {}).get(stream, _WHOLE)
            stored = gone.lost_from if gone.reason else gone.begin
            line = _Line(acked=max(acked.get(stream, 0), stored), freed=gone)
            self._lines.setdefault((instance, stream), line)

    def forget(self, instance: str) -> None:
        """Know no more of an instance."""
        for stream in STREAMS:
            self._lines.pop((instance, stream), None)

    def grown(self, instance: str, stream: Stream, size: int) -> None:
        """So many bytes of a stream are written by now."""
        line = self._lines.get((instance, stream))
        if line is not None:
            line.size = size

    def acked(self, instance: str, stream: Stream, offset: int) -> bool:
        """The registry has stored so much of a stream; say whether that is news.

        It may be less than before: a registry that lost its data gets all again.
        """
        line = self._lines.get((instance, stream))
        if line is None or line.acked == offset:
            return False
        line.acked = max(0, offset)
        return True

    def refused(self, instance: str, stream: Stream, until: float) -> None:
        """The registry does not want a stream: let it rest, for the sake of the others."""
        line = self._lines.get((instance, stream))
        if line is not None:
            line.rests_until = until

    def offsets(self, instance: str) -> dict[Stream, int]:
        """How much of each stream of an instance is stored."""
        return {stream: line.acked for stream, line in self._of(instance)}

    def freed(self, instance: str) -> dict[Stream, Freed]:
        """What of each stream of an instance is not in the spool any more."""
        return {stream: line.freed for stream, line in self._of(instance)}

    def has(self, chunk: Chunk) -> bool:
        """Whether the bytes of a chunk are in the spool, all of them."""
        line = self._lines.get((chunk.instance, chunk.stream))
        return line is not None and line.freed.begin <= chunk.offset

    def is_done(self, instance: str) -> bool:
        """Whether all that an instance wrote is stored, or told to be lost."""
        return all(line.size <= line.acked for _, line in self._of(instance))

    @property
    def pending(self) -> int:
        """Bytes that are written and not yet stored, nor told to be lost."""
        return sum(max(0, line.size - line.acked) for line in self._lines.values())

    def waiting(self, instance: str) -> int:
        """Bytes of an instance that wait to be sent."""
        return sum(line.waiting for _, line in self._of(instance))

    def next_chunks(self, now: float) -> list[Chunk]:
        """What to send now: a piece of each stream, those first that have waited longest.

        So one that writes without end takes its turn like the others.
        """
        waiting = [
            (line.turn, key, line)
            for key, line in self._lines.items()
            if line.size > line.acked and line.rests_until <= now
        ]
        chunks: list[Chunk] = []
        room = REQUEST
        self._turn += 1
        for _, key, line in sorted(waiting, key=lambda each: each[:2]):
            chunk = _gap(key, line) or Chunk(*key, line.acked, min(PIECE, room, line.waiting))
            if chunk.size <= 0 or len(chunks) >= MOST:
                break
            room -= 0 if chunk.lost else chunk.size
            line.turn = self._turn
            chunks.append(chunk)
        return chunks

    def free(self, instance: str, kept: int = KEPT, step: int = STEP) -> None:
        """Free what the registry has stored, but for the last ``kept`` bytes of each stream."""
        for _, line in self._of(instance):
            end = self._aligned(min(line.acked, line.size - kept))
            if end >= line.freed.begin + step:
                line.freed = Freed(begin=end)

    def drop(self, instance: str, excess: int, reason: str, now: float) -> int:
        """Drop at least ``excess`` bytes that wait, the oldest, if there are as many.

        Of two streams the one of which more waits gives more. Returns how many were dropped.
        """
        dropped = 0
        lines = sorted(self._of(instance), key=lambda pair: pair[1].waiting, reverse=True)
        for _, line in lines:
            end = self._aligned(min(line.next + excess - dropped + self.align - 1, line.size))
            if dropped < excess and end > line.next:
                dropped += end - line.next
                _drop(line, end, reason, now)
        return dropped

    def _aligned(self, offset: int) -> int:
        return offset // self.align * self.align

    def _of(self, instance: str) -> list[tuple[Stream, _Line]]:
        keys: list[Key] = [(instance, stream) for stream in STREAMS]
        return [(key[1], self._lines[key]) for key in keys if key in self._lines]


def _drop(line: _Line, end: int, reason: str, now: float) -> None:
    was = line.freed
    if line.acked < was.begin:  # what was dropped before is still to be told
        line.freed = replace(was, begin=end)
    else:
        line.freed = Freed(begin=end, lost_from=line.next, reason=reason, since=now)


def _gap(key: Key, line: _Line) -> Chunk | None:
    """What to tell the registry of bytes that neither it nor the spool has."""
    freed = line.freed
    size = min(freed.begin, line.size) - line.acked
    if size <= 0:
        return None
    if freed.reason and line.acked >= freed.lost_from:
        return Chunk(*key, line.acked, size, True, freed.reason, freed.since)
    # It had stored them, and has lost them since.
    return Chunk(*key, line.acked, size, True, "freed")
