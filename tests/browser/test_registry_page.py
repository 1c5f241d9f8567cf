"""The registry's page in a browser: each screen, live, safe, and to be used without a mouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from tests.browser.realistic import SECOND, Realistic
from tests.support.cluster import until
from tests.support.registry import RegistryThread, Runner, lent_registry, piece, spec, status_of

pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]

CANARY = "<img src=x onerror='window.pwned=1'>"
ORIGIN = re.compile(r"\w+://[^/]+/")
WIDTH = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
HIDDEN = """Math.max(
    0, ...[...document.querySelectorAll(".page-scroll")].map((e) => e.scrollWidth - e.clientWidth)
)"""


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryThread]:
    with lent_registry() as running:
        yield running


@pytest.fixture(scope="module")
def client(registry: RegistryThread) -> Iterator[RegistryClient]:
    with registry.client() as client:
        client.create_cluster("seed")
        yield client


@pytest.fixture(scope="module")
def genome(client: RegistryClient) -> Realistic:
    return Realistic(client, "genome").build()


def opened(chromium: Any, scheme: str = "light") -> Any:
    """A page that notes what goes wrong in it, and which addresses it asks."""
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(15000)
    page.problems, page.asked, page.scheme = [], set(), scheme
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.asked.add(ORIGIN.match(request.url)[0]))
    return page


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    page = opened(chromium, request.param)
    yield page
    page.context.close()


@pytest.fixture
def light(chromium: Any) -> Iterator[Any]:
    """For what is the same in both themes."""
    page = opened(chromium)
    yield page
    page.context.close()


def go(client: RegistryClient, page: Any, where: str = "", ready: str = "h1") -> Any:
    page.goto(f"{client.url}#/{where}")
    page.locator(ready).first.wait_for()
    return page


def log_in(client: RegistryClient, page: Any, where: str = "", ready: str = "h1") -> Any:
    page.goto(client.login_url(f"#/{where}"))
    page.locator(ready).first.wait_for()
    return page


def as_viewer(registry: RegistryThread, name: str, scope: Any = "viewer") -> RegistryClient:
    with registry.client() as owner:
        return RegistryClient(registry.url, owner.add_token(name, scope).token)


def violations(page: Any, *rules: str) -> list[str]:
    """What axe finds that keeps somebody out, by these rules or by all."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = Axe().run(page, options=options)
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:160]}"
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


SCREENS = {
    "clusters": ("", ".page-grid tbody tr"),
    "overview": ("clusters/genome", ".palm-table tbody tr"),
    "configuration": ("clusters/genome/configuration", '.palm-state:has-text("valid")'),
    "versions": ("clusters/genome/versions", ".page-diff-line"),
    "nodes": ("clusters/genome/nodes", ".page-grid tbody tr"),
    "events": ("clusters/genome/events", ".page-grid tbody tr"),
    "tokens": ("tokens", ".page-grid tbody tr"),
    "audit": ("audit", ".page-grid tbody tr"),
    "empty": ("clusters/seed", ".page-empty"),
    "nowhere": ("no/such/place", ".page-empty"),
}


def test_each_screen_is_for_everyone(
    client: RegistryClient, genome: Realistic, page: Any, screenshots: Path
) -> None:
    genome.beat()
    genome.write(*(f"batch {n:03}: 512 records in 0.31 s" for n in range(40)))
    log_in(client, page)
    rules = ["color-contrast"] if page.scheme == "dark" else []  # the rest is the same
    for name, (where, ready) in SCREENS.items():
        genome.beat()
        go(client, page, where, ready)
        assert page.evaluate(WIDTH) <= 0, f"{name} scrolls sideways at 1280 px"
        assert page.evaluate(HIDDEN) <= 0, f"{name} has a table that scrolls sideways at 1280 px"
        assert violations(page, *rules) == [], name
        page.screenshot(path=str(screenshots / f"page-{name}-{page.scheme}.png"))
    assert page.problems == []
    assert page.asked <= {client.url, client.url.replace("http", "ws")}


def test_a_narrow_page_needs_no_scrolling_sideways(
    client: RegistryClient, genome: Realistic, light: Any
) -> None:
    light.set_viewport_size({"width": 800, "height": 900})
    page = log_in(client, light)
    for name, (where, ready) in SCREENS.items():
        go(client, page, where, ready)
        assert page.evaluate(WIDTH) <= 0, name


