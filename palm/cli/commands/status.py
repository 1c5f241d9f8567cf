"""``palm status``."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence

import msgspec

from palm.cli.failures import OK
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, live_records

__all__ = ["run"]

_HEAD = ("NAME", "ROLE", "PID", "UP", "MASTER", "FUNCTIONS")


def run(arguments: Namespace) -> int:
    """Show what runs in the cluster."""
    folders = Folders.find()
    records = live_records(folders)
    if arguments.json:
        components = [msgspec.to_builtins(record) for record in records]
        print(json.dumps({"cluster": folders.cluster, "components": components}, indent=2))
    elif not records:
        print(f"nothing runs in cluster {folders.cluster!r}")
    else:
        _show([_row(record) for record in _ordered(records)])
    return OK


def _ordered(records: Sequence[ComponentRecord]) -> list[ComponentRecord]:
    """Masters, each before its workers."""
    return sorted(records, key=lambda r: (r.master or r.name, bool(r.master), r.name))


def _row(record: ComponentRecord) -> tuple[str, ...]:
    functions = ", ".join(record.functions)
    up = _duration(time.time() - record.start_time)
    return (record.name, record.role, str(record.pid), up, record.master, functions)


def _duration(seconds: float) -> str:
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{max(0, round(seconds))} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if days < 2 else f"{days:.0f} d"


def _show(rows: Sequence[tuple[str, ...]]) -> None:
    if sys.stdout.isatty():
        _show_table(rows)
        return
    widths = [max(len(row[i]) for row in (_HEAD, *rows)) for i in range(len(_HEAD))]
    for row in (_HEAD, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _show_table(rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console  # slow to load, and of use on a terminal only
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in _HEAD:
        table.add_column(head, justify="right" if head in ("PID", "UP") else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # names are text, never markup
    Console().print(table)
