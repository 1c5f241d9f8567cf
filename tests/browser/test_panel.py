"""The panel's module by itself, in a page without Jupyter: text stays text, keys work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import violations
from tests.browser.conftest import STATIC
from tests.jupyter.builders import component

# Playwright's event loop lives as long as the browser, and keeps threads for its files.
pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
PAGE = """<!doctype html><html lang=en><head><title>palm</title>
<link rel=stylesheet href=/panel.css>
<style>body {{ margin: 16px; {style} }}</style></head><body {attributes}><main id=root></main>
<script type=module>
import widget from '/panel.js';
const handlers = {{}};
const encoder = new TextEncoder();
window.sent = [];
window.output = {{}}; // component -> lines that the registry has of it
window.model = {{
  state: {{ kind: 'cluster' }},
  get: (name) => window.model.state[name],
  on: (name, handler) => (handlers[name] ??= []).push(handler),
  off: () => {{}},
  send: (message) => {{
    window.sent.push(message);
    if (message.type === 'request') queueMicrotask(() => window.answer(message));
  }},
}};
window.emit = (message, value) => {{
  const encode = (v) => new DataView(encoder.encode(JSON.stringify(v)).buffer);
  const buffers = value === undefined ? [] : [encode(value)];
  for (const handler of handlers['msg:custom'] ?? []) handler(message, buffers);
}};
window.frames_ = (frames, more) =>
  emit({{ type: 'frames', time: 1000, live: true, note: '', ...more }}, frames);
window.answer = ({{ request, action }}) => {{
  const reply = {{ type: 'reply', request }};
  if (action.do === 'history') return emit(reply, {{ time: 0, samples: [] }});
  if (action.do !== 'output') return;
  let records = window.output[action.name ?? action.component] ?? [];
  if (action.grep) records = records.filter((r) => r.text.includes(action.grep));
  if (action.stream) records = records.filter((r) => r.stream === action.stream);
  if (action.before) records = records.slice(0, Number(action.before));
  const found = records.slice(-action.lines);
  const first = String(records.length - found.length);
  emit({{ type: 'reply', request }},
    {{ records: found, cursor: 'c', more: found.length < records.length, first }});
}};
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


def status(*components: dict[str, Any], missing: list[dict[str, Any]] | None = None) -> Any:
    """A frame of the registry's feed, of components as `builders.component` makes them."""
    data = {
        "cluster": "default",
        "time": 1000.0,
        "state": "alive",
        "missing": missing or [],
        "components": [
            {**c, "actual": c["ready"], "replicas": [{**p} for p in c["processes"]]}
            for c in components
        ],
    }
    return {"topic": "status", "cursor": "c", "data": data}


def records(name: str, lines: list[str], start: int = 0, stream: str = "stdout") -> list[Any]:
    """Records of whole lines, each of ten bytes as far as offsets go."""
    component = name.rpartition("-")[0] or name
    return [
        {
            "component": component,
            "name": name,
            "instance": f"{name}.1",
            "stream": stream,
            "offset": 10 * (start + i),
            "time": 1000.0 + i,
            "cursor": "c",
            "text": f"{line}\n",
        }
        for i, line in enumerate(lines)
    ]


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


def show(page: Any, *components: dict[str, Any], **output: list[str]) -> Any:
    """Draw a panel of components, of whose processes there is output."""
    written = {name.replace("_", "-"): lines for name, lines in output.items()}
    page.evaluate("(o) => { window.output = o; }", {n: records(n, o) for n, o in written.items()})
    page.evaluate("(f) => { frames_(f); render(); }", [status(*components)])
    return page.locator(".palm-panel")


def tell(page: Any, *frames: Any, **link: Any) -> None:
    page.evaluate("([f, link]) => frames_(f, link)", [list(frames), link])


def write(page: Any, name: str, *lines: str, start: int = 0, stream: str = "stdout") -> None:
    """Have new output come."""
    data = records(name, [], stream=stream)
    text = "".join(f"{line}\n" for line in lines)
    data = [{**records(name, [""], stream=stream)[0], "offset": start, "text": text}]
    tell(page, {"topic": "output", "cursor": "c", "data": data})


