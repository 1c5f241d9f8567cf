from __future__ import annotations

from typing import Any

import pytest

from benchmarks import curve
from benchmarks.curve import Counted, Curve, Point


class Caller:
    """Of a system whose rate follows from the chunksize, and that runs some messages again."""

    def __init__(self, rates: dict[int, float], again: int = 0) -> None:
        self.rates = rates
        self.again = again
        self.executions = 7
        self.bytes = 0

    def ask(self, measure: str, **options: Any) -> dict[str, Any]:
        if measure == "executions":
            return {"executions": self.executions + self.again * (self.executions > 7)}
        self.executions += options["n"]
        self.bytes = max(self.bytes, options["n"] * options["size"])
        if measure == "paced":
            return {"p50": 0.001, "p99": 0.002, "max": 0.003}
        return {"rate": self.rates.get(options.get("chunksize", 1), 1.0)}


def measured(palm: Caller, executor: Caller, size: int = 16) -> Curve:
    found = Curve()
    systems = (Counted(each, 2) for each in (palm, executor))  # type: ignore[arg-type]
    Point(*systems, size, "echo", quick=True).measure(found, "row", "2 workers")
    return found


def test_ratio_is_that_to_the_executors_best_chunksize() -> None:
    rates = {1: 1e4, 4: 4e4, 16: 1e5, 64: 2e5, 256: 1.5e5}
    found = measured(Caller({1: 4e5}), Caller(rates)).tables
    assert found[curve.RATIO]["row"]["2 workers"] == [2.0]
    assert found[curve.CHUNKS]["row"]["2 workers"] == [64]
    assert found[curve.RATES[curve.EXECUTOR]]["row"]["2 workers"] == [1e4]


def test_chunksize_1_may_be_the_best() -> None:
    found = measured(Caller({1: 100.0}), Caller({1: 200.0})).tables
    assert found[curve.RATIO]["row"]["2 workers"] == [0.5]
    assert found[curve.CHUNKS]["row"]["2 workers"] == [1]


def test_runs_of_large_messages_are_bounded() -> None:
    palm, executor = Caller({1: 1e6}), Caller(dict.fromkeys((1, *curve.CHUNK_SIZES), 1e6))
    measured(palm, executor, 1 << 20)
    assert max(palm.bytes, executor.bytes) <= curve.MOST_BYTES


@pytest.mark.parametrize("again", [0, 3])
def test_messages_that_ran_again_are_counted(again: int) -> None:
    counted = Counted(Caller({1: 1.0}, again), 2)  # type: ignore[arg-type]
    counted.ask("rate", n=10, size=16)
    assert counted.runs_again() == again
