"""Tables: aligned text for programs and pipes, a little nicer on a terminal.

On a terminal states have a colour and a shape, so that neither is needed to tell them apart; the
word is always there. ``NO_COLOR`` and ``TERM=dumb`` are respected.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["duration", "show_table"]

#: Blanks between columns, and the least room for the last one.
_GAP = 2
_LEAST = 20
#: Columns that hold a state.
_STATES = ("STATE",)
#: States by how they are: shape, the same in ASCII, and style.
_LOOKS: Final = (
    (("ready", "ok", "alive", "done", "running"), "●", "*", "green"),
    (
        ("starting", "stopping", "backing-off", "waiting", "warning", "paused", "lingering"),
        "◐", "~", "yellow",
    ),
    (("failed", "problem", "lost", "unknown", "gone"), "✗", "x", "bold red"),
    (("stopped", "ended", "cancelled", "exited"), "○", "-", "dim"),
)  # fmt: skip


def show_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Print rows under their heads; those named in ``right`` are numbers."""
    if sys.stdout.isatty():
        _show_rich(head, rows, right)
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = (
            cell.rjust(width) if title in right else cell.ljust(width)
            for title, cell, width in zip(head, row, widths, strict=True)
        )
        print("  ".join(cells).rstrip())


def _show_rich(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    """Print rows; the last column is wrapped, below its row if there is no room beside it.

    Names are looked for and copied, so all other columns stay whole.
    """
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.text import Text

    console = Console(highlight=False)
    plain = "utf" not in (console.encoding or "").lower()
    table = [[Text(title, style="bold") for title in head]]
    table += [[_cell(title, cell, plain) for title, cell in zip(head, row, strict=True)]
              for row in rows]  # fmt: skip
    widths = [max(row[i].cell_len for row in table) for i in range(len(head))]
    indent = sum(widths[:-1]) + _GAP * (len(head) - 1)
    beside = console.width - indent >= min(widths[-1], _LEAST)
    if not beside:
        indent = _GAP
    lines: list[Text]
    for number, row in enumerate(table):
        line = Text()
        for title, cell, width in zip(head[:-1], row, widths, strict=False):
            cell.align("right" if title in right else "left", width)
            line.append_text(cell).append(" " * _GAP)
        lines = list(row[-1].wrap(console, max(_LEAST, console.width - indent)))
        if beside and lines:
            line.append_text(lines.pop(0))
        line.rstrip()
        console.print(line, soft_wrap=True)
        for more in lines if beside or number else ():
            more.rstrip()
            console.print(Text(" " * indent).append_text(more), soft_wrap=True)


def _cell(title: str, cell: str, plain: bool) -> Text:
    """A cell as text, never as markup: users choose names."""
    from rich.text import Text

    for states, shape, ascii_shape, style in _LOOKS:
        if title in _STATES and cell.partition(" ")[0] in states:
            return Text(f"{ascii_shape if plain else shape} {cell}", style=style)
    return Text(cell)


def duration(seconds: float) -> str:
    """A time as a person reads it."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{max(0, round(seconds))} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if days < 2 else f"{days:.0f} d"