def log_lines(page: Any) -> list[str]:
    return list(page.locator(".palm-log .palm-text").all_text_contents())


def wait_for_line(page: Any, text: str) -> None:
    page.wait_for_function(
        "(text) => [...document.querySelectorAll('.palm-text')].at(-1)?.textContent === text",
        arg=text,
    )


def asked(page: Any, what: str) -> list[Any]:
    sent = page.evaluate("sent")
    return [m["action"] for m in sent if m["type"] == "request" and m["action"]["do"] == what]


def test_nothing_that_a_component_says_becomes_markup(page: Any) -> None:
    evil = component("w", "failed", functions=[EVIL], master=EVIL)
    evil["processes"][0] |= {"name": EVIL, "reason": EVIL, "last_lines": EVIL, "node": EVIL}
    frame = status(evil, missing=[{"component": EVIL, "count": 1, "why": EVIL}])
    event = {"seq": 1, "time": 1.0, "kind": "x", "text": EVIL}
    edge = {"source": EVIL, "target": EVIL + "2", "role": EVIL, "rate": 1}
    sample = {"name": EVIL, "component": "w", "edges": [edge]}
    frames = [
        frame,
        {"topic": "events", "cursor": "c", "data": event},
        {"topic": "metrics", "cursor": "c", "data": {"time": 1000, "samples": [sample]}},
    ]
    line = {**records("w-0", [EVIL], stream="stderr")[0], "name": EVIL}
    page.evaluate("([name, line]) => { window.output[name] = [line]; }", ["w", line])
    page.evaluate("(f) => { frames_(f, { note: f[1].data.text, live: false }); render(); }", frames)
    panel = page.locator(".palm-panel")
    wait_for_line(page, EVIL)
    for tab in ("Load", "Topology", "Events"):
        panel.get_by_role("tab", name=tab).click()
        assert panel.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None
    assert EVIL in panel.locator(".palm-why td").inner_text()
    assert EVIL in panel.locator(".palm-last").inner_text()
    assert EVIL in panel.locator(".palm-events").inner_text()
    page.wait_for_function("document.querySelectorAll('.palm-node').length === 3")


def test_nothing_that_a_job_says_becomes_markup(page: Any) -> None:
    worker = {"name": EVIL, "done": 3, "failed": 1, "seconds": 0.1}
    job = {
        "function": EVIL, "state": "failed", "live": False, "time": 1.0, "done": 3, "failed": 1,
        "retried": 0, "total": 9, "rate": 1.0, "recent": None, "remaining": None, "elapsed": 1.0,
        "error": EVIL, "workers": [worker],
    }  # fmt: skip
    page.evaluate("(job) => { Object.assign(model.state, { kind: 'job', snapshot: job }); }", job)
    page.evaluate("() => { render(); }")
    card = page.locator(".palm-job")
    assert card.locator(".palm-job-error").inner_text() == EVIL
    assert card.locator(".palm-share-name").inner_text() == EVIL
    assert card.locator("img, script").count() == 0
    assert page.evaluate("window.hacked") is None


def test_empty_cluster_says_how_to_begin(page: Any) -> None:
    panel = show(page)
    assert "%palm master --name foo" in panel.inner_text()
    assert not panel.locator("table").is_visible()
    assert not panel.locator(".palm-log").is_visible()


def test_replicas_stand_below_their_component_and_fold(page: Any) -> None:
    panel = show(page, component("w", "ready", "starting"))
    assert "1 of 2 ready, starting" in panel.inner_text()
    assert panel.locator("tr.palm-replica .palm-name").count() == 2
    fold = panel.get_by_role("button", name="Processes of w", exact=True)
    fold.click()
    page.wait_for_function("!document.querySelector('tr.palm-replica')")
    assert fold.get_attribute("aria-expanded") == "false"


