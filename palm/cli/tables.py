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
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.table import Table

    console = Console(highlight=False)
    plain = "utf" not in (console.encoding or "").lower()
    table = Table(box=None, header_style="bold", pad_edge=False, safe_box=plain)
    for number, title in enumerate(head):
        # Names are looked for and copied: the text at the end of a row gives way first.
        table.add_column(
            title,
            justify="right" if title in right else "left",
            no_wrap=number == 0 or title in right or title in _STATES,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(title, cell, plain) for title, cell in zip(head, row, strict=True)))
    console.print(table)


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
