"""Figures, and how they look."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "Goal", "Report"]


@dataclass
class Goal:
    """What a figure is compared with: ``value / base`` must be at least, or at most, ``limit``."""

    text: str
    base: float
    limit: float
    at_least: bool

    def ratio(self, value: float) -> float:
        """Return the figure as a multiple of its base."""
        return value / self.base if self.base else float("nan")

    def holds(self, value: float) -> bool:
        """Whether the goal is reached."""
        ratio = self.ratio(value)
        return ratio >= self.limit if self.at_least else ratio <= self.limit


@dataclass
class Figure:
    """One measurement of one system."""

    part: str
    system: str
    value: float
    unit: str
    goal: Goal | None = None
    note: str = ""


@dataclass
class Report:
    """All figures of a run."""

    quick: bool
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    machine: dict[str, Any] = field(default_factory=lambda: _machine())
    figures: list[Figure] = field(default_factory=list)

    def add(
        self, part: str, system: str, value: float, unit: str, goal: Goal | None = None,
        note: str = "",
    ) -> None:  # fmt: skip
        """Take a figure."""
        self.figures.append(Figure(part, system, value, unit, goal, note))

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return part, system, figure, ratio with its goal, and verdict."""
        return [
            (
                figure.part,
                figure.system,
                f"{_number(figure.value)} {figure.unit}",
                _against(figure),
                _verdict(figure),
            )
            for figure in self.figures
        ]

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(box=box.SIMPLE_HEAD, title_justify="left", title=self.headline())
        for name, justify in (
            ("part", "left"), ("system", "left"), ("figure", "right"), ("against", "left"),
            ("goal", "left"),
        ):  # fmt: skip
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        last = ""
        for part, *rest in self.rows():
            if last and part != last:
                table.add_section()
            table.add_row("" if part == last else part, *rest)
            last = part
        console.print(table)

    def markdown(self) -> str:
        """Return the table for a page of the documentation."""
        lines = [self.headline(), "", "| part | system | figure | against | goal |"]
        lines.append("|---|---|---:|---|---|")
        lines += ["| " + " | ".join(row) + " |" for row in self.rows()]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """Return when, where and with what it was measured."""
        machine = self.machine
        packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items())
        short = ", short form" if self.quick else ""
        return (
            f"{self.date[:10]}{short}: {machine['cores']} cores, {machine['memory']} GiB, "
            f"Python {machine['python']}, {packages}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return asdict(self)


def _against(figure: Figure) -> str:
    if figure.goal is None:
        return figure.note
    goal = figure.goal
    sign = ">=" if goal.at_least else "<="
    return f"{goal.ratio(figure.value):.2f} x {goal.text} (goal {sign} {goal.limit:g})"


def _verdict(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return "pass" if figure.goal.holds(figure.value) else "miss"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory": round(pages / 2**30),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("palm-cluster", "pyzmq", "msgspec")},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"


Part = Callable[[Report], None]
