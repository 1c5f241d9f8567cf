"""The panel in JupyterLab while things happen: in a blocking cell, after a kill, shown again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.lab import Lab, Notebook, serve
from tests.support.local import end_clusters

# Playwright's event loop lives as long as the browser, and keeps threads for its files.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.no_leak_check("threads", "descriptors"),
    pytest.mark.timeout(300),
]

CELLS = [
    "%load_ext palm_jupyter",
    "%palm master --name foo -o master",
    """%%palm_worker foo --replicas 3 -o workers
import sys

def say(text):
    print(text, flush=True)
    return text

def complain(text):
    print(text, file=sys.stderr, flush=True)
    return text
""",
    """from palm import Client
client = Client("foo")
said = "<img src=x onerror=alert(1)> \\x1b[31mred\\x1b[0m"
client.job("foo.say", [said] * 12).collect()
client.job("foo.complain", ["it is \\x1b]0;title\\x07 odd"] * 12).collect();
""",
    """import os, signal, time
os.kill(workers.pids[0], signal.SIGKILL)
while not workers.status().processes[0].restarts:
    time.sleep(0.05)
time.sleep(3)
""",
    "master",
    """client.job("foo.say", ["said while the cell runs"] * 12).collect()
time.sleep(3)
""",
]


@pytest.fixture
def lab(palm_home: Path) -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    with serve(folder) as lab:
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, lab.notebooks / "live.ipynb")
        yield lab
    end_clusters()
    shutil.rmtree(folder, ignore_errors=True)


def run_cell(notebook: Notebook, number: int, *, wait: bool = True) -> None:
    notebook.page.evaluate(
        "(n) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n; }", number
    )
    notebook.command("notebook:run-cell")
    if wait:
        wait_for_cell(notebook, number)


def wait_for_cell(notebook: Notebook, number: int) -> None:
    notebook.page.wait_for_function(
        "(n) => { const c = window.jupyterapp.shell.currentWidget.content.widgets[n];"
        " return c.model.executionCount !== null && c.model.executionState !== 'running'; }",
        arg=number,
    )


def test_panel_lives_through_everything(lab: Lab, chromium: Any, screenshots: Path) -> None:
    notebook = Notebook(chromium, lab, "live.ipynb")
    try:
        for number in range(4):
            run_cell(notebook, number)
        panel = notebook.root.locator(".palm-panel")
        assert panel.count() == 1
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        panel.get_by_role("button", name="foo-worker-2").click()
        panel.locator('.palm-text:has-text("<img src=x onerror=alert(1)> red")').first.wait_for()
        panel.locator('.palm-stderr:has-text("it is  odd")').first.wait_for()
        notebook.pictures(screenshots, "live", "ready")
        assert panel.locator("img").count() == 0

        run_cell(notebook, 4, wait=False)  # blocks the kernel's main thread
        panel.locator('.palm-noted:has-text("1")').first.wait_for()
        prompt = notebook.root.locator(".jp-Cell").nth(4).locator(".jp-InputPrompt")
        assert prompt.inner_text() == "[*]:", "the panel tells of the restart while the cell runs"
        panel.get_by_role("button", name="foo-worker-0").click()
        notebook.pictures(screenshots, "live", "busy")
        wait_for_cell(notebook, 4)

        notebook.reload()
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        panel.get_by_role("button", name="foo-worker-2").click()
        panel.locator('.palm-text:has-text("<img src=x onerror=alert(1)> red")').first.wait_for()
        panel.locator('.palm-text:has-text("Got worker push address")').first.wait_for()

        run_cell(notebook, 6, wait=False)  # blocks for as long as the output does not come
        panel.locator('.palm-text:has-text("said while the cell runs")').first.wait_for()
        prompt = notebook.root.locator(".jp-Cell").nth(6).locator(".jp-InputPrompt")
        assert prompt.inner_text() == "[*]:", "output arrives while a cell runs, after a reload too"
        wait_for_cell(notebook, 6)

        run_cell(notebook, 5)
        notebook.root.locator(".jp-Cell").nth(5).locator(".palm-panel").wait_for()
        assert panel.count() == 1, "the earlier panel is frozen: HTML without a widget"
        frozen = notebook.root.locator(".jp-Cell").nth(1)
        assert "as of" in frozen.inner_text() and "foo-worker-2" in frozen.inner_text()
        notebook.pictures(screenshots, "live", "frozen")
        assert notebook.errors() == []
        assert notebook.outside == []
    finally:
        notebook.close()
