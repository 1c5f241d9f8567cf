"""The quickstart in real JupyterLab: it runs, its panel lives, and one can read it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import ROOT, Lab, Notebook, serve
from tests.support.local import end_clusters

# Playwright's event loop lives as long as the browser, and keeps threads for its files.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.no_leak_check("threads", "descriptors"),
    pytest.mark.timeout(300),
]

# Elements of panels and of their surroundings whose text is cut off.
CLIPPED = """() => [...document.querySelectorAll('.palm-panel, .palm-panel *')].filter((node) => {
  // Long lines of output are scrolled to.
  if (!node.offsetParent || node.closest('.palm-hidden, .palm-log')) return false;
  const hides = getComputedStyle(node).overflowX !== 'visible';
  return hides && node.scrollWidth > node.clientWidth + 1;
}).map((node) => `${node.className}: ${node.textContent.slice(0, 40)}`)"""


@pytest.fixture
def lab(palm_home: Path) -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    with serve(folder) as lab:
        shutil.copy(ROOT / "notebooks" / "quickstart.ipynb", lab.notebooks)
        yield lab
    end_clusters()
    shutil.rmtree(folder, ignore_errors=True)


#: Texts of the cells that are looked at, and what their pictures are called.
LOOKED_AT = {
    "A master": "master",
    "A job": "job",
    "What came out": "summary",
    "import matplotlib": "plot",
    "Looking after": "status",
}


def test_quickstart_runs_in_jupyterlab(lab: Lab, chromium: Any, screenshots: Path) -> None:
    notebook = Notebook(chromium, lab, "quickstart.ipynb")
    try:
        notebook.run_all()
        for cell, state in LOOKED_AT.items():
            target = notebook.root.locator(f'.jp-Cell:has-text("{cell}")').first
            target.evaluate("(n) => n.scrollIntoView({ block: 'start' })")
            notebook.pictures(screenshots, "quickstart", state)
        assert notebook.errors() == []
        assert notebook.outside == []
        panel = notebook.root.locator(".palm-panel")
        assert panel.count() == 1, "one live panel, the earlier one is frozen"
        names = panel.locator(".palm-name").all_inner_texts()
        assert names == ["foo", "foo-worker", "foo-worker-0", "foo-worker-1"]
        assert panel.locator(".palm-log .palm-line").count() > 0
        assert notebook.page.evaluate(CLIPPED) == []
        assert notebook.page.locator(".Toastify__toast").count() == 0
        notebook.restart_and_run_all()
        assert notebook.errors() == []
    finally:
        notebook.close()
