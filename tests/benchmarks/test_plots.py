from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import curve
from benchmarks.parts import GROWTH
from benchmarks.peers import parts as table
from benchmarks.plots import draw
from benchmarks.report import Report


def test_nothing_is_drawn_of_what_was_not_measured(tmp_path: Path) -> None:
    assert draw(Report(quick=True), tmp_path) == {}


@pytest.mark.slow
def test_every_picture_says_when_and_with_what_it_was_measured(tmp_path: Path) -> None:
    report = Report(quick=True)
    report.add(GROWTH, "calls", {"2 workers": [20.0], "1,000 workers": [20.5]})
    row = {table.EACH: [1e3], table.FAST: [1e6], table.P50: [200.0], table.P99: [900.0]}
    report.add_grid(table.TABLE, "two workers", {"palm, ipc": row, "Dask": {table.FIRST: [1.0]}})
    rows = {
        f"16 B, {work}": {"1 worker": [2.0], "2 workers": [3.0]} for work in ("no work", "1 ms")
    }
    for name in (*curve.RATES.values(), curve.RATIO):
        report.add_grid(name, "", rows)
    drawn = draw(report, tmp_path)
    assert [path.stem for path in drawn] == ["throughput", "latency", "curve", "ratio", "growth"]
    for path in drawn:
        assert f"<!-- {report.date[:10]}" in path.read_text()  # the text of the caption
