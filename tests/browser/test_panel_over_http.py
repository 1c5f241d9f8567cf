"""The panel's module against a real registry, without Jupyter, as a page of it may use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from tests.support.cluster import until
from tests.support.registry import RegistryThread, Runner, piece, spec, status_of

pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]

# In a page of the registry, so that its cookie, origin and content policy hold.
OPEN = """async () => {
  const { PageTransport, Store, createPanel } = await import(new URL('static/panel.js', document.baseURI));
  const style = document.createElement('link');
  Object.assign(style, { rel: 'stylesheet', href: 'static/panel.css' });
  document.head.append(style);
  const xsrf = document.querySelector('meta[name="xsrf"]').content;
  const transport = new PageTransport('seed', {
    address: (path) => new URL(path, document.baseURI),
    headers: () => ({ 'X-XSRF-Token': xsrf }),
  });
  const root = document.createElement('div');
  document.body.prepend(root);
  window.store = new Store(transport);
  createPanel(root, window.store);
  await window.store.fetchHistory();
}"""  # noqa: E501 - a statement of another language


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


@pytest.fixture
def runner(client: RegistryClient) -> Runner:
    """A node with a master and two workers, one of which has failed."""
    runner = Runner(client, "seed").join()
    client.declare("seed", spec("foo", role="master"))
    client.declare("seed", spec("w", role="worker", replicas=2))
    by_name = {a.spec.name: a.spec for a in runner.beat().components}
    runner.beat(
        status_of(by_name["foo"], pid=4711),
        status_of(by_name["w"], 0, pid=4712),
        status_of(by_name["w"], 1, "failed", reason="ended with exit code 3", exit=3, restarts=5),
        full=True,
    )
    return runner


@pytest.fixture
def page(chromium: Any, client: RegistryClient, runner: Runner) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(client.login_url())
    page.evaluate(OPEN)
    page.problems = problems
    yield page
    context.close()


def write(client: RegistryClient, *lines: str, offset: int = 0) -> int:
    data = "".join(f"{line}\n" for line in lines).encode()
    client.send_output("seed", [piece(offset, data, "foo.1")])
    return offset + len(data)


def test_state_samples_and_events_come_over_the_registrys_own_feed(
    client: RegistryClient, runner: Runner, page: Any, screenshots: Path
) -> None:
    panel = page.locator(".palm-panel")
    panel.locator('.palm-summary:has-text("2 of 3 ready")').wait_for()
    assert "1 process of w missing" in panel.locator(".palm-missing").inner_text()
    assert "w-1: It ended with exit code 3." in panel.locator(".palm-trouble").inner_text()
    edge = schema.EdgeSample(source="foo", target="w-0", role="worker", rate=2.5, messages=9)
    sample = schema.Sample(
        name="foo", component="foo", pid=4711, cpu=7.0, rss=30_000_000, edges=[edge]
    )
    report = schema.NodeSamples(session=runner.session, samples=[sample])
    client.send_metrics("seed", runner.name, report)
    panel.locator('.palm-measure-cpu:has-text("7 %")').wait_for()
    panel.get_by_role("tab", name="Topology").click()
    panel.locator('.palm-link-rate:has-text("2.5/s")').wait_for()
    panel.get_by_role("tab", name="Events").click()
    panel.locator('.palm-events:has-text("node here has joined")').wait_for()
    page.screenshot(path=str(screenshots / "panel-over-http.png"))
    assert page.problems == []


def test_output_is_read_followed_and_searched_over_http(
    client: RegistryClient, registry: RegistryThread, page: Any
) -> None:
    offset = write(client, *(f"early {n}" for n in range(1200)))
    panel = page.locator(".palm-panel")
    panel.get_by_role("button", name="foo", exact=True).click()
    panel.locator('.palm-text:text-is("early 1199")').wait_for()
    offset = write(client, "live", offset=offset)
    panel.locator('.palm-text:text-is("live")').wait_for()
    panel.locator(".palm-log").evaluate("(n) => { n.scrollTop = 0; }")
    panel.locator('.palm-text:text-is("early 700")').wait_for()
    panel.locator(".palm-latest").click()
    registry.stop()
    panel.locator('.palm-age:has-text("the registry does not answer since")').wait_for()
    assert "What runs goes on" in panel.locator(".palm-away").inner_text()
    registry.start()
    write(client, "after", offset=offset)
    panel.locator('.palm-text:text-is("after")').wait_for()
    panel.locator('.palm-age:text-is("live")').wait_for()
    panel.get_by_role("searchbox").fill("early 11")
    until(lambda: page.evaluate("store.log.lines.length") == 111)  # 11, 110 to 119, 1100 to 1199
    assert panel.locator("mark").last.inner_text() == "early 11"


def test_buttons_act_over_http_and_say_what_was_refused(client: RegistryClient, page: Any) -> None:
    panel = page.locator(".palm-panel")
    panel.get_by_role("button", name="One process more of w").click()
    panel.locator('.palm-count:text-is("3")').wait_for()
    assert client.component("seed", "w").desired == 3
    panel.get_by_role("button", name="Stop foo").click()
    panel.get_by_role("button", name="Start foo", exact=True).wait_for()
    assert client.component("seed", "foo").desired == 0
    client.remove("seed", "w")
    page.evaluate("() => { void store.act({ do: 'restart', component: 'nowhere' }); }")
    until(lambda: page.evaluate("store.notes.has('nowhere')"))
    assert "nowhere" in page.evaluate("store.notes.get('nowhere').text")
