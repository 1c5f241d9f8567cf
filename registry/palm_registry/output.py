"""The rules of output: pieces become stored segments once, and segments become lines again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from palm.registry_api.schema import OutputPiece, OutputRecord
from palm_registry.store.output import Segment

__all__ = ["SEGMENT", "Gap", "fresh_parts", "last_lines", "lines_of", "record_of"]

#: Bytes of a stored segment at most, so that a page of them fits into memory.
SEGMENT = 256 * 1024
#: Bytes after which a line is cut, newline or not.
LONGEST_LINE = 64 * 1024


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
    )
    try:
        record.text = None if raw else segment.data.decode()
    except UnicodeDecodeError:
        record.text = None
    if record.text is None:
        record.data = segment.data
    return record


def lines_of(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the lines of segments that are in order, each as a segment with its newline.

    A line comes when it is complete, and has the id and the time of the segment that completed
    it; what has no newline comes at the end.
    """
    open_lines: dict[tuple[str, str], Segment] = {}
    for segment in segments:
        key = (segment.instance, segment.stream)
        rest = open_lines.pop(key, None)
        if rest is not None and rest.offset + len(rest.data) == segment.offset:
            offset, data = rest.offset, rest.data + segment.data
        else:
            if rest is not None:
                yield rest
            offset, data = segment.offset, segment.data
        for line in _split(data):
            part = replace(segment, offset=offset, data=line)
            offset += len(line)
            if line.endswith(b"\n") or len(line) >= LONGEST_LINE:
                yield part
            else:
                open_lines[key] = part
    yield from open_lines.values()


def _split(data: bytes) -> Iterator[bytes]:
    for line in _by_newline(data):
        for start in range(0, len(line), LONGEST_LINE):
            yield line[start : start + LONGEST_LINE]


def _by_newline(data: bytes) -> Iterator[bytes]:
    # bytes.splitlines also cuts at a carriage return, which a progress bar is full of.
    *lines, rest = data.split(b"\n")
    yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def last_lines(
    newest_first: Iterable[Segment], count: int, wanted: Callable[[bytes], bool], budget: int
) -> list[Segment]:
    """Return the last `count` lines that are `wanted`, in order.

    Reads backwards until there are enough, or `budget` bytes were looked at.
    """
    taken: list[Segment] = []
    found = 0
    for segment in newest_first:
        taken.append(segment)
        budget -= len(segment.data)
        found += sum(line.endswith(b"\n") and wanted(line) for line in _by_newline(segment.data))
        # One more than asked for: the first may be the end of a line that began before it.
        if found > count + _streams(taken) or budget <= 0:
            break
    lines = [line for line in lines_of(reversed(taken)) if wanted(line.data)]
    return lines[-count:] if count else []


def _streams(taken: list[Segment]) -> int:
    return len({(segment.instance, segment.stream) for segment in taken})