def test_table_is_one_for_assistive_tools(page: Any) -> None:
    page.set_viewport_size({"width": 1400, "height": 700})
    panel = show(page, component("w", "ready"))
    headings = panel.get_by_role("columnheader").all_text_contents()
    expected = "Name Role State CPU Memory Rate Queue Restarts Uptime Actions"
    assert headings == expected.split()
    assert panel.get_by_role("table", name="Components of the cluster").count() == 1
    assert panel.get_by_role("rowheader").all_text_contents() == ["w-0"]
    assert panel.get_by_role("log").count() == 1
    assert page.get_by_role("region", name="palm cluster default").count() == 1


def test_output_of_the_chosen_process_by_click_and_by_key(page: Any) -> None:
    panel = show(page, component("w", "ready", "ready"), w_0=["from zero"], w_1=["from one"])
    wait_for_line(page, "from one")
    panel.get_by_role("button", name="w-0").click()
    wait_for_line(page, "from zero")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for_line(page, "from one")
    assert panel.locator(".palm-chosen strong").inner_text() == "w-1"
    assert panel.get_by_role("button", name="w-1").get_attribute("aria-pressed") == "true"


def test_rows_and_focus_survive_an_update(page: Any) -> None:
    panel = show(page, component("w", "ready", "ready"))
    panel.get_by_role("button", name="w-0").focus()
    page.evaluate("() => { window.row = document.activeElement.closest('tr'); }")
    tell(page, status(component("a", "ready"), component("w", "ready", "failed")))
    panel.locator('.palm-words:text-is("failed")').wait_for()
    assert page.evaluate("document.activeElement.textContent") == "w-0"
    assert page.evaluate("window.row.isConnected && window.row.contains(document.activeElement)")


def test_a_long_log_costs_a_few_lines_and_follows_its_end(page: Any) -> None:
    panel = show(page, component("w", "ready"))
    page.wait_for_function("sent.some((m) => m.type === 'select' && m.selection)")
    offset = 0
    for start in range(0, 12000, 3000):
        lines = [f"line {n}" for n in range(start, start + 3000)]
        write(page, "w-0", *lines, start=offset)
        offset += sum(len(line) + 1 for line in lines)
    wait_for_line(page, "line 11999")
    assert page.locator(".palm-line").count() < 100
    log = panel.locator(".palm-log")
    at_end = "(n) => n.scrollHeight - n.scrollTop - n.clientHeight"
    assert log.evaluate(at_end) < 2
    assert not panel.locator(".palm-latest").is_visible()
    log.evaluate("(n) => { n.scrollTop = 18 * 5000; }")
    panel.locator('.palm-text:text-is("line 5000")').wait_for()
    panel.locator(".palm-latest").wait_for(state="visible")
    write(page, "w-0", "more", start=offset)
    panel.locator('.palm-latest:has-text("1 new lines")').wait_for()
    assert log.evaluate("(n) => n.scrollTop") == 18 * 5000
    panel.locator(".palm-latest").click()
    wait_for_line(page, "more")
    assert log.evaluate(at_end) < 2


def test_scrolling_up_fetches_earlier_lines_and_keeps_the_place(page: Any) -> None:
    panel = show(page, component("w", "ready"), w=[f"line {n}" for n in range(1200)])
    wait_for_line(page, "line 1199")
    log = panel.locator(".palm-log")
    log.evaluate("(n) => { n.scrollTop = 0; }")
    page.wait_for_function("document.querySelector('.palm-log').scrollTop >= 18 * 500")
    panel.locator('.palm-text:text-is("line 700")').wait_for()
    assert [a.get("before") for a in asked(page, "output")] == [None, "700"]
    log.evaluate("(n) => { n.scrollTop = 0; }")
    panel.locator('.palm-text:text-is("line 200")').wait_for()


