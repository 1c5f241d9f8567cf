"""Make the pictures of the panel for the documentation, in ``docs/images/panel``.

They are of a real cluster in a real JupyterLab, so they have to be made again when the panel
changes: ``.venv/bin/python tools/screenshots.py``, in the environment of the tests. A part of the
panel and a theme make a picture, ``output-dark.png``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import FLAGS  # noqa: E402 - found by the line above
from tests.browser.lab import IS_LIGHT, THEME, THEMES, Notebook, serve  # noqa: E402
from tests.support.requirements import missing_chromium, require_chromium  # noqa: E402

PICTURES = ROOT / "docs" / "images" / "panel"
#: Pixels of the window; the panel is as wide as an output in it.
WIDTH, HEIGHT = 1300, 1500
#: Bytes of one picture at most, as they are in every clone.
MOST = 200_000

STAGES = """
import ast, re, tokenize

def read(path):
    with tokenize.open(path) as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            yield {"function": node.name, "text": ast.get_docstring(node)}

def count(function):
    return {"function": function["function"], "words": function["words"]}
"""
CELLS = [
    "%load_ext palm_jupyter",
    "%palm server stages.py --name reader --pipelined;",
    "%palm hub --name texts --previous reader --pipelined;",
    "%palm sink stages.py --name counter --previous texts;",
    """%%palm_worker texts --replicas 3 -o workers;
import difflib
import time

def compare(function):
    text, name = function["text"], function["function"]
    likeness = difflib.SequenceMatcher(None, name, text).ratio()
    words = len(text.split())
    print(f"{likeness:6.1%}  {name:32} {words:5,} words")
    time.sleep(0.005)
    return {"function": name, "words": words}
""",
    "%palm dashboard",
    """import sysconfig
from pathlib import Path
from palm import Client

library = Path(sysconfig.get_path("stdlib"))
paths = [str(path) for path in sorted(library.glob("*.py"))] * 20
client = Client("reader")
job = client.job(["reader.read", "texts.compare", "counter.count"], paths)
job""",
    """import os, signal
os.kill(workers.pids[1], signal.SIGKILL)
while not workers.status().processes[1].restarts:
    job.wait(timeout=0.05)
workers.wait_ready();""",
]
DASHBOARD, JOB, KILL = 5, 6, 7
#: A cell has been run.
DONE = """(n) => {
  const { model } = window.jupyterapp.shell.currentWidget.content.widgets[n];
  return model.executionCount !== null && model.executionState !== 'running';
}"""


@contextmanager
def notebook(home: Path) -> Iterator[Notebook]:
    """Open a notebook with a cluster in it, in folders of its own; end all of it."""
    from playwright import sync_api  # only where a browser is there

    with serve(home / "lab") as lab, sync_api.sync_playwright() as playwright:
        (lab.notebooks / "stages.py").write_text(STAGES)
        cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        stored = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(stored, lab.notebooks / "panel.ipynb")
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=FLAGS)
        try:
            opened = Notebook(browser, lab, "panel.ipynb")
            opened.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            opened.page.evaluate(
                "async () => { await window.jupyterapp.commands.execute"
                "('application:toggle-left-area'); }"
            )
            opened.page.set_default_timeout(60_000)
            yield opened
        finally:
            browser.close()
            command = [sys.executable, "-m", "palm", "down"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def run(notebook: Notebook, number: int) -> None:
    """Run a cell, and wait for its end."""
    notebook.page.evaluate(
        "(n) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n; }", number
    )
    notebook.command("notebook:run-cell")
    notebook.page.wait_for_function(DONE, arg=number)


def take(notebook: Notebook, part: Any, name: str) -> Iterator[Path]:
    """Yield a picture of a part of the page in each theme."""
    for theme in THEMES:
        notebook.page.evaluate(THEME, THEMES[theme])
        notebook.page.wait_for_function(f"() => {IS_LIGHT} === '{str(theme == 'light').lower()}'")
        notebook.page.locator("#jupyterlab-splash").wait_for(state="detached")
        path = PICTURES / f"{name}-{theme}.png"
        part.screenshot(path=str(path), animations="disabled")
        yield path


def take_all(notebook: Notebook) -> Iterator[Path]:
    """Yield the pictures, while the cluster works and loses a worker."""
    for number in range(JOB + 1):
        run(notebook, number)
    panel, card = (
        notebook.root.locator(".palm-panel:not(.palm-job)"),
        notebook.root.locator(".palm-job"),
    )
    card.locator(".palm-share").first.wait_for()
    panel.get_by_role("button", name="texts-worker", exact=True).click()
    panel.locator(".palm-log .palm-line").nth(8).wait_for()
    rows = panel.locator("tbody tr")  # up for some time, so that there are curves
    rows.filter(has_text=re.compile(r"0:[3-5]\d|[1-9]:\d\d")).first.wait_for()
    yield from take(notebook, panel, "output")
    yield from take(notebook, card, "job")
    panel.get_by_role("tab", name="Topology").click()
    panel.locator(".palm-edge").nth(3).wait_for()
    yield from take(notebook, panel, "topology")
    run(notebook, KILL)
    panel.locator('.palm-noted:has-text("1")').first.wait_for()
    panel.get_by_role("button", name="texts-worker-1").click()
    panel.get_by_role("tab", name="Output").click()
    yield from take(notebook, panel, "details")
    panel.get_by_role("button", name="texts", exact=True).click()
    panel.get_by_role("tab", name="Load").click()
    # All of JupyterLab, from the cell that shows the panel on.
    notebook.page.set_viewport_size({"width": WIDTH, "height": 760})
    cell = notebook.root.locator(".jp-Cell").nth(DASHBOARD)
    cell.evaluate("(node) => node.scrollIntoView({ block: 'start' })")
    yield from take(notebook, notebook.page, "dashboard")


def main() -> int:
    """Make all pictures; 1 if that cannot be done, or one is too large."""
    missing = missing_chromium()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    home = Path(tempfile.mkdtemp(prefix="palm-", dir="/tmp"))  # short, for the sockets in it
    os.environ |= {"PALM_RUN_DIR": str(home / "run"), "PALM_STATE_DIR": str(home / "state")}
    PICTURES.mkdir(parents=True, exist_ok=True)
    try:
        with notebook(home) as opened:
            sizes = {path: path.stat().st_size for path in take_all(opened)}
    finally:
        shutil.rmtree(home, ignore_errors=True)
    for path, size in sizes.items():
        print(f"{path.relative_to(ROOT)}  {size / 1000:.0f} kB" + " TOO LARGE" * (size > MOST))
    return int(max(sizes.values()) > MOST)


if __name__ == "__main__":
    sys.exit(main())
