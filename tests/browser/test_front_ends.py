"""The panel in JupyterLab and in Notebook 7: for everybody, safe, and there again after a break."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import OURS, violations
from tests.browser.lab import Lab, Notebook
from tests.support.local import SharedRegistry

# Playwright's event loop lives as long as the browser, and keeps threads for its files.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.no_leak_check("threads", "descriptors"),
    pytest.mark.timeout(300),
]

EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
CELLS = [
    "%load_ext palm_jupyter",
    "%palm master --name foo;",
    """%%palm_worker foo --replicas 2
def say(text):
    print(text, flush=True)
    return text

def fail(text):
    raise ValueError(text)
""",
    f"""from palm import Client
from palm.errors import PalmError
client = Client("foo")
client.job("foo.say", [{EVIL!r}] * 8).collect()
failed = client.job("foo.fail", [{EVIL!r}] * 3)
try:
    failed.collect()
except PalmError:
    pass
failed""",
    "%palm dashboard",
    'print("asleep")\nimport time\ntime.sleep(120)',
]
JOB, DASHBOARD = 3, 4
#: Another notebook at the same cluster, where anywidget is missing.
PLAIN = ["import sys\nsys.modules['anywidget'] = None\n%load_ext palm_jupyter", "%palm dashboard"]


class Front:
    """A notebook in one front end, with a cluster of its own that runs."""

    def __init__(self, chromium: Any, lab: Lab, cluster: str, front_end: str) -> None:
        self.chromium, self.lab, self.cluster, self.front_end = chromium, lab, cluster, front_end
        self.name = f"{front_end}.ipynb"
        self.notebook = self.open(self.name, CELLS)
        for number in range(4):
            self.notebook.run_cell(number)

    def open(self, name: str, cells: list[str]) -> Notebook:
        first = f"%env PALM_CLUSTER={self.cluster}\n{cells[0]}"
        self.lab.add(name, first, *cells[1:])
        return Notebook(self.chromium, self.lab, name, front_end=self.front_end)

    def dashboard(self) -> Any:
        """Move the panel to where each test looks for it."""
        self.notebook.run_cell(DASHBOARD)
        panel = self.notebook.cell(DASHBOARD).locator(".palm-panel")
        panel.locator('.palm-summary:has-text("3 processes ready")').wait_for()
        return panel

    def html(self) -> list[str]:
        """What is saved in the notebook, as HTML."""
        self.notebook.save()
        cells = json.loads((self.lab.notebooks / self.name).read_text())["cells"]
        outputs = [output for cell in cells for output in cell["outputs"]]
        found = ["".join(each.get("data", {}).get("text/html", "")) for each in outputs]
        return [each for each in found if each]


@pytest.fixture(scope="module", params=["lab", "notebook"])
def front(
    request: pytest.FixtureRequest,
    chromium: Any,
    shared_lab: Lab,
    shared_registry: SharedRegistry,
) -> Iterator[Front]:
    with shared_registry.cluster(["processes"]) as cluster:
        front = Front(chromium, shared_lab, cluster, request.param)
        yield front
        front.notebook.close()
        shared_lab.end_kernels()


def choose(panel: Any, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()


def pids(panel: Any) -> dict[str, str]:
    """The process of each component, as the panel tells it."""
    found = {}
    for name in ("foo", "foo-worker-0", "foo-worker-1"):
        choose(panel, name)
        panel.locator(f'.palm-chosen strong:text-is("{name}")').wait_for()
        facts = panel.locator(".palm-chosen-facts").inner_text()
        found[name] = str(re.search(r"pid (\d+)", facts)[1])  # type: ignore[index]
    return found


def test_axe_finds_nothing_serious(front: Front, screenshots: Path) -> None:
    panel = front.dashboard()
    notebook = front.notebook
    assert notebook.cell(JOB).locator(".palm-job").count() == 1
    assert notebook.cell(2).locator(".palm-snapshot").count() == 1, "an earlier panel is frozen"
    # What differs between the two are themes.
    tabs = {"lab": ("Load", "Topology", "Events", "Output"), "notebook": ("Output",)}
    for theme in notebook.in_themes():
        for tab in tabs[front.front_end]:
            panel.get_by_role("tab", name=tab).click()
            assert violations(notebook.page) == [], (theme, tab)
        notebook.page.screenshot(path=screenshots / f"{front.front_end}-{theme}.png")


def test_plain_widgets_show_the_same_cluster_to_everybody(front: Front, screenshots: Path) -> None:
    panel = front.dashboard()
    mine = pids(panel)
    plain = front.open(f"plain-{front.front_end}.ipynb", PLAIN)
    try:
        for number in range(len(PLAIN)):
            plain.run_cell(number)
        live = plain.root.locator(".palm-live")
        live.get_by_text("ready, 3 processes").wait_for()
        assert all(pid in live.inner_text() for pid in mine.values())
        for theme in plain.in_themes():
            assert violations(plain.page) == [], theme
            plain.page.screenshot(path=screenshots / f"{front.front_end}-plain-{theme}.png")
        assert plain.page.evaluate("window.hacked") is None
        names = plain.root.locator(".palm-plain button").all_inner_texts()
        assert names == ["Stop", "Restart", "Start", "Scale"]
        assert live.locator("details").count() == 0, "its output is shown once"
        plain.root.locator(".palm-plain").get_by_role("button", name="Restart").click()
        live.get_by_text(mine["foo-worker-1"]).wait_for(state="detached")
        live.get_by_text("ready, 3 processes").wait_for()
        now = pids(panel)
        assert now["foo"] == mine["foo"] and now["foo-worker-1"] != mine["foo-worker-1"]
    finally:
        plain.close()


def test_everything_can_be_done_with_keys_and_none_reaches_the_notebook(front: Front) -> None:
    panel = front.dashboard()
    page = front.notebook.page
    state = page.evaluate(STATE)
    choose(panel, "foo")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(FOCUSED) == "foo-worker-0"
    page.keyboard.press("Enter")
    panel.locator('.palm-chosen strong:text-is("foo-worker-0")').wait_for()
    page.keyboard.press("End")
    assert page.evaluate(FOCUSED) == "foo-worker-1"
    for key in ("d", "d", "b", "x", "Escape"):  # commands of a notebook that is not being edited
        page.keyboard.press(key)
    assert page.evaluate(STATE) == state
    reached = []
    while (focused := page.evaluate(FOCUSED)) is not None and len(reached) < 40:
        reached.append(focused)
        page.keyboard.press("Tab")
    assert reached == [
        "foo-worker-1", "Output", "Search all output", "Streams", "Times", "Wrap", "Follow",
        "Copy", "Download", "Output",
    ]  # fmt: skip
    panel.get_by_role("tab", name="Output").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUSED) == "Load"
    page.keyboard.press("ArrowLeft")
    panel.get_by_role("searchbox").press("x")
    assert panel.get_by_role("searchbox").input_value() == "x"
    panel.get_by_role("searchbox").fill("")
    panel.get_by_role("button", name="Restart foo", exact=True).focus()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Processes of foo-worker"
    page.keyboard.press(" ")
    panel.locator("tr.palm-replica").first.wait_for(state="detached")
    page.keyboard.press(" ")
    panel.locator("tr.palm-replica").first.wait_for()
    assert page.evaluate(STATE) == state


def test_nothing_is_wider_than_the_page(front: Front) -> None:
    panel = front.dashboard()
    page = front.notebook.page
    assert page.viewport_size["width"] == 1280
    assert panel.locator(".palm-scroll").evaluate("(n) => n.scrollWidth - n.clientWidth") <= 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    wide = page.evaluate(
        "[...document.querySelectorAll('.jp-OutputArea-output:has(.palm-panel, .palm-snapshot)')]"
        ".map((n) => n.scrollWidth - n.clientWidth)"
    )
    assert wide and max(wide) <= 0


def test_what_a_component_says_is_text_wherever_it_is_shown(front: Front) -> None:
    panel = front.dashboard()
    notebook = front.notebook
    choose(panel, "foo-worker")
    panel.locator(".palm-text", has_text=EVIL).first.wait_for()
    card = notebook.cell(JOB).locator(".palm-job")
    card.locator('.palm-state:has-text("done, 3 failed")').wait_for()
    notebook.run_cell(1)  # the panel moves up: what was it is frozen, and saved
    ours = notebook.root.locator(OURS)
    assert notebook.root.locator(f":is({OURS}) :is(img, script)").count() == 0
    assert ours.count() >= 2
    saved = front.html()
    assert any(EVIL.replace("<", "&lt;").replace(">", "&gt;") in html for html in saved)
    page = notebook.page.context.new_page()
    page.set_content("".join(saved))
    assert page.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None
    page.close()
    assert notebook.page.evaluate("window.hacked") is None
    assert notebook.outside == []


def test_page_that_is_loaded_again_shows_what_there_was(front: Front) -> None:
    panel = front.dashboard()
    before = pids(panel)
    front.notebook.reload()
    panel.locator('.palm-summary:has-text("3 processes ready")').wait_for()
    assert pids(panel) == before
    choose(panel, "foo-worker")
    panel.locator(".palm-text", has_text=EVIL).first.wait_for()
    panel.locator('.palm-age:text-is("live")').wait_for()


def test_restarted_kernel_attaches_to_the_same_processes(front: Front) -> None:
    panel = front.dashboard()
    before = pids(panel)
    notebook = front.notebook
    notebook.restart_kernel()
    panel.locator(".palm-age", has_text=re.compile("no news since")).wait_for()
    notebook.wait_until_idle()
    notebook.run_cell(0)
    panel = front.dashboard()
    assert pids(panel) == before
    choose(panel, "foo-worker")
    panel.locator(".palm-text", has_text=EVIL).first.wait_for()  # from before the restart


# What has the focus in a panel, by its name; null outside.
FOCUSED = """() => {
  const node = document.activeElement;
  if (!node.closest('.palm-panel')) return null;
  return node.getAttribute('aria-label') ?? node.textContent;
}"""
# What keys would change in a notebook.
STATE = """() => {
  const { content } = window.jupyterapp.shell.currentWidget;
  return [content.activeCellIndex, content.mode, content.widgets.length];
}"""
