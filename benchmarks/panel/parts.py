"""The panel in JupyterLab: what it costs kernel, browser and registry, and how late it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import psutil
from jupyter_client.blocking.client import BlockingKernelClient

from benchmarks.memory import cpu_seconds
from benchmarks.output.parts import CLUSTER, Running
from benchmarks.panel.node import Crowd
from benchmarks.processes import BOUND, BrokenError, Place
from benchmarks.report import Goal, Report

__all__ = ["panel"]

COMPONENTS, RATE = 100, 5.0
#: Lines a second of the flood, of 64 bytes; what a panel follows of it is far less.
FLOOD, FLOOD_LINES = 40_000.0, 16_000_000
IDLE = "nothing happens"
BUSY = f"{COMPONENTS} components, {RATE:g}/s"
FLOODED = f"{BUSY}, and a flood"
WATCHERS = """
import sys, threading
from palm.clusters import attach
from palm_jupyter.feed import Feed
from palm_jupyter.viewmodels import ClusterView

feeds = []
for _ in range(int(sys.argv[2])):
    feeds.append(Feed(attach(sys.argv[1]), ClusterView(sys.argv[1])))
    feeds[-1].start()
    feeds[-1].select({"component": "w-0"})
print("ready", flush=True)
sys.stdin.read()
"""
SERVE = """%%palm_worker foo -o workers
import time

def say(n):
    print(f"printed at {time.time() * 1000:.1f}", flush=True)
"""
#: A cluster of its own, whose components are real.
REAL_CLUSTER = "real"
REAL = [
    f"%env PALM_CLUSTER={REAL_CLUSTER}\n%load_ext palm_jupyter\nimport time",
    "%palm master --name foo;",
    SERVE,
    "from palm import Client\nclient = Client('foo')\n%palm dashboard",
    "for n in range({n}):\n    client.eval('foo.say', n)\n    time.sleep(0.23)",
    "for n in range({changes}):\n    workers.restart()",
]
WATCHED = [f"%load_ext palm_jupyter\n%palm attach {CLUSTER}", "%palm dashboard"]


def panel(report: Report) -> None:
    """a panel in JupyterLab: the kernel's, the browser's and the registry's load, how late it is"""
    from playwright import sync_api  # where no browser is there, the other parts are measured

    seconds = 4.0 if report.quick else 15.0
    with Place() as place, sync_api.sync_playwright() as playwright:
        registry = Running(place)
        crowd = Crowd(registry.client, CLUSTER, COMPONENTS)
        try:
            _watchers(report, place, registry, crowd, seconds)
            with _lab(place) as lab, _browser(playwright) as browser:
                _load(report, registry, crowd, lab, browser, seconds)
                _completion(report, registry, lab, 50 if report.quick else 400)
                lab.end_kernels()
                crowd.rate = 0.0
                _lateness(report, lab, browser, 20 if report.quick else 100)
                lab.end_kernels()
        finally:
            crowd.close()


@contextmanager
def _lab(place: Place) -> Iterator[Any]:
    from tests.browser.lab import serve  # it needs what tests need

    before = dict(os.environ)
    os.environ.update(place.environment)
    try:
        with serve(place.folder / "lab") as lab:
            yield lab
    finally:
        for cluster in (REAL_CLUSTER, CLUSTER):  # they outlive the notebooks in which they began
            down = [sys.executable, "-m", "palm", "--cluster", cluster, "down"]
            subprocess.run(down, capture_output=True, timeout=BOUND)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _browser(playwright: Any) -> Iterator[Any]:
    from tests.browser.conftest import FLAGS
    from tests.support.requirements import chromium_path

    path = chromium_path()
    if path is None:
        raise BrokenError("there is no Chromium")
    browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
    try:
        yield browser
    finally:
        browser.close()


def _open(browser: Any, lab: Any, name: str, cells: list[str]) -> Any:
    from tests.browser.lab import Notebook

    lab.add(name, *cells)
    return Notebook(browser, lab, name)


# ---- load


