"""Tables: aligned text for programs and pipes, a little nicer on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

__all__ = ["duration", "show_table"]


def show_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Print rows under their heads; those named in ``right`` are numbers."""
    if sys.stdout.isatty():
        _show_rich(head, rows, right)
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _show_rich(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in head:
        table.add_column(title, justify="right" if title in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # names are text, never markup
    Console().print(table)


def duration(seconds: float) -> str:
    """A time as a person reads it."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{max(0, round(seconds))} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if days < 2 else f"{days:.0f} d"
