"""What axe finds in a page that keeps people out."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

__all__ = ["violations"]

#: All of ours in a page.
OURS = ".palm-panel, .palm-snapshot, .palm-live, .palm-plain"


def violations(page: Any) -> list[str]:
    """What is serious in our parts of a page: a rule, an element, and what is to be done."""
    found = Axe().run(page, OURS).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