def _load(
    report: Report, registry: Running, crowd: Crowd, lab: Any, browser: Any, seconds: float
) -> None:
    crowd.rate = 0.0
    notebook = _open(browser, lab, "watched.ipynb", WATCHED)
    kernel: dict[str, list[float]] = {}
    pages: dict[str, list[float]] = {}
    try:
        for number in range(len(WATCHED)):
            notebook.run_cell(number)
        shown = notebook.root.locator(".palm-panel")
        shown.locator(f'.palm-summary:has-text("{COMPONENTS} processes ready")').wait_for()
        pid = _kernel(lab)[0]
        for name, rate, flood in ((IDLE, 0.0, False), (BUSY, RATE, False), (FLOODED, RATE, True)):
            crowd.rate = rate
            with _flood(registry) if flood else _nothing():
                if flood:
                    _follow_flood(shown)
                notebook.page.wait_for_timeout(1000)  # until the rate is the new one
                kernel[name], pages[name] = _shares(notebook, pid, seconds)
    finally:
        notebook.close()
    report.add(
        "panel: the kernel's load", "% of a core", kernel, {FLOODED: Goal(10.0)},
        note=f"the flood: {FLOOD:,.0f} lines a second of the component that is shown",
    )  # fmt: skip
    report.add(
        "panel: the browser's load", "% of a core", pages, note="headless, drawn without GPU"
    )


def _follow_flood(shown: Any) -> None:
    shown.page.evaluate("() => { document.querySelector('.palm-scroll').scrollTop = 0; }")
    shown.get_by_role("button", name="w-0", exact=True).click()
    shown.locator(".palm-above", has_text="were passed over").wait_for()


