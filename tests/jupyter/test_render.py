"""The HTML and the text beside the live panel."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from palm_jupyter.render import card_html, panel_html, panel_text, summary, uptime
from palm_jupyter.viewmodels import ClusterView, Components, Lines, Output
from tests.jupyter.builders import component

EVIL = '<img src=x onerror="alert(1)">&</pre><script>alert(2)</script>'


def snapshot(*components: dict[str, Any], output: dict[str, list[str]] | None = None) -> Any:
    view = ClusterView("lab")
    view.apply(Components(100.0, components))
    for process, lines in (output or {}).items():
        view.apply(Output([Lines(process, "stdout", lines)]))
    return view.snapshot()


class Tags(HTMLParser):
    """Collects tags; a void or unclosed one would break the nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_everything_from_outside_is_escaped() -> None:
    evil = component("w", "failed", functions=[EVIL], master=EVIL)
    evil["processes"][0] |= {"name": EVIL, "reason": EVIL}
    tags = Tags(panel_html(snapshot(evil, output={EVIL: [EVIL]})))
    assert not tags.open
    assert not tags.seen & {"img", "script", "link", "iframe"}
    assert not any(name.startswith("on") or name in ("src", "href") for name in tags.attributes)
    assert tags.text.count(EVIL) == 5
    card = Tags(card_html("ready", EVIL, EVIL))
    assert card.text.count(EVIL) == 2 and "img" not in card.seen


def test_html_needs_nothing_from_elsewhere() -> None:
    html = panel_html(snapshot(component("w", "ready"), output={"w-0": ["line"]}))
    assert not re.search(r"https?:|url\(|@import|\bid=", html)


def test_table_has_headings_and_every_process() -> None:
    html = panel_html(snapshot(component("w", "ready", "starting"), component("v", "failed")))
    for part in ('scope="col"', "w-0", "w-1", "v-0", "ready", "starting", "failed", "measure"):
        assert part in html


def test_reason_of_a_failure_is_shown() -> None:
    failed = component("w", "failed")
    failed["processes"][0]["reason"] = "ended with exit code 3"
    assert "it ended with exit code 3" in panel_html(snapshot(failed))


def test_empty_cluster_says_how_to_begin() -> None:
    assert "%palm master --name foo" in panel_html(snapshot())
    assert panel_text(snapshot()) == "cluster lab: no components"


def test_text_is_aligned() -> None:
    lines = panel_text(snapshot(component("a-long-name", "ready"), component("b", "ready"))).split(
        "\n"
    )
    assert lines[0] == "cluster lab: ready, 2 processes"
    assert len({line.index("worker") for line in lines[2:]}) == 1


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ([component("w", "ready")], "ready, 1 process"),
        ([component("w", "ready", "failed")], "1 of 2 processes ready"),
        ([component("w", "stopped", desired=0)], "stopped"),
        ([component("w", "ready", own=False, desired=0)], "nothing started here"),
    ],
)
def test_summary(components: list[dict[str, Any]], words: str) -> None:
    assert summary(snapshot(*components)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0:00"), (7.9, "0:07"), (760, "12:40"), (11100, "3:05:00"), (187200, "2 d 4 h")],
)
def test_uptime(seconds: float, words: str) -> None:
    assert uptime(seconds) == words
