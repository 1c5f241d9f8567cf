"""The rules of output: pieces become stored segments once, and segments become records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from palm.registry_api.schema import OutputPiece, OutputRecord
from palm_registry.store.output import Segment

__all__ = [
    "SEGMENT",
    "Gap",
    "fresh_loss",
    "fresh_parts",
    "notice",
    "record_of",
    "split_lines",
    "within",
]

#: Bytes of a stored segment at most, so that a page of them fits into memory.
SEGMENT = 256 * 1024
#: Bytes after which a line is cut, newline or not.
LONGEST_LINE = 64 * 1024

#: Why output is lost, as a reader is told.
_REASONS = {
    "quota": "were dropped here: more than the quota of its spool waited for the registry",
    "disk": "were dropped here: the disk of its node was full",
    "freed": "are lost here: the node had freed them, and the registry has them no more",
}


class Gap(Exception):  # noqa: N818 - says what there is
    """A piece begins after the end of what is stored."""


def fresh_parts(piece: OutputPiece, durable: int) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of what a piece adds to a stream that is stored up to `durable`.

    Raises
    ------
    Gap
        Bytes before the piece are missing, so it can't be taken.
    """
    if piece.offset > durable:
        raise Gap
    data = piece.data[durable - piece.offset :]
    for start in range(0, len(data), SEGMENT):
        yield durable + start, data[start : start + SEGMENT]


def fresh_loss(piece: OutputPiece, durable: int) -> tuple[int, int]:
    """Return offset and number of the bytes that a gap record says are lost, as far as it is new.

    Raises
    ------
    Gap
        Bytes before it are missing, so it can't be taken.
    """
    if piece.offset > durable:
        raise Gap
    return durable, max(0, piece.offset + piece.lost - durable)


def notice(lost: int, reason: str) -> str:
    """Return the line that tells a reader of bytes that are lost."""
    size = f"{lost / 1e6:,.1f} MB" if lost >= 100_000 else f"{lost:,} bytes"
    return f"[palm: {size} of output {_REASONS.get(reason, 'are lost here')}]"


def record_of(segment: Segment, cursor: str, *, raw: bool = False) -> OutputRecord:
    """A segment as it is read: text where it is text."""
    record = OutputRecord(
        component=segment.component,
        replica=segment.replica,
        name=segment.name,
        instance=segment.instance,
        stream=segment.stream,
        offset=segment.offset,
        time=segment.time,
        cursor=cursor,
        lost=segment.lost,
        reason=segment.reason,
    )
    if segment.lost:
        record.text = notice(segment.lost, segment.reason) + "\n"
        return record
    try:
        record.text = None if raw else segment.data.decode()
    except UnicodeDecodeError:
        record.text = None
    if record.text is None:
        record.data = segment.data
    return record


def split_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of bytes, with their newlines; those that are too long in parts."""
    for line in _by_newline(data):
        for start in range(0, len(line), LONGEST_LINE):
            yield line[start : start + LONGEST_LINE]


def _by_newline(data: bytes) -> Iterator[bytes]:
    # bytes.splitlines also cuts at a carriage return, which a progress bar is full of.
    *lines, rest = data.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def within(ids: Sequence[tuple[int, int]], limit: int) -> list[int]:
    """Return as many of the ids, at least one, as their sizes fit a limit together, in bytes."""
    kept: list[int] = []
    total = 0
    for number, size in ids:
        total += size
        if kept and total > limit:
            break
        kept.append(number)
    return kept