def test_the_panel_is_live_and_its_buttons_act(
    client: RegistryClient, genome: Realistic, light: Any
) -> None:
    page = log_in(client, light, "clusters/genome", ".palm-table tbody tr")
    assert page.title() == "genome - palm"
    page.get_by_role("button", name="clean-0", exact=True).click()
    genome.write("said now")
    page.locator('.palm-text:text-is("said now")').wait_for()
    page.get_by_role("button", name="One process more of clean").click()
    page.locator('.palm-count:text-is("5")').wait_for()
    assert client.component("genome", "clean").desired == 5
    page.get_by_role("link", name="Configuration").click()
    page.get_by_text("scaled 5 -> 4").wait_for()  # the file is in force, and not what runs
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_text("Nothing that runs would change.").wait_for()
    assert client.component("genome", "clean").desired == 4
    page.get_by_role("link", name="Nodes").click()
    genome.beat()
    row = page.locator("tbody tr", has_text="north").filter(has_text="ready")
    row.get_by_text("gpu=yes").wait_for()
    assert "MB" in row.inner_text()
    assert page.problems == []


def test_a_file_is_looked_at_as_one_types_and_put_in_force(
    client: RegistryClient, light: Any, screenshots: Path
) -> None:
    client.create_cluster("edited")
    page = log_in(client, light, "clusters/edited/configuration", "textarea")
    page.get_by_role("button", name="Begin with an example").click()
    page.locator('.palm-state:has-text("valid: 2 components")').wait_for()
    area = page.locator("textarea")
    area.fill('[components.a]\nscript = "a.py"\nreplicsa = 2\n')
    page.locator('.palm-state:has-text("1 problem")').wait_for()
    assert "did you mean 'replicas'?" in page.locator(".page-editor-mark").inner_text()
    assert page.locator(".page-editor-wrong").inner_text() == "3"
    assert page.get_by_role("button", name="Apply").is_disabled()
    page.get_by_role("button", name="line 3").click()
    assert area.evaluate("(n) => n.value.slice(n.selectionStart, n.selectionEnd)") == "replicsa = 2"
    assert violations(page) == []
    page.screenshot(path=str(screenshots / "page-configuration-wrong-light.png"))
    page.keyboard.type("replicas = 2")
    page.locator('.palm-state:has-text("valid: 1 component")').wait_for()
    assert "a" in page.locator(".page-effects").inner_text()
    area.press("Control+s")
    page.get_by_role("dialog").get_by_label("Note").fill("two of them")
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_text("Version 1 is in force.").wait_for()
    assert client.cluster_config("edited").note == "two of them"

    area.fill(area.input_value().replace("= 2", "= 3"))
    page.locator(".page-diff-added", has_text="replicas = 3").wait_for()
    page.get_by_role("link", name="Events").click()
    page.locator(".page-grid tbody tr").first.wait_for()
    page.get_by_role("link", name="Configuration").click()
    page.get_by_text("Your changes are not applied yet.").wait_for()
    assert "replicas = 3" in page.locator("textarea").input_value()
    # Somebody else was faster: nothing is overwritten that one has not seen.
    client.set_cluster("edited", '[components.b]\nscript = "b.py"\n')
    page.get_by_text("Version 2 was put in force meanwhile.").wait_for()
    page.locator(".page-diff-removed", has_text="components.b").wait_for()
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_text("Version 3 is in force.").wait_for()
    assert list(client.cluster_config("edited").text.splitlines())[-1] == "replicas = 3"
    assert page.problems == []


def test_versions_are_compared_and_rolled_back(client: RegistryClient, light: Any) -> None:
    client.create_cluster("versioned")
    for count in (1, 2, 3):
        client.set_cluster("versioned", f'[components.a]\nscript = "a.py"\nreplicas = {count}\n')
    page = log_in(client, light, "clusters/versioned/versions", ".page-diff-line")
    assert "From version 2 to 3" in page.locator(".page-card").inner_text()
    page.get_by_role("radio", name="Compare from version 1").check()
    page.locator('h2:text-is("From version 1 to 3")').wait_for()
    page.locator(".page-diff-removed", has_text="replicas = 1").wait_for()
    page.reload()
    page.locator('h2:text-is("From version 1 to 3")').wait_for()
    page.get_by_role("button", name="Roll back to version 1").click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".page-effects").wait_for()
    dialog.get_by_role("button", name="Roll back").click()
    page.get_by_text("Version 4 is in force, as version 1 was.").wait_for()
    page.get_by_role("button", name="Roll back to version 3").wait_for()
    assert "replicas = 1" in client.cluster_config("versioned").text
    assert page.problems == []