def test_search_looks_through_all_output_and_marks_what_it_found(page: Any) -> None:
    panel = show(page, component("w", "ready"), w=[f"line {n}" for n in range(1200)])
    wait_for_line(page, "line 1199")
    panel.get_by_role("searchbox").fill("line 77")
    wait_for_line(page, "line 779")
    assert log_lines(page) == ["line 77", *(f"line {n}" for n in range(770, 780))]
    assert panel.locator("mark").first.inner_text() == "line 77"
    panel.get_by_role("searchbox").fill("nothing like it")
    panel.locator('.palm-quiet:text-is("No line is like that.")').wait_for()


def test_colours_streams_and_times_of_output(page: Any) -> None:
    panel = show(page, component("w", "ready"))
    page.wait_for_function("sent.some((m) => m.type === 'select' && m.selection)")
    write(page, "w-0", "\x1b[31mred\x1b[0m and \x1b[38;2;1;2;3mblue\x1b[0m \u202e")
    wait_for_line(page, "red and blue \u27e8U+202E\u27e9")
    assert panel.locator(".palm-fg-1").inner_text() == "red"
    blue = panel.locator('.palm-text span:text-is("blue")')
    assert blue.evaluate("(n) => getComputedStyle(n).color") == "rgb(1, 2, 3)"
    write(page, "w-0", "oops", stream="stderr")
    panel.locator('.palm-stderr:has-text("oops")').wait_for()
    panel.get_by_role("button", name="Times").click()
    time = panel.locator(".palm-time").first
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", time.inner_text())
    panel.get_by_label("Streams").select_option("stderr")
    page.wait_for_function("sent.some((m) => m.action?.stream === 'stderr')")


def test_second_view_shows_what_there_is(page: Any) -> None:
    show(page, component("w", "ready"), w=["early"])
    wait_for_line(page, "early")
    page.evaluate("() => { document.getElementById('root').replaceChildren(); window.render(); }")
    wait_for_line(page, "early")
    assert [m for m in page.evaluate("sent") if m["type"] == "ready"] == [{"type": "ready"}] * 2


def test_buttons_act_are_disabled_meanwhile_and_say_what_went_wrong(page: Any) -> None:
    panel = show(page, component("w", "ready", "ready"))
    stop = panel.get_by_role("button", name="Stop w", exact=True)
    stop.click()
    panel.locator('.palm-doing:has-text("Stopping")').wait_for()
    assert stop.is_disabled()
    assert asked(page, "stop") == [{"do": "stop", "component": "w"}]
    request = page.evaluate("sent.find((m) => m.action?.do === 'stop').request")
    error = {"text": f"w did not end {EVIL}", "hint": "try again"}
    page.evaluate("(m) => emit(m)", {"type": "reply", "request": request, "error": error})
    alert = panel.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == f"w did not end {EVIL} (try again)"
    assert not stop.is_disabled()
    panel.get_by_role("button", name="Dismiss").click()
    page.wait_for_function("!document.querySelector('.palm-failed')")
    panel.get_by_role("button", name="One process more of w").click()
    assert asked(page, "scale") == [{"do": "scale", "component": "w", "replicas": 3}]


def test_why_it_died_is_told_with_its_last_lines(page: Any) -> None:
    bad = component("w", "failed")
    bad["processes"][0] |= {
        "reason": "ended with exit code 1", "exit": 1, "restarts": 5,
        "last_lines": "Traceback:\nModuleNotFoundError: No module named 'np'",
    }  # fmt: skip
    panel = show(page, component("a", "ready"), bad)
    card = panel.get_by_role("region", name="Why it ended")
    text = card.inner_text()
    assert "w-0: It ended with exit code 1." in text and "code 1" in text
    assert "No module named 'np'" in text and "has no np: install it" in text
    card.get_by_role("button", name="Restart").click()
    assert asked(page, "restart") == [{"do": "restart", "component": "w"}]
    panel.get_by_role("button", name="a-0").click()
    page.wait_for_function("document.querySelector('.palm-trouble').hidden")


