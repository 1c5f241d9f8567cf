"""Pictures of linked components: as text, and as SVG that is readable on light and dark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

__all__ = ["draw_svg", "draw_text"]

#: Pixels: of a character, a box, and what is between boxes.
_CHARACTER: Final = 8
_HEIGHT: Final = 44
_ACROSS: Final = 56
_DOWN: Final = 16
_EDGE: Final = 4


class _Arrow(NamedTuple):
    """From one name to another; ``topic`` is written at it."""

    source: str
    topic: str
    target: str


def draw_text(roles: Mapping[str, str], links: Sequence[tuple[str, str, str]]) -> str:
    """Draw a row as a line, all else as a tree; what comes again there has ``...`` behind it.

    ``roles`` are those of the components by name, each behind what it takes from; a link is
    (from, topic, to).
    """
    arrows = [_Arrow(*each) for each in links]
    behind = _behind(arrows)
    heads = [name for name in roles if not any(arrow.target == name for arrow in arrows)]
    is_row = len(heads) == 1 and all(len(each) == 1 for each in behind.values())
    if is_row and len(arrows) == len(roles) - 1:
        name, text = heads[0], _label(heads[0], roles)
        while name in behind:
            (arrow,) = behind[name]
            name = arrow.target
            text += f" {_shaft(arrow)} {_label(name, roles)}"
        return text
    lines: list[str] = []
    drawn: set[str] = set()
    for head in heads:
        lines.append(_label(head, roles))
        lines += _branches(head, roles, behind, drawn)
    return "\n".join(lines)


def _branches(
    name: str, roles: Mapping[str, str], behind: Mapping[str, list[_Arrow]], drawn: set[str]
) -> Iterator[str]:
    drawn.add(name)
    arrows = behind.get(name, [])
    for arrow in arrows:
        last = arrow is arrows[-1]
        again = arrow.target in drawn and arrow.target in behind
        more = " ..." if again else ""
        yield f"{'└' if last else '├'}{_shaft(arrow)} {_label(arrow.target, roles)}{more}"
        if not again:
            for line in _branches(arrow.target, roles, behind, drawn):
                yield f"{' ' if last else '│'}  {line}"


def _shaft(arrow: _Arrow) -> str:
    return f"─ {arrow.topic} ─>" if arrow.topic else "──>"


def _label(name: str, roles: Mapping[str, str]) -> str:
    return f"{name} ({roles[name]})"


def _behind(arrows: Sequence[_Arrow]) -> dict[str, list[_Arrow]]:
    found: dict[str, list[_Arrow]] = defaultdict(list)
    for arrow in arrows:
        found[arrow.source].append(arrow)
    return dict(found)


class _Box(NamedTuple):
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def draw_svg(roles: Mapping[str, str], links: Sequence[tuple[str, str, str]]) -> str:
    """Draw boxes from left to right; all has the colour of the text around the picture."""
    arrows = [_Arrow(*each) for each in links]
    boxes, width, height = _place(roles, arrows)
    parts = [_arrow(arrow, boxes[arrow.source], boxes[arrow.target]) for arrow in arrows]
    parts += [_box(name, roles[name], box) for name, box in boxes.items()]
    title = escape(draw_text(roles, arrows), quote=True)
    return (
        '<div class="palm-topology" style="overflow-x:auto">'
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}"'
        f' width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="system-ui,sans-serif" font-size="13" fill="currentColor">'
        f"{''.join(parts)}</svg></div>"
    )


def _place(
    roles: Mapping[str, str], arrows: Sequence[_Arrow]
) -> tuple[dict[str, _Box], float, float]:
    """Give each component a box, in the column behind all that it takes from."""
    column: dict[str, int] = {}
    for name in roles:
        before = [column[arrow.source] for arrow in arrows if arrow.target == name]
        column[name] = max(before, default=-1) + 1
    columns: dict[int, list[str]] = defaultdict(list)
    for name, number in column.items():
        columns[number].append(name)
    tallest = max(map(len, columns.values()))
    height = tallest * (_HEIGHT + _DOWN) - _DOWN
    boxes: dict[str, _Box] = {}
    x = float(_EDGE)
    for number in sorted(columns):
        names = columns[number]
        width = max(_CHARACTER * max(len(name), len(roles[name])) for name in names) + 24
        y = _EDGE + (height - len(names) * (_HEIGHT + _DOWN) + _DOWN) / 2
        for row, name in enumerate(names):
            boxes[name] = _Box(x, y + row * (_HEIGHT + _DOWN), width)
        leaving = [arrow.topic for arrow in arrows if arrow.source in names]
        x += width + _ACROSS + _CHARACTER * max(map(len, leaving), default=0)
    last = max(box.x + box.width for box in boxes.values())
    return boxes, last + _EDGE, height + 2 * _EDGE


def _box(name: str, role: str, box: _Box) -> str:
    x = box.x + box.width / 2
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{_HEIGHT}" rx="6"'
        ' fill-opacity=".06" stroke="currentColor" stroke-opacity=".5"/>'
        f'<text x="{x:g}" y="{box.y + 19:g}" text-anchor="middle" font-weight="600">'
        f"{escape(name)}</text>"
        f'<text x="{x:g}" y="{box.y + 35:g}" text-anchor="middle" font-size="11"'
        f' opacity=".75">{escape(role)}</text>'
    )


def _arrow(arrow: _Arrow, source: _Box, target: _Box) -> str:
    x1, y1, x2, y2 = source.x + source.width, source.middle, target.x, target.middle
    half = (x1 + x2) / 2
    path = (
        f'<path d="M{x1:g} {y1:g}C{half:g} {y1:g} {half:g} {y2:g} {x2 - 7:g} {y2:g}"'
        ' fill="none" stroke="currentColor" stroke-opacity=".7" stroke-width="1.5"/>'
        f'<path d="M{x2:g} {y2:g}l-9 -4v8z" fill-opacity=".7"/>'
    )
    if not arrow.topic:
        return path
    return path + (
        f'<text x="{half:g}" y="{(y1 + y2) / 2 - 6:g}" text-anchor="middle" font-size="11">'
        f"{escape(arrow.topic)}</text>"
    )