def test_clusters_are_made_and_deleted_by_name_and_back_leads_back(
    client: RegistryClient, light: Any
) -> None:
    page = log_in(client, light)
    page.get_by_role("button", name="New cluster").click()
    page.get_by_label("Name").fill("short lived")
    assert page.get_by_role("button", name="Make").is_disabled()
    page.get_by_label("Name").fill("shortlived")
    page.get_by_role("button", name="Make").click()
    page.locator("textarea").wait_for()
    assert page.title() == "shortlived: Configuration - palm"
    page.go_back()
    page.locator('h1:text-is("Clusters")').wait_for()
    delete = page.get_by_role("button", name="Delete shortlived")
    delete.click()
    dialog = page.get_by_role("dialog")
    page.keyboard.type("shortlive")
    assert dialog.get_by_role("button", name="Delete").is_disabled()
    for _ in range(6):  # around, and around
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert delete.evaluate("(n) => n === document.activeElement")
    page.keyboard.press("Enter")
    page.keyboard.type("shortlived")
    page.keyboard.press("Enter")
    page.locator("th", has_text="shortlived").wait_for(state="detached")
    assert "shortlived" not in {info.key for info in client.cluster_list()}
    go(client, page, "clusters/shortlived", '.page-empty:has-text("There is no such cluster")')


