"""The panel in JupyterLab while things happen: in a blocking cell, after a kill, shown again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.runner.registry import ensure_registry, read_registry
from palm.runtime.folders import Folders
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
import time

def say(text):
    time.sleep(0.01)
    print(text, flush=True)
    return text

def complain(text):
    print(text, file=sys.stderr, flush=True)
    return text

def flood(n):
    for i in range(n):
        print(f"flood {i:06}")
    print("the last of the flood", flush=True)
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
    """import time
client.job("foo.say", ["said while the cell runs"] * 12).collect()
time.sleep(3)
""",
    'print("asleep")\nimport time\ntime.sleep(120)',
    """from palm import Client
client = Client("foo")
job = client.job("foo.say", ["step"] * 600)
job""",
    """from palm import Client
client = Client("foo")
client.job("foo.flood", [100_000]).collect();""",
    "%palm dashboard",
]


@pytest.fixture
def lab(shared_lab: Lab, cluster_name: str) -> Iterator[Lab]:
    shared_lab.add("live.ipynb", f"%env PALM_CLUSTER={cluster_name}\n{CELLS[0]}", *CELLS[1:])
    yield shared_lab
    shared_lab.end_kernels()


@pytest.fixture
def own_lab(palm_home: Path) -> Iterator[Lab]:
    """One whose registry serves nobody else."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    with serve(folder) as lab:
        lab.add("live.ipynb", *CELLS)
        yield lab
    end_clusters()
    shutil.rmtree(folder, ignore_errors=True)


def prompt_of(notebook: Notebook, number: int) -> str:
    return str(
        notebook.root.locator(".jp-Cell").nth(number).locator(".jp-InputPrompt").inner_text()
    )


def test_panel_lives_through_everything(lab: Lab, chromium: Any, screenshots: Path) -> None:
    notebook = Notebook(chromium, lab, "live.ipynb")
    try:
        for number in range(4):
            notebook.run_cell(number)
        panel = notebook.root.locator(".palm-panel")
        assert panel.count() == 1
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        panel.get_by_role("button", name="foo-worker-2").click()
        panel.locator('.palm-text:has-text("<img src=x onerror=alert(1)> red")').first.wait_for()
        assert panel.locator('.palm-fg-1:text-is("red")').count()
        panel.locator('.palm-stderr:has-text("it is  odd")').first.wait_for()
        panel.locator('.palm-measure-rss:has-text("MB")').first.wait_for()
        notebook.pictures(screenshots, "live", "ready")
        assert panel.locator("img").count() == 0

        notebook.run_cell(4, wait=False)  # blocks the kernel's main thread
        panel.locator('.palm-noted:has-text("1")').first.wait_for()
        assert prompt_of(notebook, 4) == "[*]:", "the panel tells of the restart meanwhile"
        panel.get_by_role("button", name="foo-worker-0").click()
        notebook.pictures(screenshots, "live", "busy")
        notebook.wait_for_cell(4)

        notebook.reload()
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        panel.get_by_role("button", name="foo-worker-2").click()
        panel.locator('.palm-text:has-text("<img src=x onerror=alert(1)> red")').first.wait_for()
        panel.locator('.palm-text:has-text("Got worker push address")').first.wait_for()

        notebook.run_cell(6, wait=False)  # blocks for as long as the output does not come
        panel.locator('.palm-text:has-text("said while the cell runs")').first.wait_for()
        assert prompt_of(notebook, 6) == "[*]:", "output arrives while a cell runs, after a reload"
        notebook.wait_for_cell(6)

        notebook.run_cell(5)
        notebook.root.locator(".jp-Cell").nth(5).locator(".palm-panel").wait_for()
        assert panel.count() == 1, "the earlier panel is frozen: HTML without a widget"
        frozen = notebook.root.locator(".jp-Cell").nth(1)
        assert "as of" in frozen.inner_text() and "foo-worker-2" in frozen.inner_text()
        notebook.pictures(screenshots, "live", "frozen")
        assert notebook.errors() == []
        assert notebook.outside == []
    finally:
        notebook.close()


