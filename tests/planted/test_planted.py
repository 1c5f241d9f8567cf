"""Bugs planted by somebody who had not seen what is checked: the tests find each of them.

`found.json` says where each shows first, so that not all has to be looked through each time. Where
a change of palm or of the simulation moved that, the bug is looked for from the first seed on.
"""

from __future__ import annotations

import json

import pytest

from tests.planted.copies import FOUND, bugs, planted, run

#: Seconds in which a bug must be found that does not show where it did.
HUNT = 120

FINDINGS: dict[str, str] = json.loads(FOUND.read_text())


def test_there_are_at_least_twenty() -> None:
    assert len(bugs()) >= 20
    assert set(FINDINGS) == set(bugs())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", bugs())
def test_bug_is_found(bug: str) -> None:
    with planted(bug) as copy:
        if run(copy, FINDINGS[bug]).strip():
            return
        where = run(copy, "--hunt", str(HUNT)).strip()
    assert where, f"not found within {HUNT} s"


@pytest.mark.timeout(300)
def test_nothing_shows_there_without_the_bugs() -> None:
    findings = sorted(set(FINDINGS.values()))
    with planted("") as copy:
        shown = run(copy, *findings).splitlines()
    assert dict(zip(findings, shown, strict=True)) == dict.fromkeys(findings, "")