def test_of_what_is_well_again_the_panel_says_calmly_what_was(page: Any) -> None:
    back = component("w", "ready")
    back["processes"][0] |= {"exit": -9, "restarts": 1, "last_lines": "oops"}
    panel = show(page, back)
    card = panel.get_by_role("region", name="What happened before")
    text = card.inner_text()
    assert "w-0: It was killed by SIGKILL, was restarted, and is ready since" in text
    assert "oops" not in text and not card.get_by_role("button").is_visible()
    stripe, line = card.evaluate(
        "(n) => [n, n.closest('.palm-details')].map((e) => getComputedStyle(e))"
        ".map((style, i) => style[i ? 'borderTopColor' : 'borderLeftColor'])"
    )
    assert stripe == line, "no red where nothing is wrong"


def test_registry_that_is_away_is_told_of_and_comes_back_by_itself(page: Any) -> None:
    panel = show(page, component("w", "ready"), w=["early"])
    wait_for_line(page, "early")
    stop = panel.get_by_role("button", name="Stop w")
    tell(page, time=1010, away=1004)
    panel.locator('.palm-age:has-text("the registry does not answer since ")').wait_for()
    assert "What runs goes on" in panel.get_by_role("status").all_inner_texts()[1]
    assert stop.is_disabled()
    tell(page, time=1020)
    panel.locator('.palm-age:text-is("live")').wait_for()
    assert not panel.locator(".palm-away").is_visible() and stop.is_enabled()
    write(page, "w-0", "late")
    wait_for_line(page, "late")
    assert log_lines(page) == ["early", "late"]


def test_stopping_a_busy_master_is_asked_about_where_it_was_asked_for(page: Any) -> None:
    panel = show(page, component("foo", "ready", role="master"))
    sample = {"name": "foo-0", "component": "foo", "queued": 1200, "running": 4}
    tell(page, {"topic": "metrics", "cursor": "c", "data": {"time": 1000, "samples": [sample]}})
    panel.locator('.palm-value:text-is("1.2k")').wait_for()
    panel.get_by_role("button", name="Stop foo").press("Enter")
    panel.get_by_role("group", name=re.compile("1,204 messages are waiting")).wait_for()
    page.wait_for_function("document.activeElement.textContent === 'Leave it'")
    page.keyboard.press("Escape")
    panel.locator(".palm-asked").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "foo-0"
    assert asked(page, "stop") == []
    panel.get_by_role("button", name="Stop foo").click()
    page.wait_for_function("document.activeElement.textContent === 'Leave it'")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    panel.locator('.palm-doing:has-text("Stopping")').wait_for()
    assert asked(page, "stop") == [{"do": "stop", "component": "foo"}]


def test_long_lines_wrap_on_request_and_every_line_can_be_reached(page: Any) -> None:
    lines = [f"{n} " + "word " * (n % 90) for n in range(400)]
    panel = show(page, component("w", "ready"), w=lines)
    wait_for_line(page, lines[-1])
    log = panel.locator(".palm-log")
    assert log.evaluate("(n) => n.scrollWidth > n.clientWidth")
    panel.get_by_role("button", name="Wrap").press("Enter")
    page.wait_for_function(
        "(() => { const n = document.querySelector('.palm-log');"
        " return n.scrollWidth <= n.clientWidth && n.scrollHeight > 400 * 18; })()"
    )
    assert panel.get_by_role("button", name="Wrap").get_attribute("aria-pressed") == "true"
    assert page.locator(".palm-line").count() < 100
    wait_for_line(page, lines[-1])  # the end stays in view
    assert log.evaluate("(n) => n.scrollHeight - n.scrollTop - n.clientHeight") < 2
    seen: set[int] = set()
    for place in range(0, log.evaluate("(n) => n.scrollHeight"), 180):
        log.evaluate("(n, top) => { n.scrollTop = top; }", place)
        page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert page.evaluate(OVERLAPS) == []
        seen |= {int(line.split()[0]) for line in log_lines(page)}
    assert seen == set(range(400))
    # Who made the panel narrower sees the same lines, higher.
    page.set_viewport_size({"width": 600, "height": 700})
    page.wait_for_function(f"({OVERLAPS})().length === 0")


