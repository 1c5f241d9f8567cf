"""The panel's module by itself, in a page without Jupyter: text stays text, keys work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import STATIC
from tests.jupyter.builders import component

# Playwright's event loop lives as long as the browser, and keeps threads for its files.
pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
PAGE = """<!doctype html><html><head><link rel=stylesheet href=/panel.css>
<style>body {{ margin: 16px; {style} }}</style></head><body {attributes}><div id=root></div>
<script type=module>
import widget, {{ createPanel }} from '/panel.js';
const handlers = {{}};
window.sent = [];
window.model = {{
  state: {{}},
  get: (name) => window.model.state[name],
  on: (name, handler) => (handlers[name] ??= []).push(handler),
  send: (message) => window.sent.push(message),
}};
window.emit = (name, value) => (handlers[name] ?? []).forEach((handler) => handler(value));
window.set = (snapshot) => {{ model.state.snapshot = snapshot; emit('change:snapshot'); }};
window.render = () => widget.render({{ model, el: document.getElementById('root') }});
widget.initialize({{ model }});
window.loaded = true;
</script></body></html>"""
LIGHT = {"style": "background: #fff", "attributes": 'data-jp-theme-light="true"'}
DARK = {
    "style": "background: #111; --jp-layout-color1: #111; --jp-layout-color2: #212121;"
    "--jp-ui-font-color1: rgba(255,255,255,.87); --jp-ui-font-color2: rgba(255,255,255,.7)",
    "attributes": 'data-jp-theme-light="false"',
}


def snapshot(*components: dict[str, Any], live: bool = True, **output: list[str]) -> dict[str, Any]:
    lines = {name.replace("_", "-"): [["stdout", t] for t in o] for name, o in output.items()}
    return {
        "version": 1,
        "cluster": "default",
        "time": 1000.0,
        "live": live,
        "note": "",
        "components": list(components),
        "output": lines,
    }


@pytest.fixture
def page(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    theme = getattr(request, "param", LIGHT)
    context = chromium.new_context(viewport={"width": 980, "height": 700})
    page = context.new_page()
    page.set_default_timeout(5000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def answer(route: Any) -> None:
        path = route.request.url.split("palm.test/")[1]
        if path in ("panel.js", "panel.css"):
            kind = "text/javascript" if path.endswith("js") else "text/css"
            route.fulfill(path=str(STATIC / path), content_type=kind)
        else:
            route.fulfill(body=PAGE.format(**theme), content_type="text/html")

    page.route("**/*", answer)
    page.goto("http://palm.test/")
    page.wait_for_function("window.loaded")
    yield page
    context.close()
    assert errors == []


def show(page: Any, *args: Any, **kwargs: Any) -> Any:
    page.evaluate("(s) => { set(s); window.render(); }", snapshot(*args, **kwargs))
    return page.locator(".palm-panel")


def output(process: str, lines: list[list[str]]) -> dict[str, Any]:
    entry = {"process": process, "fresh": False, "lines": lines}
    return {"type": "output", "entries": [entry]}


def log_lines(page: Any) -> list[str]:
    return list(page.locator(".palm-log .palm-text").all_text_contents())


def test_nothing_that_a_component_says_becomes_markup(page: Any) -> None:
    evil = component("w", "failed", functions=[EVIL], master=EVIL)
    evil["processes"][0] |= {"name": EVIL, "reason": EVIL}
    panel = show(page, evil)
    message = output(EVIL, [["stderr", EVIL]])
    page.evaluate("(m) => emit('msg:custom', m)", message)
    page.wait_for_function("document.querySelector('.palm-log .palm-text')")
    assert log_lines(page) == [EVIL]
    assert panel.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None
    assert EVIL in panel.locator(".palm-why").inner_text()


def test_empty_cluster_says_how_to_begin(page: Any) -> None:
    panel = show(page)
    assert "%palm master --name foo" in panel.inner_text()
    assert not panel.locator("table").is_visible()
    assert not panel.locator(".palm-log").is_visible()


def test_replicas_stand_below_their_component_and_fold(page: Any) -> None:
    panel = show(page, component("w", "ready", "starting"))
    assert "1 of 2 ready, starting" in panel.inner_text()
    assert panel.locator(".palm-replica .palm-name").count() == 2
    fold = panel.get_by_role("button", name="w", exact=True)
    fold.click()
    assert panel.locator(".palm-replica .palm-name").count() == 0
    assert panel.locator(".palm-fold").get_attribute("aria-expanded") == "false"


def test_table_is_one_for_assistive_tools(page: Any) -> None:
    panel = show(page, component("w", "ready"))
    headings = panel.get_by_role("columnheader").all_text_contents()
    assert headings == ["Name", "Role", "State", "PID", "Restarts", "Uptime", "Functions"]
    assert panel.get_by_role("table", name="Components of the cluster").count() == 1
    assert panel.get_by_role("rowheader").all_text_contents() == ["w-0"]
    assert panel.get_by_role("log").count() == 1
    assert page.get_by_role("region", name="palm cluster default").count() == 1


def test_output_of_the_chosen_process_by_click_and_by_key(page: Any) -> None:
    panel = show(page, component("w", "ready", "ready"), w_0=["from zero"], w_1=["from one"])
    assert log_lines(page) == ["from one"]
    panel.get_by_role("button", name="w-0").click()
    assert log_lines(page) == ["from zero"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert log_lines(page) == ["from one"]
    assert panel.locator(".palm-output-title").inner_text() == "Output of w-1"
    assert panel.get_by_role("button", name="w-1").get_attribute("aria-pressed") == "true"


def test_focus_survives_an_update(page: Any) -> None:
    panel = show(page, component("w", "ready", "ready"))
    panel.get_by_role("button", name="w-0").focus()
    page.evaluate("(s) => set(s)", snapshot(component("w", "ready", "failed")))
    assert page.evaluate("document.activeElement.textContent") == "w-0"


def test_lines_are_kept_in_a_ring_and_follow_the_end(page: Any) -> None:
    panel = show(page, component("w", "ready"))
    for start in range(0, 1200, 300):
        lines = [["stdout", f"line {n}"] for n in range(start, start + 300)]
        message = output("w-0", lines)
        page.evaluate("(m) => emit('msg:custom', m)", message)
    page.wait_for_function(
        "[...document.querySelectorAll('.palm-text')].at(-1)?.textContent === 'line 1199'"
    )
    assert log_lines(page) == [f"line {n}" for n in range(700, 1200)]
    log = panel.locator(".palm-log")
    at_end = "(n) => n.scrollHeight - n.scrollTop - n.clientHeight"
    assert log.evaluate(at_end) < 2
    assert not panel.locator(".palm-latest").is_visible()
    log.evaluate("(n) => { n.scrollTop = 0; }")
    panel.locator(".palm-latest").wait_for(state="visible")
    more = output("w-0", [["stdout", "more"]])
    page.evaluate("(m) => emit('msg:custom', m)", more)
    page.wait_for_function(
        "[...document.querySelectorAll('.palm-text')].at(-1)?.textContent === 'more'"
    )
    assert log.evaluate("(n) => n.scrollTop") == 0
    panel.locator(".palm-latest").click()
    assert log.evaluate(at_end) < 2


def test_second_view_shows_the_lines_that_came_before_it(page: Any) -> None:
    show(page, component("w", "ready"))
    message = output("w-0", [["stdout", "early"]])
    page.evaluate("(m) => emit('msg:custom', m)", message)
    page.wait_for_function("document.querySelector('.palm-text')")
    page.evaluate("() => { document.getElementById('root').replaceChildren(); window.render(); }")
    assert log_lines(page) == ["early"]
    assert page.evaluate("sent") == [{"type": "ready"}, {"type": "ready"}]


def test_uptime_runs_by_the_kernels_clock_and_stands_still_when_frozen(page: Any) -> None:
    process = component("w", "ready")
    process["processes"][0]["started"] = 1000.0 - 83
    panel = show(page, process)
    cell = panel.locator("[data-started]")
    assert re.fullmatch(r"1:2[34]", cell.inner_text())
    page.wait_for_function("document.querySelector('[data-started]').textContent > '1:24'")
    page.evaluate("(s) => set(s)", snapshot(process, live=False))
    assert cell.inner_text() == "1:23"
    assert panel.locator(".palm-age").inner_text().startswith("as of ")


def test_silence_of_the_kernel_is_told(page: Any) -> None:
    page.clock.install()
    panel = show(page, component("w", "ready"))
    age = panel.locator(".palm-age")
    page.clock.run_for(5000)
    page.evaluate("emit('msg:custom', { type: 'alive', time: 1005 })")
    page.clock.run_for(5000)
    assert age.inner_text() == "live"
    page.clock.run_for(5000)
    assert age.inner_text().startswith("no news since ")
    page.evaluate("emit('msg:custom', { type: 'alive', time: 1015 })")
    assert age.inner_text() == "live"


@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"], indirect=True)
def test_states_are_told_by_words_and_contrast_suffices(page: Any) -> None:
    panel = show(page, component("w", "ready", "failed", "backing-off", "stopped", "starting"))
    words = panel.locator(".palm-replica .palm-state").all_inner_texts()
    assert words == ["ready", "failed", "backing off", "stopped", "starting"]
    ratios = page.evaluate(CONTRASTS)
    assert min(ratios["text"]) >= 4.5, ratios
    assert min(ratios["dots"]) >= 3.0, ratios


@pytest.mark.parametrize("width", [420, 700, 1400])
@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"], indirect=True)
def test_nothing_is_clipped_at_any_width(page: Any, width: int, screenshots: Path) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    long = component("a-rather-long-name-of-a-worker", "ready", "backing-off")
    long["functions"] = [f"function_number_{i}" for i in range(12)]
    long["processes"][1] |= {
        "reason": "was killed by SIGKILL (by hand, or for lack of memory)",
        "restarts": 2,
        "pid": None,
        "started": None,
    }
    lines = ["2026-01-01 10:00:00,000 - foo - INFO - ready", "x" * 300]
    panel = show(page, component("foo", "ready", role="master"), long, foo_0=lines)
    theme = "dark" if page.evaluate("document.body.dataset.jpThemeLight") == "false" else "light"
    page.screenshot(path=str(screenshots / f"panel-{theme}-{width}.png"))
    assert panel.bounding_box()["width"] <= width - 32
    assert page.evaluate(CLIPPED) == []
    # It could be scrolled to, but a reader should not have to.
    assert panel.locator(".palm-scroll").evaluate("(n) => n.scrollWidth - n.clientWidth") <= 0


# Elements whose text does not fit and cannot be scrolled to.
CLIPPED = """() => [...document.querySelectorAll('.palm-panel *')].filter((node) => {
  if (!node.offsetParent || node.closest('.palm-hidden')) return false;
  const style = getComputedStyle(node);
  const hides = style.overflowX === 'hidden' || style.textOverflow === 'ellipsis';
  return hides && node.scrollWidth > node.clientWidth + 1;
}).map((node) => node.className)"""

# WCAG contrast of texts and dots against the panel's background.
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const panel = document.querySelector('.palm-panel');
  const base = getComputedStyle(panel).backgroundColor;
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const paint of [base, colour]) { canvas.fillStyle = paint; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colour) => {
    const [r, g, b] = rgb(colour).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (colour) => {
    const [a, b] = [light(colour), light(base)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const all = (selector, property) =>
    [...panel.querySelectorAll(selector)].map((n) => ratio(getComputedStyle(n)[property]));
  const text = all('th, td, .palm-age, .palm-quiet', 'color');
  return { text, dots: all('.palm-dot', 'borderTopColor') };
}"""
