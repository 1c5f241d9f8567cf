"""Lines that somebody looks for, in stored segments, from the newest backwards. No I/O.

Output is looked through in windows: segments that follow one another. A window needs from outside
only how the line began that ends in the first segment of a stream, so windows can be looked
through at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from palm_registry.matching import Matcher
from palm_registry.output import LONGEST_LINE, notice, split_lines
from palm_registry.store.output import Segment

__all__ = ["Found", "StreamKey", "is_before", "look_through", "windows"]

#: Instance and stream.
StreamKey = tuple[str, str]

#: Bytes of a window: of the first, of which a few lines are wanted mostly, and of the largest.
SMALLEST, LARGEST = 256 * 1024, 16 * 1024 * 1024
#: Segments of a window.
MOST = 2048


@dataclass(slots=True)
class Found:
    """What a window has: the last wanted ``lines`` in order, and what is open at its end.

    A line has the id and the time of the segment that completed it, and its own offset.
    """

    lines: Collection[Segment] = ()
    open: dict[StreamKey, Segment] = field(default_factory=dict)

    def sorted(self) -> list[Segment]:
        """Return all lines in order, the open ones too."""
        return sorted([*self.lines, *self.open.values()], key=lambda line: (line.id, line.offset))


def windows(newest_first: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield first and last id of windows over segments, of which ids and sizes are given."""
    limit, size, count = SMALLEST, 0, 0
    first = last = 0
    for number, part in newest_first:
        if count and (size + part > limit or count == MOST):
            yield first, last
            limit, size, count = min(4 * limit, LARGEST), 0, 0
        last = last if count else number
        first = number
        size += part
        count += 1
    if count:
        yield first, last


def look_through(
    segments: Iterable[Segment],
    matcher: Matcher,
    count: int,
    begun_before: Callable[[Segment], bytes],
    end: tuple[int, int] | None = None,
) -> Found:
    """Return the last `count` wanted lines that end in a window.

    Parameters
    ----------
    begun_before
        Returns how the line began in whose midst a segment begins.
    end
        Segment and offset of a line: only those before it count.
    """
    lines: deque[Segment] = deque(maxlen=count)
    found = Found(lines)
    ends: dict[StreamKey, int] = {}
    for segment in segments:
        key = (segment.instance, segment.stream)
        begun = found.open.pop(key, None)
        if ends.get(key) != segment.offset:
            if begun is not None and matcher.line(begun.data):
                lines.append(begun)  # what followed it is not there
            begun = _begun(segment, begun_before)
        ends[key] = segment.end
        if segment.lost:
            lines.extend(line for line in _told(segment, begun) if _is_wanted(line, matcher, end))
            continue
        whole, rest = _whole(segment, begun)
        if whole is not None and matcher.lines(whole.data):
            lines.extend(line for line in _wanted(whole, matcher) if is_before(line, end))
        if rest is not None:
            found.open[key] = rest
    return found


def _told(gap: Segment, begun: Segment | None) -> Iterator[Segment]:
    """Yield the line that ends where bytes are lost, and one that says so."""
    if begun is not None:
        yield replace(gap, offset=begun.offset, data=begun.data, lost=0, reason="")
    yield replace(gap, data=notice(gap.lost, gap.reason).encode())


def _is_wanted(line: Segment, matcher: Matcher, end: tuple[int, int] | None) -> bool:
    return matcher.line(line.data) and is_before(line, end)


def is_before(line: Segment, end: tuple[int, int] | None) -> bool:
    """Say whether a line is before a place, if one is given."""
    return end is None or (line.id, line.offset) < end


def _begun(segment: Segment, begun_before: Callable[[Segment], bytes]) -> Segment | None:
    data = begun_before(segment) if segment.offset else b""
    if not data:
        return None
    return replace(segment, offset=segment.offset - len(data), data=data, lost=0, reason="")


def _whole(segment: Segment, begun: Segment | None) -> tuple[Segment | None, Segment | None]:
    """Return the lines that a segment completes, all as one, and the one that it leaves open."""
    if begun is not None:
        segment = replace(segment, offset=begun.offset, data=begun.data + segment.data)
    data = segment.data
    end = data.rfind(b"\n") + 1
    end += (len(data) - end) // LONGEST_LINE * LONGEST_LINE  # of what is too long, whole parts
    whole = replace(segment, data=data[:end]) if end else None
    rest = replace(segment, offset=segment.offset + end, data=data[end:])
    return whole, rest if end < len(data) else None


def _wanted(lines: Segment, matcher: Matcher) -> Iterator[Segment]:
    """Yield the wanted ones of lines."""
    offset = lines.offset
    for line in split_lines(lines.data):
        if matcher.line(line):
            yield replace(lines, offset=offset, data=line)
        offset += len(line)
