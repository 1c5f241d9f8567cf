"""Systems that take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.processes import Caller

__all__ = ["asking", "interleaved"]


def interleaved(
    rounds: int, runs: dict[str, Callable[[], float]], *, warm_up: bool = True
) -> dict[str, list[float]]:
    """Run all in turn, ``rounds`` times, after a round that does not count."""
    values: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(-1 if warm_up else 0, rounds):
        for name, run in runs.items():
            value = run()
            if at >= 0:
                values[name].append(value)
    return values


def asking(caller: Caller, measure: str, figure: str, **options: Any) -> Callable[[], float]:
    """Return a function that asks a caller for a figure."""
    return lambda: float(caller.ask(measure, **options)[figure])
