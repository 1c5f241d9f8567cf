"""Pictures of a report, as SVG; what was not measured in its run is not drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import curve
from benchmarks.peers import parts as table
from benchmarks.report import Report

__all__ = ["draw"]

#: Colours that can be told apart by everybody: palm's, its yardstick's, everybody else's.
PALM, EXECUTOR, OTHERS = "#0072b2", "#d55e00", "#7f7f7f"

#: A line for each number of workers, from light to dark.
STRENGTHS = (0.35, 0.55, 0.75, 1.0)

#: Characters of a line of the caption for each inch of the width, and the inches that two take.
CAPTION, CAPTION_HEIGHT = 19, 0.36

#: The largest multiple that has a colour of its own in the heat map.
MOST = 8.0

#: White behind everything, so that they can be read on pages of any colour.
STYLE = {
    "svg.hashsalt": "palm", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "white", "savefig.facecolor": "white",
}  # fmt: skip

Rows = dict[str, dict[str, float]]


def draw(report: Report, folder: Path) -> dict[Path, str]:
    """Draw what the report has figures for; return the files, and what each shows."""
    import matplotlib as mpl  # of the lab extra, and only for this

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    with mpl.rc_context(STYLE):
        for name, picture in PICTURES.items():
            figure = picture(report)
            if figure is None:
                continue
            width, _ = figure.get_size_inches()
            text = textwrap.fill(report.headline(), int(CAPTION * width))
            figure.text(0.01, 0.01, text, fontsize=6.5, color="#555555", va="bottom")
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            drawn[path] = str(picture.__doc__)
    return drawn


def throughput(report: Report) -> Any:
    """16-byte messages a second of palm and its peers, on a logarithmic axis."""
    rows = _systems_with(report, table.EACH)
    if not rows:
        return None
    figure, axes = _subplots(7.5, 0.9 + 0.42 * len(rows))
    for at, (name, row) in enumerate(reversed(rows.items())):
        fast, each = row.get(table.FAST, row[table.EACH]), row[table.EACH]
        axes.barh(at + 0.19, fast, 0.36, color=_colour(name))
        axes.barh(at - 0.19, each, 0.36, color=_colour(name), alpha=0.45)
        axes.text(fast * 1.1, at + 0.19, f"{fast:,.0f}", va="center", fontsize=8)
        axes.text(each * 1.1, at - 0.19, f"{each:,.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), list(reversed(rows)))
    axes.set(xscale="log", xlabel="messages of 16 bytes a second, two workers")
    axes.margins(x=0.15)
    axes.set_title(
        "Dark: the way each offers for many small calls; light: every message on its own",
        fontsize=9, loc="left",
    )  # fmt: skip
    return figure


def latency(report: Report) -> Any:
    """Single calls of palm and its peers, p50 and p99."""
    rows = _systems_with(report, table.P50)
    if not rows:
        return None
    figure, axes = _subplots(7.5, 0.9 + 0.32 * len(rows))
    for at, (name, row) in enumerate(reversed(rows.items())):
        p50, p99 = row[table.P50], row[table.P99]
        axes.plot([p50, p99], [at, at], color=_colour(name), linewidth=2, alpha=0.5)
        axes.plot(p50, at, "o", color=_colour(name))
        axes.plot(p99, at, "|", color=_colour(name), markersize=12, markeredgewidth=2)
        axes.text(p99 * 1.12, at, f"{p50:,.0f} / {p99:,.0f}", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), list(reversed(rows)))
    axes.set(xscale="log", xlabel="microseconds from call to result, idle cluster")
    axes.margins(x=0.25)
    axes.set_title("One call at a time: p50 (dot) and p99 (bar)", fontsize=9, loc="left")
    return figure


def by_work(report: Report) -> Any:
    """Messages a second of palm and the executor's best, by size, work and workers."""
    found = {name: _grid(report, curve.RATES[name]) for name in curve.RATES}
    palm, best = found[curve.PALM], _better(found[curve.EXECUTOR], found[curve.BEST])
    sizes = [size for size in curve.SIZES.values() if any(_is_of(row, size) for row in palm)]
    if not sizes:
        return None
    figure, axes = _subplots(9.5, 3.6, columns=len(sizes), sharey=True, squeeze=False)
    panels = axes[0]
    for panel, size in zip(panels, sizes, strict=True):
        works = [work for work in curve.WORKS.values() if f"{size}, {work}" in palm]
        for rows, colour, style, name in (
            (best, EXECUTOR, "s--", "executor"), (palm, PALM, "o-", "palm"),
        ):  # fmt: skip
            columns = list(rows[f"{size}, {works[0]}"])
            strengths = STRENGTHS[-len(columns) :]
            for column, strength in zip(columns, strengths, strict=True):
                values = [rows[f"{size}, {work}"][column] for work in works]
                panel.plot(
                    range(len(works)), values, style, color=colour, alpha=strength,
                    markersize=4, linewidth=1.3, label=f"{name}, {column}",
                )  # fmt: skip
        panel.set_xticks(range(len(works)), works, fontsize=8)
        panel.set(yscale="log", title=size, xlabel="sleep of a message")
        panel.grid(axis="y", color="#dddddd")
    panels[0].set_ylabel("messages a second")
    panels[-1].legend(fontsize=6.5, frameon=False, loc="upper right")
    return figure


