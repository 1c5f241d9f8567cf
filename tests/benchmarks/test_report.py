from __future__ import annotations

import json
from math import inf
from pathlib import Path

from benchmarks.report import BEGIN, END, Goal, Report


def report_with_a_grid() -> Report:
    report = Report(quick=True)
    report.add("throughput", "/s", {"palm": [3.0, 1.0], "other": [1.0]}, {"palm": Goal(2, True)})
    rows = {"16 B": {"1 worker": [1.0], "2 workers": [2.0]}, "1 KiB": {"1 worker": [3.0]}}
    report.add_grid("curve", "messages/s", rows, folded=True)
    return report


def test_notes_of_systems_follow_that_of_their_part() -> None:
    report = Report(quick=False)
    report.add("join", "s", {"a": [1.0], "b": [inf]}, note="all", notes={"b": "3 of 9 after 45 s"})
    assert [figure.note for figure in report.figures] == ["all", "3 of 9 after 45 s"]
    assert "inf s" in report.markdown()


def test_report_comes_back_from_json() -> None:
    report = report_with_a_grid()
    again = Report.from_dict(json.loads(json.dumps(report.as_dict())))
    assert again == report
    assert again.markdown() == report.markdown()


def test_cell_that_was_not_measured_is_a_dash() -> None:
    (grid,) = report_with_a_grid().grids
    assert grid.rows()[-1] == ("1 KiB", "3", "-")


def test_folded_grid_is_shown_to_those_who_want_it() -> None:
    (grid,) = report_with_a_grid().grids
    lines = grid.markdown()
    assert lines[:3] == ["<details>", "<summary>curve (messages/s)</summary>", ""]
    assert lines[-1] == "</details>"


def test_warning_is_said_at_once_and_kept(capsys) -> None:
    report = Report(quick=True)
    report.warn("Ray did not start")
    assert "Ray did not start" in capsys.readouterr().err
    assert report.remarks == ["Ray did not start"]


def test_page_keeps_its_text_and_shows_pictures_by_their_way_from_it(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    picture = page.parent / "images" / "ratio.svg"
    report_with_a_grid().write_markdown(page, {picture: "Palm over the others."})
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n20")
    assert text.endswith(f"\n\n![Palm over the others.](images/ratio.svg)\n\n{END}\nafter\n")
    assert "old" not in text
