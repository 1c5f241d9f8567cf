"""Figures, and how they look."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, Self

from rich.console import Console

__all__ = ["Figure", "Goal", "Report"]

#: Between these lines a page is written anew by ``--markdown``.
BEGIN, END = "<!-- figures: written by --markdown -->", "<!-- end of figures -->"

COLUMNS = (
    "part", "system", "median", "lowest .. highest", "x relay", "x exec.", "goal", "", "note",
)  # fmt: skip

#: Which of them are aligned to the right; what a narrow terminal gets not; what not every run has.
NUMBERS, RANGE, OPTIONAL = range(2, 6), 3, range(4, 9)

LEGEND = (
    "executor: concurrent.futures.ProcessPoolExecutor; Pool: multiprocessing.Pool; raw relay: bare "
    "pyzmq, see benchmarks/relay.py. x relay, x exec.: multiples of theirs in the same rounds (of "
    "the throughput: of chunksize 1000)."
)

#: Characters of a terminal that has room for all columns.
WIDE = 110


@dataclass
class Goal:
    """A bound for a figure, as a multiple of ``base`` (another system) or absolute."""

    limit: float
    at_least: bool = False
    base: str = ""

    def reached(self, value: float, base: float) -> float:
        """Return the multiple that is compared with the limit."""
        return value / base if self.base else value

    def holds(self, value: float, base: float) -> bool:
        """Whether the goal is reached."""
        reached = self.reached(value, base)
        return reached >= self.limit if self.at_least else reached <= self.limit


@dataclass
class Figure:
    """What the runs of one system gave."""

    part: str
    system: str
    runs: list[float]
    unit: str
    x_relay: float | None = None
    x_executor: float | None = None
    goal: str = ""
    #: The figure in the unit of its goal.
    reached: float | None = None
    passed: bool | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.runs)


@dataclass
class Grid:
    """Figures of which the part is a row, and the system a column; some may be missing."""

    name: str
    unit: str
    figures: list[Figure] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    #: On a page it is shown to those who want it.
    folded: bool = False

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells, with those of the head."""
        systems = list(dict.fromkeys(figure.system for figure in self.figures))
        values = {(figure.part, figure.system): figure.value for figure in self.figures}
        parts = list(dict.fromkeys(figure.part for figure in self.figures))
        head = (f"{self.name} ({self.unit})", *systems)
        noted = [""] if self.notes else []
        return [
            (*head, *noted),
            *(
                (
                    part,
                    *(_cell(values.get((part, system))) for system in systems),
                    *(self.notes.get(part, "") for _ in noted),
                )
                for part in parts
            ),
        ]

    def markdown(self) -> list[str]:
        """Return the lines of a page."""
        rows = self.rows()
        table = _table(rows, range(1, len(rows[0]) - bool(self.notes)))
        if not self.folded:
            return table
        return ["<details>", f"<summary>{rows[0][0]}</summary>", "", *table, "", "</details>"]


