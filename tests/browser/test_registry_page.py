"""The registry's page in a browser: live, safe, and to be used without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.registry_api.client import RegistryClient
from tests.support.registry import RegistryThread, Runner, piece, spec, status_of

pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]


@pytest.fixture
def registry(palm_home: Path) -> Iterator[RegistryThread]:
    running = RegistryThread(palm_home).start()
    yield running
    running.stop()


@pytest.fixture
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("seed")
        yield client


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(
        color_scheme=request.param, viewport={"width": 1000, "height": 900}
    )
    page = context.new_page()
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.scheme = request.param
    yield page
    context.close()


def test_status_and_output_come_live_and_as_text(
    client: RegistryClient, registry: RegistryThread, page: Any, screenshots: Path
) -> None:
    page.goto(client.login_url())
    assert page.url == client.url
    runner = Runner(client, "seed").join()
    client.declare("seed", spec("foo", role="process"))
    client.declare("seed", spec("foo-worker", role="worker", replicas=2))
    page.wait_for_selector("text=1 of foo (was never started)")
    answer = runner.beat()
    by_name = {a.spec.name: a.spec for a in answer.components}
    evil = "ended <img src=x onerror='window.pwned=1'>"
    runner.beat(
        status_of(by_name["foo"], pid=4711),
        status_of(by_name["foo-worker"], 0, pid=4712),
        status_of(by_name["foo-worker"], 1, "failed", reason=evil, restarts=3),
        full=True,
    )
    page.wait_for_selector("tr.replica .state.failed")
    assert page.inner_text("#summary").startswith("Missing: 1 of foo-worker (failed: it ended <img")

    text = b"hello\nw\xc3"
    client.send_output("seed", [piece(0, text), piece(len(text), b"\xa4rld </script><b>x</b>\n")])
    client.send_output("seed", [piece(0, b"\x1b[31moh\x1b[0m 1%\r2%\n", stream="stderr")])
    page.wait_for_selector("#output .stderr")
    lines = page.locator("#output > div").all_inner_texts()
    assert [line.removeprefix("foo") for line in lines] == [
        "hello",
        "wärld </script><b>x</b>",
        "2%",
    ]
    assert "node here has joined" in page.inner_text("#events")
    page.screenshot(path=screenshots / f"registry-{page.scheme}.png", full_page=True)
    assert page.evaluate("window.pwned") is None
    assert page.problems == []

    registry.stop()
    page.wait_for_selector("text=connection lost")
    registry.start()
    client.send_output("seed", [piece(0, b"after\n", "foo.2")])
    page.wait_for_selector("text=after")
    assert len(page.locator("#output > div").all()) == 4  # nothing came twice

    client.send_output("seed", [piece(6, b"cut \xc3", "foo.2")])
    client.send_output("seed", [piece(11, b"", "foo.2", lost=5_000_000, reason="disk")])
    client.send_output("seed", [piece(5_000_011, b"on\n", "foo.2")])
    page.locator("#output > div").nth(6).wait_for()
    lines = page.locator("#output > div").all_inner_texts()[-3:]
    assert [line.removeprefix("foo") for line in lines] == [
        "cut ",
        "[palm: 5.0 MB of output were dropped here: the disk of its node was full]",
        "on",
    ]

    page.select_option("#component", "foo-worker")
    page.wait_for_function("document.querySelectorAll('#output > div').length === 0")
    page.click("#logout")
    page.wait_for_selector("text=palm ui")
    assert page.goto(client.url).status == 401


def test_a_keyboard_reaches_everything_and_everything_has_a_name(
    client: RegistryClient, page: Any
) -> None:
    client.send_output("seed", [piece(0, b"hello\n")])
    page.goto(client.login_url())
    page.wait_for_selector("text=hello")
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"clusters", "logout", "component", "follow", "download", "output", "events"} <= set(
        reached
    )
    names = {
        "clusters": "Cluster",
        "component": "Component",
        "follow": "Follow",
    }
    for identifier, name in names.items():
        assert page.get_by_label(name, exact=True).first.get_attribute("id") == identifier
    assert page.locator("html").get_attribute("lang") == "en"
    contrast = page.evaluate(CONTRAST)
    assert min(contrast.values()) >= 4.5, contrast


#: Contrast of each kind of text against what is behind it, by WCAG.
CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const behind = (node) => {
    while (node) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
      node = node.parentElement;
    }
    return "rgb(255, 255, 255)";
  };
  const found = {};
  for (const node of document.querySelectorAll("h1, h2, p, th, td, a, time, #output *, label")) {
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
    found[node.tagName + "." + node.className + "#" + node.id] = (a + 0.05) / (b + 0.05);
  }
  return found;
}"""