def _shares(notebook: Any, kernel: int, seconds: float) -> tuple[list[float], list[float]]:
    """Shares of a core of the kernel and of the browser, in percent, in three looks."""
    chromium = [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    runs: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        before = [cpu_seconds(kernel), _sum_of(chromium)]
        begun = time.monotonic()
        notebook.page.wait_for_timeout(1000 * seconds / 3)
        took = time.monotonic() - begun
        for found, old, now in zip(
            runs, before, [cpu_seconds(kernel), _sum_of(chromium)], strict=True
        ):
            found.append(100 * (now - old) / took)
    return runs


def _sum_of(processes: list[psutil.Process]) -> float:
    return sum(cpu_seconds(process.pid) for process in processes if process.is_running())


@contextmanager
def _flood(registry: Running) -> Iterator[None]:
    writer = registry.writer(FLOOD_LINES, "w", FLOOD)
    try:
        yield
    finally:
        writer.terminate()
        writer.wait(10)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _watchers(
    report: Report, place: Place, registry: Running, crowd: Crowd, seconds: float
) -> None:
    """What panels cost the registry, which tells each of them all."""
    runs = {}
    crowd.rate = RATE
    for count in (0, 1, 20):
        process = _start_watchers(place, count) if count else None
        time.sleep(1.0)  # what is said at first is not of it
        found = []
        for _ in range(3):
            before, begun = cpu_seconds(registry.process.pid), time.monotonic()
            time.sleep(seconds / 3)
            used = cpu_seconds(registry.process.pid) - before
            found.append(100 * used / (time.monotonic() - begun))
        runs[f"{count} panels" if count != 1 else "1 panel"] = found
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait(20)
    report.add(f"panel: the registry's load, {BUSY}", "% of a core", runs)


def _start_watchers(place: Place, count: int) -> subprocess.Popen[str]:
    process = place.spawn(WATCHERS, CLUSTER, str(count), talk=True)
    if process.stdout is None or process.stdout.readline() != "ready\n":
        raise BrokenError(f"nobody watches\n{place.complaints()}")
    return process


# ---- completion


def _kernel(lab: Any) -> tuple[int, BlockingKernelClient]:
    """The one kernel that runs: its process, and a client of it."""
    (file,) = (lab.notebooks.parent / "r").glob("kernel-*.json")
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    for process in psutil.process_iter(["cmdline"]):
        if str(file) in " ".join(process.info["cmdline"] or ()):
            return process.pid, client
    raise BrokenError("the kernel is not found")


def _completion(report: Report, registry: Running, lab: Any, count: int) -> None:
    client = _kernel(lab)[1]
    client.start_channels()
    try:
        found = {"the registry answers": _completions(client, count)}
        registry.process.send_signal(signal.SIGSTOP)
        try:
            found["the registry is frozen"] = _completions(client, count)
        finally:
            registry.process.send_signal(signal.SIGCONT)
    finally:
        client.stop_channels()
    for name, share in (("p50", 50), ("p99", 99)):
        runs = {system: [_share(each, share)] for system, each in found.items()}
        goals = dict.fromkeys(found, Goal(50.0)) if share == 99 else None
        report.add(
            f"panel: completion, {COMPONENTS} components, {name}", "ms", runs, goals,
            note=f"of {count} requests to the kernel",
        )  # fmt: skip


def _completions(client: BlockingKernelClient, count: int) -> list[float]:
    times = []
    for number in range(count):
        name = f"w-{number % COMPONENTS}"
        begun = time.perf_counter()
        answer = client.complete(f"%palm logs {name[:-1]}", reply=True, timeout=30)
        times.append(1000 * (time.perf_counter() - begun))
        if name not in answer["content"]["matches"]:
            raise BrokenError(f"{name} is not offered: {answer['content']}")
    return times


def _share(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


# ---- lateness

# Notes when something was painted after it was said; for texts that say when.
NOTE = """(selector) => {
  window.late = [];
  const seen = new WeakSet();
  const look = () => {
    for (const node of document.querySelectorAll(selector)) {
      if (seen.has(node)) continue;
      seen.add(node);
      const text = node.textContent.split(' ')[2];
      const said = node.dateTime ? Date.parse(node.dateTime) : Number(text);
      if (said > window.from) requestAnimationFrame(() => setTimeout(() => {
        window.late.push(performance.timeOrigin + performance.now() - said);
      }));
    }
  };
  window.from = Date.now();
  window.looking?.disconnect();
  window.looking = new MutationObserver(look);
  const options = { childList: true, subtree: true, characterData: true };
  window.looking.observe(document.querySelector('.palm-panel'), options);
}"""


def _lateness(report: Report, lab: Any, browser: Any, count: int) -> None:
    changes = count // 4  # each brings several events
    cells = [cell.replace("{n}", str(count)).replace("{changes}", str(changes)) for cell in REAL]
    notebook = _open(browser, lab, "real.ipynb", cells)
    try:
        for number in range(4):
            notebook.run_cell(number)
        shown = notebook.root.locator(".palm-panel")
        shown.locator('.palm-summary:has-text("2 processes ready")').wait_for()
        printed = _painted(notebook, ".palm-text:not(:empty)", 4, count)
        shown.get_by_role("tab", name="Events").click()
        changed = _painted(notebook, ".palm-events time", 5, changes)
    finally:
        notebook.close()
    found = {"a line, from its print": printed, "a change, from when it is known": changed}
    for name, share in (("median", 50), ("p99", 99)):
        runs = {what: [_share(each, share)] for what, each in found.items()}
        report.add(
            f"panel: until it is painted, {name}", "ms", runs,
            note=f"of {len(printed)} lines and {len(changed)} changes; looked for every 200 ms",
        )  # fmt: skip


def _painted(notebook: Any, selector: str, cell: int, count: int) -> list[float]:
    notebook.page.evaluate(NOTE, selector)
    notebook.run_cell(cell, wait=False)
    notebook.page.set_default_timeout(180_000)
    notebook.wait_for_cell(cell)
    notebook.page.wait_for_timeout(1500)
    if notebook.errors():
        raise BrokenError("\n".join(notebook.errors()))
    found: list[float] = notebook.page.evaluate("window.late")
    if len(found) < count:
        raise BrokenError(f"the panel showed {len(found)} of {count} that happened")
    return found