def test_load_has_curves_and_they_follow_the_newest_sample(page: Any) -> None:
    panel = show(page, component("w", "ready"))
    for time in (1000, 1002, 1004):
        sample = {"name": "w-0", "component": "w", "cpu": time - 1000, "rss": 5e6, "rate_out": 3}
        data = {"time": time, "samples": [sample]}
        tell(page, {"topic": "metrics", "cursor": "c", "data": data})
    row = panel.locator("tr[data-selects=w-0]").first
    assert "4 %" in row.inner_text() and "5.0 MB" in row.inner_text() and "3/s" in row.inner_text()
    panel.get_by_role("tab", name="Load").click()
    panel.locator(".palm-chart-cpu canvas").wait_for()
    assert panel.locator(".palm-chart canvas").count() == 4
    page.keyboard.press("ArrowRight")
    assert panel.get_by_role("tab", name="Topology").get_attribute("aria-selected") == "true"


def test_uptime_runs_by_the_kernels_clock_and_stands_still_when_frozen(page: Any) -> None:
    process = component("w", "ready")
    process["processes"][0]["started"] = 1000.0 - 83
    panel = show(page, process)
    cell = panel.locator("[data-started]")
    assert re.fullmatch(r"1:2[34]", cell.inner_text())
    page.wait_for_function("document.querySelector('[data-started]').textContent > '1:24'")
    tell(page, live=False)
    page.wait_for_function("document.querySelector('[data-started]').textContent === '1:23'")
    assert panel.locator(".palm-age").inner_text().startswith("as of ")


def test_silence_of_the_kernel_is_told(page: Any) -> None:
    page.clock.install()
    panel = show(page, component("w", "ready"))
    age = panel.locator(".palm-age")
    page.clock.run_for(5000)
    tell(page, time=1005)
    page.clock.run_for(5000)
    assert age.inner_text() == "live"
    page.clock.run_for(5000)
    assert age.inner_text().startswith("no news since ")
    tell(page, time=1015)
    page.clock.run_for(1000)
    assert age.inner_text() == "live"


@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"], indirect=True)
def test_states_are_told_by_words_and_contrast_suffices(page: Any) -> None:
    panel = show(page, component("w", "ready", "failed", "backing-off", "stopped", "starting"))
    words = panel.locator("tr.palm-replica .palm-state").all_inner_texts()
    assert words == ["ready", "failed", "backing off", "stopped", "starting"]
    ratios = page.evaluate(CONTRASTS)
    assert min(ratios["text"]) >= 4.5, ratios
    assert min(ratios["dots"]) >= 3.0, ratios


@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"], indirect=True)
def test_axe_finds_nothing_serious_in_trouble(page: Any) -> None:
    lost = component("w", "failed", "ready")
    lost["processes"][0] |= {"reason": "ended with exit code 1", "exit": 1, "last_lines": "oops"}
    lost["processes"][1] |= {"exit": -9, "restarts": 1}
    panel = show(page, component("foo", "ready", role="master", master=""), lost)
    sample = {"name": "foo-0", "component": "foo", "queued": 12}
    tell(page, {"topic": "metrics", "cursor": "c", "data": {"time": 1000, "samples": [sample]}})
    write(page, "w-0", "\x1b[31mred \x1b[90mgrey", "x" * 500, stream="stderr")
    panel.get_by_role("button", name="Stop foo", exact=True).click()
    panel.locator(".palm-asked").wait_for()
    for name in ("w-0", "w-1"):  # one that failed, one that is well again
        panel.get_by_role("button", name=name, exact=True).click()
        panel.locator(f'.palm-why-title:has-text("{name}: It")').wait_for()
        assert violations(page) == [], name
    tell(page, away=990)
    panel.locator(".palm-away").wait_for()
    assert violations(page) == []


