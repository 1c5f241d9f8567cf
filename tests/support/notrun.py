"""The table of tests that were not run, and why: the last thing a test run prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest


def not_run(stats: dict[str, list[object]], deselected: int) -> list[str]:
    """Lines ``not run here: TEST because REASON``, variants of one test counted together."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in ("skipped", "xfailed"):
        for report in stats.get(outcome, []):
            if isinstance(report, pytest.TestReport | pytest.CollectReport):
                counts[report.nodeid.partition("[")[0], reason_of(report)] += 1
    if deselected:
        counts[f"{deselected} tests", "they were deselected"] = 1
    return list(table(counts))


def table(counts: Counter[tuple[str, str]]) -> Iterable[str]:
    """One aligned line per test and reason."""
    names = {key: key[0] + (f" (x{count})" if count > 1 else "") for key, count in counts.items()}
    width = max(map(len, names.values()), default=0)
    for (_, reason), name in names.items():
        yield f"not run here: {name:<{width}} because {reason}"


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason that was given with the skip or the expected failure."""
    text = getattr(report, "wasxfail", "")
    if text:
        return f"it is known to fail: {text}"
    if isinstance(report.longrepr, tuple):
        text = report.longrepr[2]
    return " ".join(str(text).removeprefix("Skipped: ").split()) or "no reason was given"
