"""What a process takes of the machine over time, and whether that grows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Bound", "Growth", "Sampler", "growths", "slope"]

MIB = 1024 * 1024


@dataclass(frozen=True)
class Bound:
    """How much something may grow while it is watched, and how much there may be of it."""

    growth: float
    most: float


@dataclass(frozen=True)
class Growth:
    """What became of a quantity: its first and last value on the line through all, its largest."""

    name: str
    first: float
    last: float
    most: float
    an_hour: float
    bound: Bound

    @property
    def holds(self) -> bool:
        """Whether it is within its bounds."""
        return self.last - self.first <= self.bound.growth and self.most <= self.bound.most

    def __str__(self) -> str:
        return (
            f"{self.name:<22} {self.first:>9.1f} -> {self.last:>9.1f}  most {self.most:>9.1f}"
            f"  {self.an_hour:>+9.1f} an hour  (may grow by {self.bound.growth:g}, be"
            f" {self.bound.most:g}) {'ok' if self.holds else 'TOO MUCH'}"
        )


class Sampler:
    """Looks at a process, and at the files of a database, every `every` seconds."""

    def __init__(self, pid: int, database: Path, every: float = 0.5) -> None:
        self.samples: list[tuple[float, dict[str, float]]] = []
        self._process = psutil.Process(pid)
        self._database = database
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self.samples.append((time.monotonic(), self._look()))

    def _look(self) -> dict[str, float]:
        with self._process.oneshot():
            return {
                "memory, MiB": self._process.memory_info().rss / MIB,
                "descriptors": self._process.num_fds(),
                "threads": self._process.num_threads(),
                "database, MiB": size_of(self._database) / MIB,
            }


def size_of(database: Path) -> int:
    """Return the bytes of a database and its journal."""
    found = 0
    for path in database.parent.glob(f"{database.name}*"):
        try:
            found += os.stat(path).st_size
        except FileNotFoundError:
            continue  # the journal goes when nobody uses it
    return found


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the value at the first point, and the growth a second, of the line through points."""
    n = len(points)
    x0 = points[0][0]
    mean_x = sum(x - x0 for x, _ in points) / n
    mean_y = sum(y for _, y in points) / n
    spread = sum((x - x0 - mean_x) ** 2 for x, _ in points)
    rise = sum((x - x0 - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    return mean_y - rise * mean_x, rise


def growths(
    samples: list[tuple[float, dict[str, float]]], bounds: Mapping[str, Bound], warm: float
) -> list[Growth]:
    """Judge samples, of which those of the first share `warm` do not count."""
    counted = samples[int(len(samples) * warm) :]
    found = []
    for name, bound in bounds.items():
        points = [(at, values[name]) for at, values in counted]
        first, rise = slope(points)
        last = first + rise * (points[-1][0] - points[0][0])
        most = max(value for _, value in points)
        found.append(Growth(name, first, last, most, rise * 3600, bound))
    return found
