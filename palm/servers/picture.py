"""Pictures of linked components: as text, and as SVG that is readable on light and dark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
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


#: A component, or the room that an arrow (its number) takes in a column (another) on its way.
_Node = str | tuple[int, int]


def draw_svg(roles: Mapping[str, str], links: Sequence[tuple[str, str, str]]) -> str:
    """Draw boxes from left to right; all has the colour of the text around the picture."""
    arrows = [_Arrow(*each) for each in links]
    columns, ways = _columns(roles, arrows)
    boxes, width, height = _place(columns, roles, arrows)
    parts = [
        _path(arrow.topic, [boxes[node] for node in way])
        for arrow, way in zip(arrows, ways, strict=True)
    ]
    parts += [_box(name, role, boxes[name]) for name, role in roles.items()]
    title = escape(draw_text(roles, links), quote=True)
    return (
        '<div class="palm-topology" style="overflow-x:auto">'
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}"'
        f' width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="system-ui,sans-serif" font-size="13" fill="currentColor">'
        f"{''.join(parts)}</svg></div>"
    )


def _columns(
    roles: Mapping[str, str], arrows: Sequence[_Arrow]
) -> tuple[list[list[_Node]], list[list[_Node]]]:
    """Return columns, each component behind all that it takes from, and the way of each arrow."""
    number: dict[str, int] = {}
    for name in roles:
        before = [number[arrow.source] for arrow in arrows if arrow.target == name]
        number[name] = max(before, default=-1) + 1
    columns: list[list[_Node]] = [[] for _ in range(max(number.values()) + 1)]
    for name, at in number.items():
        columns[at].append(name)
    ways: list[list[_Node]] = []
    for index, arrow in enumerate(arrows):
        between = range(number[arrow.source] + 1, number[arrow.target])
        for at in between:
            columns[at].append((index, at))
        ways.append([arrow.source, *((index, at) for at in between), arrow.target])
    _untangle(columns, ways)
    return columns, ways


def _untangle(columns: list[list[_Node]], ways: Sequence[Sequence[_Node]]) -> None:
    """Sort each column by where its arrows come from."""
    comes_from: dict[_Node, list[_Node]] = defaultdict(list)
    for way in ways:
        for before, node in pairwise(way):
            comes_from[node].append(before)
    row: dict[_Node, float] = {}

    def height(node: _Node) -> float:
        found = [row[each] for each in comes_from[node]]
        return sum(found) / len(found) if found else 0.0

    for column in columns:
        column.sort(key=height)
        row |= {node: at - (len(column) - 1) / 2 for at, node in enumerate(column)}


def _place(
    columns: Sequence[Sequence[_Node]], roles: Mapping[str, str], arrows: Sequence[_Arrow]
) -> tuple[dict[_Node, _Box], float, float]:
    """Return the box of each node, and the size of the whole."""
    height = max(map(len, columns)) * (_HEIGHT + _DOWN) - _DOWN
    boxes: dict[_Node, _Box] = {}
    x = float(_EDGE)
    for column in columns:
        names = [node for node in column if isinstance(node, str)]
        topics = [len(arrow.topic) for arrow in arrows if arrow.target in names]
        x += _ACROSS + _CHARACTER * max(topics, default=0) if x > _EDGE else 0
        width = max(_CHARACTER * max(len(name), len(roles[name])) for name in names) + 24
        y = _EDGE + (height - len(column) * (_HEIGHT + _DOWN) + _DOWN) / 2
        for at, node in enumerate(column):
            boxes[node] = _Box(x, y + at * (_HEIGHT + _DOWN), width)
        x += width
    return boxes, x + _EDGE, height + 2 * _EDGE


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


def _path(topic: str, way: Sequence[_Box]) -> str:
    """An arrow from the first box to the last, straight through the room of those between."""
    x, y = way[0].x + way[0].width, way[0].middle
    line = f"M{x:g} {y:g}"
    for box in way[1:]:
        half, middle = (x + box.x) / 2, box.middle
        line += f"C{half:g} {y:g} {half:g} {middle:g} {box.x - 8:g} {middle:g}"
        x, y = box.x, middle
        if box is not way[-1]:
            x += box.width
            line += f"H{x:g}"
    drawn = (
        f'<path d="{line}" fill="none" stroke="currentColor" stroke-opacity=".7"'
        f' stroke-width="1.5"/><path d="M{x:g} {y:g}l-9 -4v8z" fill-opacity=".7"/>'
    )
    if not topic:
        return drawn
    # At the end of an arrow, on the side from which it does not come.
    y += 15 if way[-2].middle < y else -6
    return drawn + (
        f'<text x="{x - 10:g}" y="{y:g}" text-anchor="end" font-size="11">{escape(topic)}</text>'
    )