def test_a_token_is_shown_once_and_can_be_revoked(client: RegistryClient, light: Any) -> None:
    page = log_in(client, light, "tokens", ".page-grid tbody tr")
    page.get_by_role("button", name="New token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("owner")
    dialog.get_by_role("button", name="Make").click()
    dialog.get_by_role("alert").filter(has_text="owner").wait_for()
    assert violations(page) == []
    dialog.get_by_label("Name").fill("grafana")
    dialog.get_by_role("button", name="Make").click()
    secret = page.get_by_label("The token").input_value()
    assert secret.startswith("palm_")
    with RegistryClient(client.url, secret) as other:
        assert other.caller().scope == "viewer"
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").wait_for()
    page.get_by_role("button", name="Done").click()
    row = page.locator("tbody tr", has_text="grafana")
    row.wait_for()
    assert "in 30 d" in row.inner_text() and secret not in page.content()
    assert not page.get_by_role("button", name="Revoke owner").count()
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    row.wait_for(state="detached")
    assert "grafana" not in {token.name for token in client.tokens()}


def test_long_lists_are_filtered_and_read_page_by_page(client: RegistryClient, light: Any) -> None:
    client.create_cluster("eventful")
    for number in range(130):
        client.update_cluster("eventful", name=f"name {number}")
    client.declare("eventful", spec("foo"))
    page = log_in(client, light, "clusters/eventful/events", ".page-grid tbody tr")
    rows = page.locator(".page-grid tbody tr")
    until(lambda: rows.count() == 100)
    page.get_by_role("button", name="Older").click()
    page.locator("td", has_text="the cluster was made").wait_for()
    assert page.get_by_role("button", name="Older").is_hidden()
    total = rows.count()
    client.update_cluster("eventful", name="last name")
    page.locator("td", has_text="last name").wait_for()
    assert rows.count() == total + 1
    page.get_by_label("Component").select_option("foo")
    until(lambda: 0 < rows.count() < 10)
    assert "component=foo" in page.url
    page.get_by_label("Kind").select_option("lease")
    page.locator('.page-empty:has-text("Nothing of that kind")').wait_for()
    go(client, page, "audit?cluster=eventful", ".page-grid tbody tr")
    until(lambda: rows.count() == 100)
    assert all("eventful" in text for text in rows.all_inner_texts())
    page.get_by_role("button", name="Older").click()
    until(lambda: rows.count() == 132)


def test_a_lost_node_is_forgotten_and_another_removed_by_its_name(
    client: RegistryClient, light: Any
) -> None:
    client.create_cluster("moving")
    lost, there = Runner(client, "moving", "gone").join(), Runner(client, "moving", "there").join()
    until(lambda: not client.nodes("moving")[0].alive and there.beat())
    page = log_in(client, light, "clusters/moving/nodes", "tbody tr:has-text('lost')")
    page.get_by_role("button", name="Forget lost nodes").click()
    there.beat()  # or it would be lost, too, where all takes long
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    page.locator("tbody tr", has_text="gone").wait_for(state="detached")
    assert [node.name for node in client.nodes("moving")] == [there.name] != [lost.name]
    page.get_by_role("button", name="Remove there").click()
    page.keyboard.type("there")
    page.keyboard.press("Enter")
    page.get_by_text("No node has joined").wait_for()
    assert client.nodes("moving") == []


def test_a_viewer_is_offered_nothing_that_would_be_refused(
    registry: RegistryThread, client: RegistryClient, genome: Realistic, light: Any
) -> None:
    with as_viewer(registry, "watcher") as watcher:
        page = log_in(watcher, light, "", ".page-grid tbody tr")
        assert page.locator("#places a").all_inner_texts() == ["Clusters", "API"]
        allowed = {"Log out", "Older", "Copy", "Download", "Times", "Follow"}
        for where, ready in [
            SCREENS["clusters"],
            SCREENS["configuration"],
            SCREENS["versions"],
            SCREENS["nodes"],
            SCREENS["events"],
        ]:
            go(client, page, where, ready)
            assert set(page.locator("button:visible").all_inner_texts()) <= allowed, where
        assert page.locator("textarea").count() == 0
        go(client, page, *SCREENS["configuration"])
        assert page.locator("textarea").get_attribute("readonly") is not None
        go(client, page, *SCREENS["overview"])
        assert page.locator("button.palm-act:visible").count() == 0
        assert page.get_by_role("button", name="Restart").count() == 0
        for place in ("tokens", "audit"):
            go(client, page, place, '.page-empty:has-text("scope admin")')
        assert page.problems == []


def test_a_flood_and_a_new_start_of_the_registry_lose_nothing_and_repeat_nothing(
    client: RegistryClient, registry: RegistryThread, light: Any
) -> None:
    client.create_cluster("flooded")
    runner = Runner(client, "flooded").join()
    client.declare("flooded", spec("foo"))
    assigned = {a.spec.name: a.spec for a in runner.beat().components}
    runner.beat(status_of(assigned["foo"], pid=1), full=True)
    page = log_in(client, light, "clusters/flooded", ".palm-table tbody tr")
    offset = 0

    def write(numbers: range) -> None:
        nonlocal offset
        for begin in range(numbers.start, numbers.stop, 5000):
            lines = (f"line {n:06}\n" for n in range(begin, min(begin + 5000, numbers.stop)))
            data = "".join(lines).encode()
            client.send_output("flooded", [piece(offset, data)])
            offset += len(data)

    write(range(50_000))
    page.locator('.palm-text:text-is("line 049999")').wait_for()
    registry.stop()
    page.locator('#banner:has-text("Connection lost")').wait_for()
    registry.start()
    page.locator("#banner").wait_for(state="hidden")
    write(range(50_000, 100_000))
    page.locator('.palm-text:text-is("line 099999")').wait_for()
    page.reload()
    page.locator('.palm-text:text-is("line 099999")').wait_for()
    page.get_by_role("searchbox").fill("line 0499")
    page.locator('.palm-text:has-text("line 049999")').wait_for()
    height = page.locator(".palm-log").evaluate("(n) => n.firstChild.clientHeight / 18")
    assert round(height) == 100, "each line that has it, once"
    go(client, page)
    registry.stop()
    page.locator('#banner:has-text("does not answer")').wait_for()
    registry.start()
    page.locator("#banner").wait_for(state="hidden")


def test_what_is_typed_while_the_registry_is_away_is_looked_at_once_it_is_back(
    client: RegistryClient, registry: RegistryThread, light: Any
) -> None:
    page = log_in(client, light, "clusters/seed/configuration", "textarea")
    page.locator("#banner").wait_for(state="hidden")
    page.locator('.page-look .palm-state:has-text("empty")').wait_for()
    registry.stop()
    page.locator("textarea").fill('[components.a]\nscript = "a.py"\n')
    page.locator('.palm-state:has-text("does not answer")').wait_for()
    registry.start()
    page.locator('.palm-state:has-text("valid: 1 component")').wait_for()


def test_the_end_of_a_session_is_told_with_the_way_back(
    registry: RegistryThread, client: RegistryClient, light: Any
) -> None:
    with as_viewer(registry, "leaving") as leaving:
        page = log_in(leaving, light, "clusters/seed", ".page-empty")
        client.revoke_token("leaving")
    page.locator('h1:text-is("Not logged in")').wait_for()
    assert "palm ui" in page.locator("main").inner_text()
    assert page.goto(client.url).status == 401
    assert "palm ui" in page.inner_text("main")
    log_in(client, page)
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("You are logged out.").wait_for()
    assert page.goto(client.url).status == 401


def test_a_keyboard_reaches_everything(
    client: RegistryClient, genome: Realistic, light: Any
) -> None:
    page = log_in(client, light, "", ".page-grid tbody tr")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    assert page.locator("#skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.get_by_role("link", name="genome").focus()
    page.keyboard.press("Enter")
    page.locator(".palm-table tbody tr").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "main", "focus goes where the page does"
    # In one go: the next frame says how the cluster really is.
    motion = (
        "(n) => { n.dataset.state = 'starting';"
        " return getComputedStyle(n.querySelector('.palm-dot')).animationName; }"
    )
    badge = page.locator(".page-crumbs .palm-state")
    assert badge.evaluate(motion) == "palm-breathe"
    page.emulate_media(reduced_motion="reduce")
    assert badge.evaluate(motion) == "none"
    go(client, page, *SCREENS["configuration"])
    area = page.locator("textarea")
    area.focus()
    outline = "(n) => getComputedStyle(n.closest('.page-editor')).boxShadow"
    assert area.evaluate(outline) != "none"
    page.keyboard.press("Tab")
    assert area.input_value() != SECOND, "Tab indents"
    page.keyboard.press("Control+z")
    assert area.input_value() == SECOND, "and is undone"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") != "TEXTAREA"


def test_what_comes_from_elsewhere_is_text(
    client: RegistryClient, registry: RegistryThread, light: Any
) -> None:
    client.create_cluster("hostile")
    client.update_cluster("hostile", name=f'"><script>window.pwned=1</script>{CANARY}')
    runner = Runner(client, "hostile", "here")
    join = schema.NodeJoin(name="here", address=CANARY, labels={"gpu": "yes"})
    runner.session, runner.generation = client.join("hostile", join).session, -1
    text = f'[components.foo]\ncommand = ["sleep", "{CANARY}"]\n'
    client.set_cluster("hostile", text, note=CANARY, folder="/")
    client.set_cluster("hostile", text + f'env = {{ A = "{CANARY}" }}\n', note=CANARY, folder="/")
    assigned = {a.spec.name: a.spec for a in runner.beat().components}
    evil = f"ended {CANARY} \x1b]0;title\x07\u202e"
    runner.beat(
        status_of(assigned["foo"], 0, "failed", reason=evil, last_lines=CANARY, exit=1), full=True
    )
    client.send_output("hostile", [piece(0, f"{CANARY}\x1b[31mred\x1b[0m\u202e\n".encode())])
    page = log_in(client, light, "", ".page-grid tbody tr")
    page.locator("span", has_text="<script>").wait_for()
    for tab, ready in [
        ("", '.palm-text:has-text("<img")'),
        ("/configuration", ".palm-state:has-text('valid')"),
        ("/versions", ".page-diff-added"),
        ("/nodes", ".page-label"),
        ("/events", ".page-grid tbody tr"),
    ]:
        go(client, page, f"clusters/hostile{tab}", ready)
        assert CANARY in page.locator("main").inner_text() or tab == "/configuration", tab
        assert page.locator("main img, main script").count() == 0
    page.locator("td", has_text="ended <img").first.wait_for()
    assert "\u202e" not in page.locator("main").inner_text()
    go(client, page, "clusters/hostile/configuration", ".palm-state:has-text('valid')")
    page.locator("textarea").fill(f'[components.foo]\n"{CANARY}" = 1\n')
    page.locator(".page-problems", has_text="<img").wait_for()
    go(client, page, f"clusters/{CANARY.replace('/', '')}", ".page-empty")
    go(client, page, f"audit?token={CANARY}", "h1")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img").count() == 0
