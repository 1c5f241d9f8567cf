"""What ``palm top`` shows: as many columns as there is room for, in the units that people read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from palm.clusters import ComponentLoad, EdgeLoad, FunctionLoad, Load

__all__ = ["Table", "headline", "number", "tables"]

#: Longest names; where there is little room they are cut to the second before columns are left out.
NAME: Final = 32
SHORT: Final = 20

#: Columns of a terminal that count as much room.
WIDE: Final = 100


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``cell`` makes its text; the higher ``rank`` is, the sooner it is left out."""

    title: str
    cell: Callable[[Any], str]
    rank: int = 0
    left: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Aligned text: a line of titles, and the rows."""

    head: str
    rows: list[str]


def headline(load: Load) -> str:
    """What the cluster as a whole does."""
    n = len(load.components)
    parts = [f"{n} process" if n == 1 else f"{n} processes"]
    sources = [edge for edge in load.edges if edge.role == "client"]
    if sources:
        rates = [edge.rate for edge in sources if edge.rate is not None]
        parts.append(f"clients {number(sum(rates) if rates else None)}/s")
        parts.append(f"open {number(sum(edge.open for edge in sources))}")
        parts.append(f"failed {number(sum(edge.failed for edge in sources))}")
    return f"{cut(load.cluster, SHORT)}: {', '.join(parts)}"


def tables(
    load: Load, width: int, *, functions: bool = False, edges: bool = False, sort: str | None = None
) -> list[Table]:
    """Return the tables of a load, none wider than that."""
    columns = _COMPONENTS if width >= WIDE else (_NAME_AND_STATE, *_COMPONENTS[3:])
    found = [_table(columns, _sorted(load.components, sort), width)]
    if functions:
        found.append(_table(_FUNCTIONS, load.functions, width))
    if edges:
        found.append(_table(_EDGES, _told(load.edges), width))
    return found


def _told(edges: Sequence[EdgeLoad]) -> list[EdgeLoad]:
    """Return the edges that are worth a line: of two ends that count, one is enough."""
    told = {(edge.source, edge.target) for edge in edges if edge.role == "stage"}
    return [
        edge
        for edge in edges
        if (edge.messages or edge.role != "client")
        and (edge.role != "stage before" or (edge.source, edge.target) not in told)
    ]


def _sorted(rows: Sequence[ComponentLoad], sort: str | None) -> list[ComponentLoad]:
    if sort is None:
        return list(rows)
    if sort == "name":
        return sorted(rows, key=lambda row: row.name)
    field = {"in": "rate_in", "out": "rate_out"}.get(sort, sort)
    return sorted(rows, key=lambda row: getattr(row, field) or 0, reverse=True)


def _table(columns: Sequence[Column], rows: Sequence[Any], width: int) -> Table:
    cells = {column.title: [column.cell(row) for row in rows] for column in columns}
    widths = {title: max(map(len, [title, *texts])) for title, texts in cells.items()}
    names = [column.title for column in columns if column.left and column.rank == 0]
    for title in names:
        widths[title] = min(widths[title], max(NAME, len(title)))
    shown = list(columns)
    gap = 2 if width >= WIDE else 1

    def needed() -> int:
        return sum(widths[column.title] for column in shown) + gap * (len(shown) - 1)

    def cut_names(least: int) -> None:
        while needed() > width and max(widths[title] for title in names) > least:
            widths[max(names, key=widths.__getitem__)] -= 1

    cut_names(SHORT)
    while needed() > width and (dropped := max(shown, key=lambda column: column.rank)).rank:
        shown.remove(dropped)
    cut_names(4)

    def line(texts: Sequence[str]) -> str:
        fitted = [
            cut(text, widths[c.title]).ljust(widths[c.title])
            if c.left
            else text.rjust(widths[c.title])
            for c, text in zip(shown, texts, strict=True)
        ]
        return (" " * gap).join(fitted).rstrip()

    head = line([column.title for column in shown])
    return Table(head, [line([cells[c.title][at] for c in shown]) for at in range(len(rows))])


def cut(text: str, width: int) -> str:
    """Shorten a name in its middle: its end may tell it from the others."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}~{text[len(text) - tail :]}"