def ratio(report: Report) -> Any:
    """Messages a second of palm over the executor's best: blue where palm is faster."""
    import numpy as np

    rows = _grid(report, curve.RATIO)
    if not rows:
        return None
    columns = list(next(iter(rows.values())))
    values = np.array([[row[column] for column in columns] for row in rows.values()])
    figure, axes = _subplots(6.5, 1.2 + 0.27 * len(rows))
    limit = np.log2(MOST)
    axes.imshow(np.log2(values), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for (at, column), value in np.ndenumerate(values):
        pale = abs(np.log2(value)) < 0.6 * limit
        axes.text(
            column, at, f"{value:.2f}", ha="center", va="center", fontsize=8,
            color="black" if pale else "white",
        )  # fmt: skip
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(
        "messages/s of palm over the executor's best: blue where palm is faster, red where not",
        fontsize=9, loc="right",
    )  # fmt: skip
    return figure


def growth(report: Report) -> Any:
    """What a message costs the rules of the master, as clusters grow."""
    from benchmarks.parts import GROWTH

    costs = {each.system: each.value for each in report.figures if each.part == GROWTH}
    if not costs:
        return None
    figure, axes = _subplots(7.5, 0.9 + 0.32 * len(costs))
    for at, cost in enumerate(reversed(costs.values())):
        axes.barh(at, cost, 0.6, color=PALM)
        axes.text(cost, at, f" {cost:.3g}", va="center", fontsize=8)
    axes.set_yticks(range(len(costs)), list(reversed(costs)))
    axes.set_xlabel("function calls of the master's rules for a message")
    axes.margins(x=0.1)
    return figure


PICTURES: dict[str, Callable[[Report], Any]] = {
    "throughput": throughput,
    "latency": latency,
    "curve": by_work,
    "ratio": ratio,
    "growth": growth,
}


def _subplots(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a figure of so many inches with room for the caption, and its panels."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    below = CAPTION_HEIGHT / height
    layout = ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below))
    figure = Figure(figsize=(width, height), layout=layout)
    return figure, figure.subplots(1, columns, **options)


def _grid(report: Report, name: str) -> Rows:
    """Return the values of a grid, empty if it is not there."""
    rows: Rows = {}
    for grid in report.grids:
        for figure in grid.figures if grid.name == name else ():
            rows.setdefault(figure.part, {})[figure.system] = figure.value
    return rows


def _systems_with(report: Report, column: str) -> Rows:
    """Return the rows of the table of peers that have a figure in a column."""
    rows = _grid(report, table.TABLE)
    return {name: row for name, row in rows.items() if column in row}


def _better(first: Rows, second: Rows) -> Rows:
    return {
        row: {column: max(value, second[row][column]) for column, value in values.items()}
        for row, values in first.items()
    }


def _is_of(row: str, size: str) -> bool:
    return row.startswith(f"{size}, ")


def _colour(name: str) -> str:
    if name.startswith("palm"):
        return PALM
    return EXECUTOR if name.startswith("ProcessPool") else OTHERS
