from __future__ import annotations

from typing import Any

import pytest

from benchmarks.mixed import WORKERS, ideal, lengths


class Late:
    """A process that sleeps a millisecond longer than it should."""

    def ask(self, measure: str, *, microseconds: list[int]) -> dict[str, Any]:
        return {"seconds": sum(microseconds) / 1e6 + 0.001 * len(microseconds)}


def test_lengths_are_the_same_each_time_and_of_all_kinds() -> None:
    found = lengths(1000)
    assert found == lengths(1000)
    assert 100 <= min(found) < 200
    assert 50_000 < max(found) <= 100_000
    assert 400 < sum(length < 3162 for length in found) < 600  # the middle, as logarithms go


def test_ideal_is_an_even_share_of_what_sleeping_really_takes() -> None:
    tasks = [10_000] * 80
    assert ideal(Late(), tasks) == pytest.approx(80 * 0.011 / WORKERS)  # type: ignore[arg-type]


def test_ideal_is_not_shorter_than_the_longest_task() -> None:
    assert ideal(Late(), [10_000, 1_000]) == pytest.approx(0.011)  # type: ignore[arg-type]