@dataclass
class Report:
    """All figures of a run."""

    quick: bool
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, Any] = field(default_factory=lambda: _machine())
    figures: list[Figure] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    #: Sentences on what is missing.
    remarks: list[str] = field(default_factory=list)

    def add(
        self,
        part: str,
        unit: str,
        runs: dict[str, list[float]],
        goals: dict[str, Goal] | None = None,
        *,
        relay: str = "",
        executor: str = "",
        note: str = "",
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Take the runs of each system of a part.

        ``relay`` and ``executor`` name the systems that the others are compared with; ``note`` is
        of the part, ``notes`` are of its systems.
        """
        values = {system: median(row) for system, row in runs.items()}
        for system, row in runs.items():
            said = "; ".join(text for text in (note, (notes or {}).get(system, "")) if text)
            figure = Figure(part, system, row, unit, note=said)
            note = ""  # it is of the part, and said once
            if relay and system != relay:
                figure.x_relay = values[system] / values[relay]
            if executor and system != executor:
                figure.x_executor = values[system] / values[executor]
            goal = (goals or {}).get(system)
            if goal is not None:
                base = values.get(goal.base, 1.0)
                figure.goal = _goal(goal, unit)
                figure.reached = goal.reached(values[system], base)
                figure.passed = goal.holds(values[system], base)
            self.figures.append(figure)

    def add_grid(
        self,
        name: str,
        unit: str,
        runs: dict[str, dict[str, list[float]]],
        notes: dict[str, str] | None = None,
        *,
        folded: bool = False,
    ) -> None:
        """Take the runs of each system (a column) for each part (a row), with a note on the row."""
        grid = Grid(name, unit, notes=notes or {}, folded=folded)
        for part, row in runs.items():
            for system, values in row.items():
                grid.figures.append(Figure(part, system, values, unit))
        self.grids.append(grid)

    def warn(self, sentence: str) -> None:
        """Say at once that something is missing, and again under the tables."""
        print(f"\n{sentence}", file=sys.stderr, flush=True)
        self.remarks.append(sentence)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of each figure, by `COLUMNS`; under them, those of the head first."""
        return [COLUMNS, *self._figure_rows()]

    def _figure_rows(self) -> list[tuple[str, ...]]:
        return [
            (
                figure.part,
                figure.system,
                f"{_number(figure.value)} {figure.unit}",
                _range(figure.runs),
                _multiple(figure.x_relay),
                _multiple(figure.x_executor),
                figure.goal,
                "" if figure.passed is None else "pass" if figure.passed else "miss",
                figure.note,
            )
            for figure in self.figures
        ]

    def show(self, console: Console) -> None:
        """Print the tables; a narrow terminal gets no ranges."""
        console.print(f"\n{self.headline()}\n", soft_wrap=True)
        if self.figures:
            self._show_figures(console)
        for grid in self.grids:
            _show_grid(console, grid)
        for remark in self.remarks:
            console.print(f"\n{remark}", style="dim")
        if any(figure.x_relay or figure.x_executor for figure in self.figures):
            console.print(f"\n{LEGEND}", style="dim")
        judged = [figure.passed for figure in self.figures if figure.passed is not None]
        if judged:
            console.print(f"{sum(judged)} of {len(judged)} goals reached; a miss is no failure.")

    def _show_figures(self, console: Console) -> None:
        rows = self.rows()
        shown = [at for at in _used(rows)[1:] if at != RANGE or console.width >= WIDE]
        widths = {at: max(len(row[at]) for row in rows) for at in shown}
        last = ""
        for part, group in groupby(rows, key=lambda row: row[0]):
            if part != COLUMNS[0]:
                console.print(f"{last}{part}", style="bold")
                last = "\n"
            for row in group:
                cells = (
                    row[at].rjust(widths[at]) if at in NUMBERS else row[at].ljust(widths[at])
                    for at in shown
                )
                console.print("  " + "  ".join(cells).rstrip(), soft_wrap=True)

    def write_markdown(self, path: Path, pictures: dict[Path, str] | None = None) -> None:
        """Write the tables, between the two lines that mark their place or as a whole file.

        ``pictures`` follow, with what each shows.
        """
        text = self.markdown()
        for picture, shows in (pictures or {}).items():
            text += f"\n![{shows}]({os.path.relpath(picture, path.parent)})\n"
        old = path.read_text() if path.exists() else ""
        if BEGIN in old and END in old:
            head, tail = old.partition(BEGIN)[0], old.partition(END)[2]
            text = f"{head}{BEGIN}\n\n{text}\n{END}{tail}"
        path.write_text(text)

    def markdown(self) -> str:
        """Return the tables for a page of the documentation."""
        lines = [self.headline(), ""]
        if self.figures:
            rows = self.rows()
            used = _used(rows)
            lines += [
                *_table([tuple(row[at] for at in used) for row in rows],
                        [at for at, column in enumerate(used) if column in NUMBERS]),
                "",
            ]  # fmt: skip
        for grid in self.grids:
            lines += [*grid.markdown(), ""]
        for remark in self.remarks:
            lines += [remark, ""]
        if any(figure.x_relay or figure.x_executor for figure in self.figures):
            lines += [LEGEND, ""]
        return "\n".join(lines)

    def headline(self) -> str:
        """Return when, where and with what it was measured."""
        machine = self.machine
        packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
        short = ", short form" if self.quick else ""
        return (
            f"{self.date[:16].replace('T', ' ')} UTC{short}: {machine['cores']} cores "
            f"({machine['processor']}), {machine['memory']} GiB, load {machine['load']:.1f} at the "
            f"start{self._load_at_end()}, Python {machine['python']}, {packages}"
        )

    def end(self) -> None:
        """Note what else the machine does at the end."""
        self.machine["load_at_end"] = os.getloadavg()[0]

    def _load_at_end(self) -> str:
        load = self.machine.get("load_at_end")
        return "" if load is None else f" and {load:.1f} at the end"

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """Return the report of an earlier run."""
        grids = [
            Grid(**{**grid, "figures": [Figure(**figure) for figure in grid["figures"]]})
            for grid in found["grids"]
        ]
        figures = [Figure(**figure) for figure in found["figures"]]
        return cls(**{**found, "figures": figures, "grids": grids})


def _used(rows: list[tuple[str, ...]]) -> list[int]:
    """Return the columns in which there is something."""
    columns = range(len(COLUMNS))
    return [at for at in columns if at not in OPTIONAL or any(row[at] for row in rows[1:])]


def _show_grid(console: Console, grid: Grid) -> None:
    head, *rows = grid.rows()
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    console.print(f"\n{head[0]}", style="bold")
    for row in (("", *head[1:]), *rows):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        console.print("  " + "  ".join([first.strip().ljust(widths[0]), *rest]), soft_wrap=True)


def _table(rows: list[tuple[str, ...]], numbers: Iterable[int]) -> list[str]:
    """Return lines of Markdown; the first row is the head."""
    right = set(numbers)
    aligned = ["---:" if at in right else "---" for at in range(len(rows[0]))]
    return [_line(rows[0]), f"|{'|'.join(aligned)}|", *map(_line, rows[1:])]


def _goal(goal: Goal, unit: str) -> str:
    sign = ">=" if goal.at_least else "<="
    what = f"x {re.split('[,(]', goal.base)[0].strip()}" if goal.base else unit
    return f"{sign} {goal.limit:g} {what}"


def _cell(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _range(runs: list[float]) -> str:
    return f"{_number(min(runs))} .. {_number(max(runs))}" if len(runs) > 1 else ""


def _multiple(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = ("palm-cluster", "pyzmq", "msgspec")
    return {
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "processor": _processor(),
        "memory": round(pages / 2**30),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {**{name: _version(name) for name in names}, "libzmq": _libzmq()},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


def _libzmq() -> str:
    import zmq

    return zmq.zmq_version()