def test_buttons_act_while_a_cell_blocks_the_kernel(
    lab: Lab, chromium: Any, screenshots: Path
) -> None:
    notebook = Notebook(chromium, lab, "live.ipynb")
    try:
        for number in range(3):
            notebook.run_cell(number)
        panel = notebook.root.locator(".palm-panel")
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        notebook.run_cell(7, wait=False)
        notebook.root.locator('.jp-OutputArea-output:has-text("asleep")').wait_for()
        panel.get_by_role("button", name="One process less of foo-worker").click()
        panel.locator('.palm-words:text-is("2 of 2 ready")').wait_for()
        panel.get_by_role("button", name="Stop foo-worker").click()
        panel.locator('tr[data-kind=group] .palm-words:text-is("stopped")').wait_for()
        panel.get_by_role("button", name="Start foo-worker", exact=True).click()
        panel.locator('.palm-words:text-is("2 of 2 ready")').wait_for()
        # What cannot be done is said where it was asked for.
        panel.get_by_role("button", name="One process more of foo-worker").evaluate(
            "(n) => { for (let i = 0; i < 2; i += 1) n.click(); }"
        )
        panel.locator('.palm-words:text-is("3 of 3 ready")').wait_for()
        assert prompt_of(notebook, 7) == "[*]:", "all that while the cell slept"
        # The topology has the link to the workers.
        panel.get_by_role("tab", name="Topology").click()
        assert panel.locator(".palm-node").count() >= 2
        assert panel.locator(".palm-edge").count() >= 1
        notebook.pictures(screenshots, "live", "topology")
        notebook.command("notebook:interrupt-kernel")
        notebook.wait_for_cell(7)
    finally:
        notebook.close()


def test_job_has_a_card_that_goes_on_while_nothing_runs(
    lab: Lab, chromium: Any, screenshots: Path
) -> None:
    notebook = Notebook(chromium, lab, "live.ipynb")
    try:
        for number in range(3):
            notebook.run_cell(number)
        notebook.run_cell(8)
        card = notebook.root.locator(".palm-job")
        card.locator('.palm-state:has-text("running")').wait_for()
        card.locator(".palm-share").nth(2).wait_for()
        notebook.page.screenshot(path=str(screenshots / "job-running.png"))
        card.locator('.palm-state:has-text("done")').wait_for()
        text = card.inner_text()
        assert "600 of 600" in text and "foo-worker-2" in text and "Took" in text
        assert re.search(r"\d/s", text)
        notebook.page.screenshot(path=str(screenshots / "job-done.png"))
        notebook.reload()
        card.locator('.palm-state:has-text("done")').wait_for()
        assert notebook.errors() == []
    finally:
        notebook.close()


def test_flood_is_followed_and_all_of_it_can_be_reached(lab: Lab, chromium: Any) -> None:
    notebook = Notebook(chromium, lab, "live.ipynb")
    try:
        for number in range(3):
            notebook.run_cell(number)
        panel = notebook.root.locator(".palm-panel")
        # Any of the workers may have it: all of their output, in one.
        panel.get_by_role("button", name="foo-worker", exact=True).click()
        panel.locator('.palm-whose:text-is("foo-worker-2")').first.wait_for()
        notebook.page.evaluate(LONG_TASKS)
        notebook.run_cell(9)
        panel.locator('.palm-text:has-text("the last of the flood")').first.wait_for()
        assert notebook.page.locator(".palm-line").count() < 150
        # It is all there: 100,000 lines, found by looking for some of them.
        panel.get_by_role("searchbox").fill("flood 0777")
        panel.locator('.palm-text:has-text("flood 077799")').wait_for()
        assert count_of_lines(panel) == 100
        panel.locator(".palm-log").evaluate("(n) => { n.scrollTop = 0; }")
        panel.locator('.palm-text:has-text("flood 077700")').wait_for()
        # And by scrolling up to its beginning.
        panel.get_by_role("searchbox").fill("")
        panel.locator('.palm-text:has-text("the last of the flood")').first.wait_for()
        notebook.page.evaluate(SCROLL_UP)
        assert count_of_lines(panel) > 100_000
        first = panel.locator(".palm-log").evaluate(FIND, "flood 000000")
        for number in (0, 1, 499, 500, 31_415, 77_777, 99_999):
            panel.locator(".palm-log").evaluate(
                "(n, row) => { n.scrollTop = 18 * row; }", first + number
            )
            panel.locator(f'.palm-text:text-is("flood {number:06}")').wait_for()
        longest = max(notebook.page.evaluate("window.longTasks"), default=0)
        print(f"the longest task of the page took {longest:.0f} ms")
        assert longest < 1000
        assert notebook.errors() == []
    finally:
        notebook.close()


