"""Draw the pictures of ``docs/patterns/``: boxes in columns and rows, and arrows between them.

``python tools/draw_patterns.py`` writes ``docs/images/patterns/*.svg``. There is no background, and
all colours are of middle brightness: they read well on a white page and on a dark one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "patterns"

WIDTH, HEIGHT = 128, 48
COLUMN, ROW = 212, 76
MARGIN = 14
#: Of boxes, by what they are; their text is white.
COLOURS: Final = {
    "client": "#7a5fc0",
    "Server": "#2d7dbd",
    "Master": "#2d7dbd",
    "Hub": "#2d7dbd",
    "Pipeline": "#b0642a",
    "Sink": "#b0642a",
    "Worker": "#2c8a5d",
    "MuxWorker": "#2c8a5d",
}
LINE: Final = "#808892"
FONT: Final = "font-family=\"-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""


class Box(NamedTuple):
    """A process: its name, what it is, and where it stands; halves are between rows."""

    name: str
    kind: str
    column: int
    row: float = 0

    @property
    def left(self) -> int:
        """Where its left side is."""
        return MARGIN + COLUMN * self.column

    @property
    def middle(self) -> float:
        """How far down its middle is."""
        return MARGIN + HEIGHT / 2 + ROW * self.row


class Arrow(NamedTuple):
    """From one box to one in the next column, with a text; ``both``: there and back."""

    start: str
    end: str
    text: str = ""
    both: bool = False


@dataclass
class Picture:
    """One pattern: ``results`` names the boxes whose results go to the client, with a text."""

    title: str
    boxes: list[Box]
    arrows: list[Arrow]
    results: list[str]
    text: str = "results"
    found: dict[str, Box] = field(init=False)

    def __post_init__(self) -> None:
        self.found = {box.name: box for box in self.boxes}

    def draw(self) -> str:
        """Return it as SVG."""
        rows = max(box.row for box in self.boxes)
        width = 2 * MARGIN + COLUMN * max(box.column for box in self.boxes) + WIDTH
        width += 12 if any(self._is_above(name) for name in self.results) else 0
        bottom = MARGIN + ROW * rows + HEIGHT
        height = bottom + 44
        parts = [
            *(self._arrow(arrow) for arrow in self.arrows),
            *self._way_back(bottom + 22),
            *(_box(box) for box in self.boxes),
        ]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}"'
            f' width="{width}" height="{height:g}" role="img" {FONT} font-size="13">\n'
            f"<title>{escape(self.title)}</title>\n"
            f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
            f' markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>\n'
            + "\n".join(parts)
            + "\n</svg>\n"
        )

    def _arrow(self, arrow: Arrow) -> str:
        start, end = self.found[arrow.start], self.found[arrow.end]
        x1, y1, x2, y2 = start.left + WIDTH + 3, start.middle, end.left - 3, end.middle
        bend = (x1 + x2) / 2
        back = ' marker-start="url(#tip)"' if arrow.both else ""
        line = _path(f"M{x1} {y1:g}C{bend:g} {y1:g} {bend:g} {y2:g} {x2} {y2:g}", back)
        if y1 == y2:
            return line + _label(bend, y2 - 7, arrow.text)
        return line + _label(x2 - 10, y2 - 9 if y2 < y1 else y2 + 19, arrow.text, "end")

    def _is_above(self, name: str) -> bool:
        """Whether another box is below one."""
        box = self.found[name]
        return any(each.column == box.column and each.row > box.row for each in self.boxes)

    def _way_back(self, down: float) -> list[str]:
        """Return dashed lines below the boxes, to the client."""
        client = self.found["client"]
        to, end = client.left + WIDTH / 2, client.middle + HEIGHT / 2 + 3
        first = min(self.found[name].left for name in self.results) + WIDTH / 2
        lines = []
        for number, name in enumerate(self.results):
            box = self.found[name]
            x, y = box.left + WIDTH / 2, box.middle + HEIGHT / 2
            goal = f"H{to + 8:g}q-8 0 -8 -8V{end:g}"
            if self._is_above(name):  # round the boxes below it, to where their line begins
                y = box.middle
                start = f"M{box.left + WIDTH} {y:g}h6q8 0 8 8V{down - 8:g}q0 8 -8 8"
                goal = f"H{x - 8:g}"
            else:
                start = f"M{x:g} {y:g}V{down - 8:g}q0 8 -8 8"
            lines.append(_path(start + goal, ' stroke-dasharray="5 4"', tip=not number))
        return [*lines, _label((to + first) / 2, down + 16, self.text)]


def _path(way: str, more: str = "", *, tip: bool = True) -> str:
    end = ' marker-end="url(#tip)"' if tip else ""
    return f'<path d="{way}" fill="none" stroke="{LINE}" stroke-width="1.6"{more}{end}/>'


def _label(x: float, y: float, text: str, anchor: str = "middle") -> str:
    if not text:
        return ""
    return f'<text x="{x:g}" y="{y:g}" fill="{LINE}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(box: Box) -> str:
    x, y = box.left, box.middle - HEIGHT / 2
    middle = x + WIDTH / 2
    kind = "" if box.kind == box.name else box.kind
    name_at = box.middle + (5 if not kind else -2)
    name = (
        f'<text x="{middle:g}" y="{name_at:g}" fill="#fff" text-anchor="middle"'
        f' font-weight="600">{escape(box.name)}</text>'
    )
    below = (
        f'<text x="{middle:g}" y="{box.middle + 15:g}" fill="#fff" text-anchor="middle"'
        f' font-size="12">{escape(kind)}</text>'
        if kind
        else ""
    )
    colour = COLOURS[box.kind]
    rect = f'<rect x="{x}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{colour}"/>'
    return rect + name + below


def _with_workers(name: str, at: int = 1, kind: str = "Worker") -> tuple[list[Box], list[Arrow]]:
    """Return two workers behind a master or hub, and the arrows to them."""
    boxes = [Box("worker", kind, at + 1, 0), Box("another worker", kind, at + 1, 1)]
    return boxes, [Arrow(name, box.name, both=True) for box in boxes]


def pictures() -> dict[str, Picture]:
    """Return all pictures, by the names of their files."""
    client = Box("client", "client", 0)
    lower = Box("client", "client", 0, 0.5)
    workers, to_workers = _with_workers("master")
    muxes, to_muxes = _with_workers("master", kind="MuxWorker")
    hub_workers, to_hub_workers = _with_workers("hub", 2)
    master = Box("master", "Master", 1, 0.5)
    first = Box("first", "Server", 1)
    middle = Box("first", "Server", 1, 0.5)
    return {
        "server": Picture(
            "A client and a server",
            [client, Box("shouter", "Server", 1)],
            [Arrow("client", "shouter", "messages")],
            ["shouter"],
        ),
        "master": Picture(
            "A client, a master and two workers",
            [lower, master, *workers],
            [Arrow("client", "master", "messages"), *to_workers],
            ["master"],
        ),
        "scatter": Picture(
            "A master makes three messages of one",
            [lower, master, *workers],
            [Arrow("client", "master", "1 message"), *_told(to_workers, "3 messages")],
            ["master"],
            "3 results",
        ),
        "gather": Picture(
            "A master makes one result of four",
            [lower, master, *workers],
            [Arrow("client", "master", "4 messages"), *_told(to_workers, "4 results")],
            ["master"],
            "1 result",
        ),
        "generators": Picture(
            "A worker has many results for one message",
            [lower, master, *muxes],
            [Arrow("client", "master", "1 line"), *_told(to_muxes, "many words")],
            ["master"],
            "many words",
        ),
        "pipeline": Picture(
            "Two stages, one behind the other",
            [client, first, Box("second", "Pipeline", 2)],
            [Arrow("client", "first", "messages"), Arrow("first", "second", "topic first")],
            ["second"],
        ),
        "tee": Picture(
            "Two stages get the same messages",
            [lower, middle, Box("counting", "Pipeline", 2), Box("answering", "Pipeline", 2, 1)],
            [
                Arrow("client", "first", "messages"),
                Arrow("first", "counting", "all"),
                Arrow("first", "answering", "all"),
            ],
            ["answering"],
        ),
        "streams": Picture(
            "Each message goes to the stage for its topic",
            [lower, middle, Box("even", "Pipeline", 2), Box("odd", "Pipeline", 2, 1)],
            [
                Arrow("client", "first", "messages"),
                Arrow("first", "even", "topic even"),
                Arrow("first", "odd", "topic odd"),
            ],
            ["odd", "even"],
        ),
        "sink": Picture(
            "Two ways come together in a sink",
            [
                lower,
                middle,
                Box("left", "Pipeline", 2),
                Box("right", "Pipeline", 2, 1),
                Box("sink", "Sink", 3, 0.5),
            ],
            [
                Arrow("client", "first", "messages"),
                Arrow("first", "left", "topic left"),
                Arrow("first", "right", "topic right"),
                Arrow("left", "sink"),
                Arrow("right", "sink"),
            ],
            ["sink"],
        ),
        "hub": Picture(
            "A hub with two workers behind a server",
            [lower, middle, Box("hub", "Hub", 2, 0.5), *hub_workers],
            [
                Arrow("client", "first", "messages"),
                Arrow("first", "hub", "topic first"),
                *to_hub_workers,
            ],
            ["hub"],
        ),
    }


def _told(arrows: list[Arrow], text: str) -> list[Arrow]:
    """Return arrows of which the first has a text."""
    return [arrows[0]._replace(text=text), *arrows[1:]]


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        (FOLDER / f"{name}.svg").write_text(picture.draw(), "utf-8")


if __name__ == "__main__":
    main()