def test_colours_of_other_front_ends_are_taken(page: Any) -> None:
    colours = {
        "--vscode-editor-background": "rgb(30, 30, 46)",
        "--vscode-foreground": "rgb(205, 214, 244)",
        "--vscode-descriptionForeground": "rgb(166, 173, 200)",
        "--vscode-focusBorder": "rgb(137, 180, 250)",
    }
    page.evaluate(
        "(all) => { for (const [name, value] of Object.entries(all))"
        " document.documentElement.style.setProperty(name, value);"
        " document.body.removeAttribute('data-jp-theme-light');"
        " document.body.className = 'vscode-dark'; }",
        colours,
    )
    panel = show(page, component("w", "ready", "failed", "starting"))
    style = panel.evaluate(
        "(n) => { const s = getComputedStyle(n); return [s.backgroundColor, s.color]; }"
    )
    assert style == [colours["--vscode-editor-background"], colours["--vscode-foreground"]]
    age = panel.locator(".palm-age").evaluate("(n) => getComputedStyle(n).color")
    assert age == colours["--vscode-descriptionForeground"]
    ratios = page.evaluate(CONTRASTS)
    assert min(ratios["text"]) >= 4.5 and min(ratios["dots"]) >= 3.0, ratios


def test_nothing_moves_for_who_asked_for_that(page: Any) -> None:
    page.emulate_media(reduced_motion="no-preference")
    panel = show(page, component("w", "ready", "starting"))
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(moving) > 0, "what starts breathes"
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_function(f"{moving} === 0")
    panel.get_by_role("button", name="Processes of w", exact=True).click()
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("width", [420, 700, 900, 1100, 1280])
@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"], indirect=True)
def test_nothing_is_clipped_at_any_width(page: Any, width: int, screenshots: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    long = component("a-rather-long-name-of-a-worker", "ready", "backing-off")
    long["functions"] = [f"function_number_{i}" for i in range(12)]
    long["processes"][1] |= {
        "reason": "was killed by SIGKILL (by hand, or for lack of memory)",
        "restarts": 2,
        "pid": None,
        "started": None,
    }
    lines = ["2026-01-01 10:00:00,000 - foo - INFO - ready", "x" * 300]
    panel = show(page, component("foo", "ready", role="master"), long, foo=lines)
    theme = "dark" if page.evaluate("document.body.dataset.jpThemeLight") == "false" else "light"
    panel.get_by_role("button", name="foo-0").click()
    wait_for_line(page, "x" * 300)
    for time in range(1000, 1100, 2):
        load = {"cpu": 99.6, "rss": 999e6, "rate_out": 12345, "queued": 99999, "running": 1}
        samples = [{"name": name, "component": "w", **load} for name in NAMES]
        tell(page, {"topic": "metrics", "cursor": "c", "data": {"time": time, "samples": samples}})
    page.wait_for_function("document.querySelector('.palm-value').textContent === '100 %'")
    page.screenshot(path=str(screenshots / f"panel-{theme}-{width}.png"))
    assert panel.bounding_box()["width"] <= width - 32
    assert page.evaluate(CLIPPED) == []
    # It could be scrolled to, but a reader should not have to.
    assert panel.locator(".palm-scroll").evaluate("(n) => n.scrollWidth - n.clientWidth") <= 0
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert panel.locator("tbody th").first.bounding_box()["width"] >= 150


# Lines of a log that cover each other.
OVERLAPS = """() => [...document.querySelectorAll('.palm-line')]
  .map((node) => node.getBoundingClientRect())
  .filter((box, i, all) => i && Math.abs(all[i - 1].bottom - box.top) > 1).map((box) => box.top)"""
NAMES = ["foo-0", "a-rather-long-name-of-a-worker-0", "a-rather-long-name-of-a-worker-1"]
# Elements whose text does not fit and cannot be scrolled to.
CLIPPED = """() => [...document.querySelectorAll('.palm-panel *')].filter((node) => {
  if (!node.offsetParent || node.closest('.palm-hidden, .palm-log, svg')) return false;
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
  const text = all(
    'th, td, .palm-age, .palm-quiet, .palm-tab, .palm-chosen-facts, .palm-why-title', 'color');
  return { text, dots: all('.palm-dot', 'borderTopColor') };
}"""