def test_registry_that_is_killed_is_told_of_and_no_line_is_lost_or_doubled(
    own_lab: Lab, chromium: Any, screenshots: Path
) -> None:
    notebook = Notebook(chromium, own_lab, "live.ipynb")
    try:
        for number in range(4):
            notebook.run_cell(number)
        panel = notebook.root.locator(".palm-panel")
        panel.locator('.palm-summary:has-text("4 processes ready")').wait_for()
        panel.get_by_role("button", name="foo-worker", exact=True).click()
        record = read_registry(Folders.find())
        assert record is not None
        os.kill(record.pid, signal.SIGSTOP)  # frozen: nobody starts another one
        panel.locator('.palm-age:has-text("the registry does not answer since")').wait_for()
        notebook.run_cell(6)  # calls go on without it
        assert notebook.errors() == []
        panel.evaluate("(n) => n.scrollIntoView({ block: 'start' })")
        notebook.pictures(screenshots, "live", "away")
        assert panel.get_by_role("button", name="Stop foo", exact=True).is_disabled()
        os.kill(record.pid, signal.SIGKILL)
        with ensure_registry(Folders.find()):
            panel.locator('.palm-age:text-is("live")').wait_for()
        panel.locator('.palm-text:has-text("said while the cell runs")').nth(11).wait_for()
        assert panel.locator('.palm-text:has-text("said while the cell runs")').count() == 12
        assert not panel.locator(".palm-away").is_visible()
        assert panel.locator('.palm-summary:has-text("4 processes ready")').is_visible()
        panel.evaluate(NOTE_DOINGS)
        panel.get_by_role("button", name="Restart foo-worker", exact=True).click()
        notebook.page.wait_for_function("window.doings.some((said) => said.includes('Restarting'))")
        panel.locator(".palm-doing").wait_for(state="detached")
        panel.locator('.palm-words:text-is("3 of 3 ready")').wait_for()
        assert notebook.errors() == []
    finally:
        notebook.close()


def count_of_lines(panel: Any) -> int:
    return round(panel.locator(".palm-log").evaluate("(n) => n.firstChild.clientHeight / 18"))


# Notes what is said to be done at the moment: it may be done before anybody has looked.
NOTE_DOINGS = """(panel) => {
  window.doings = [];
  const note = () =>
    window.doings.push(...[...panel.querySelectorAll('.palm-doing')].map((n) => n.textContent));
  const all = { childList: true, subtree: true, characterData: true };
  new MutationObserver(note).observe(panel, all);
}"""
# Notes how long tasks take, in milliseconds, that would be felt.
LONG_TASKS = """() => {
  window.longTasks = [];
  const note = (list) => window.longTasks.push(...list.getEntries().map((each) => each.duration));
  new PerformanceObserver(note).observe({ type: 'longtask' });
}"""
# Scrolls up until there are no earlier lines.
SCROLL_UP = """async () => {
  const log = document.querySelector('.palm-log');
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let still = 0, height = 0; still < 100; still += 1) {
    if (log.firstChild.clientHeight !== height) still = 0;
    height = log.firstChild.clientHeight;
    log.scrollTop = 0;
    await frame();
  }
}"""
# The row of the first line of a text, from the beginning of the log on.
FIND = """async (log, text) => {
  for (let top = 0; ; top += log.clientHeight / 2) {
    log.scrollTop = top;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const line = [...log.querySelectorAll('.palm-line')].find((n) => n.textContent.includes(text));
    if (line) return parseInt(line.style.top) / 18;
  }
}"""