# Units


def number(value: float | None) -> str:
    """A count, or a rate, in at most five characters."""
    if value is None:
        return "-"
    if value < 10 and value != int(value):
        return f"{value:.1f}" if value >= 0.05 else "0"
    for unit in ("", "k", "M", "G", "T"):
        if value < 9999.5 and not unit:
            return f"{value:.0f}"
        if unit and value < 99.95:
            return f"{value:.1f}{unit}"
        if unit and value < 999.5:
            return f"{value:.0f}{unit}"
        value /= 1000
    return f"{value:.0f}P"


def megabytes(value: float | None) -> str:
    """Bytes a second, as MB/s."""
    if value is None:
        return "-"
    value /= 1e6
    return "0" if value < 0.005 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def size(value: int | None) -> str:
    """Bytes of memory."""
    if value is None:
        return "-"
    mebibytes = value / 2**20
    return f"{mebibytes:.0f}M" if mebibytes < 1000 else f"{mebibytes / 1024:.1f}G"


def span(seconds: float | None) -> str:
    """A time, from microseconds to minutes."""
    if seconds is None:
        return "-"
    for unit, scale in (("us", 1e6), ("ms", 1e3), ("s", 1.0)):
        value = seconds * scale
        if value < 9.95:
            return f"{value:.1f}{unit}" if value else "0"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{seconds / 60:.0f}min"


def percent(value: float | None) -> str:
    """A part of one processor."""
    return "-" if value is None else f"{value:.0f}"


def _latency(row: ComponentLoad | FunctionLoad, seconds: float | None) -> str:
    return span(seconds) if row.received else ""


_NAME_AND_STATE: Final = Column(
    "NAME", lambda row: row.name if row.state == "ready" else f"{row.name} ({row.state})", left=True
)
#: What components and functions have to do.
_LOAD: Final = (
    Column("IN/s", lambda row: number(row.rate_in)),
    Column("OUT/s", lambda row: number(row.rate_out)),
    Column("QUEUED", lambda row: number(row.queued)),
    Column("RUNNING", lambda row: number(row.running)),
    Column("MEAN", lambda row: _latency(row, row.mean), 4),
    Column("P50", lambda row: _latency(row, row.p50), 6),
    Column("P99", lambda row: _latency(row, row.p99)),
    Column("DONE", lambda row: number(row.done), 9),
    Column("FAILED", lambda row: number(row.failed)),
)
_COMPONENTS: Final = (
    Column("NAME", lambda row: row.name, left=True),
    Column("ROLE", lambda row: row.role, 7, left=True),
    Column("STATE", lambda row: row.state, 6, left=True),
    Column("PID", lambda row: str(row.pid or ""), 8),
    Column("CPU%", lambda row: percent(row.cpu)),
    Column("RSS", lambda row: size(row.rss), 5),
    *_LOAD,
)

_FUNCTIONS: Final = (
    Column("COMPONENT", lambda row: row.component, left=True),
    Column("FUNCTION", lambda row: row.function, left=True),
    *_LOAD,
)

_EDGES: Final = (
    Column("FROM", lambda row: row.source, left=True),
    Column("TO", lambda row: row.target, left=True),
    Column("MSG/s", lambda row: number(row.rate)),
    Column("MB/s", lambda row: megabytes(row.throughput)),
    Column("OPEN", lambda row: number(row.open)),
    Column("MEAN", lambda row: "" if row.mean is None else span(row.mean), 4),
    Column("MESSAGES", lambda row: number(row.messages), 9),
    Column("FAILED", lambda row: number(row.failed)),
)
