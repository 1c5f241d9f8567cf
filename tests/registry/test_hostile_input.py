"""Names and paths that lead elsewhere, and clocks that are wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from palm.errors import ConfigError
from palm.registry_api import schema
from palm.registry_api.client import Refused, RegistryClient
from tests.support.registry import Browser, RegistryThread, Runner, piece, spec

ELSEWHERE = [
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc",
    "a/../b",
    "a\\..\\b",
    "C:\\windows",
    "a\0b",
    "\u202eb",
    "con\r\nX-Evil: 1",
    "",
    "a" * 65,
]


def files_of(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_f44_names_that_lead_elsewhere_are_refused_everywhere(
    name: str, client: RegistryClient, runner: Runner, palm_home: Path
) -> None:
    before = files_of(palm_home)
    calls: list[Any] = [
        lambda: client.create_cluster(name),
        lambda: client.declare("c", spec(name or " ")),
        lambda: client.join("c", schema.NodeJoin(name=name)),
        lambda: client.send_output("c", [piece(0, b"x", component=name or " ")]),
        lambda: client.send_output("c", [piece(0, b"x", name=name or " ")]),
        lambda: client.send_output("c", [piece(0, b"x", name if name.strip("a") else "")]),
    ]
    if name:
        calls += [lambda: client.view_cluster(name), lambda: client.component("c", name)]
    for call in calls:
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.status in (400, 404, 405)
    with pytest.raises(ConfigError, match=r"cannot be the name of a component|not TOML"):
        client.set_cluster("c", f"[components.{name!r}]\ncommand = ['x']")
    assert files_of(palm_home) == before


@pytest.mark.parametrize("path", ["page.js", "../security.py", "..%2fsecurity.py", "%2e%2e/app.py",
                                  "/etc/passwd", "page.js/..", "page.js%00"])  # fmt: skip
def test_f44_nothing_but_the_files_of_the_page_is_served(
    path: str, registry: RegistryThread, browser: Browser
) -> None:
    browser.headers["Authorization"] = f"Bearer {registry.token}"
    answer = browser.ask("GET", f"/static/{path}")
    assert (answer.status == 200) == (path == "page.js")
    assert b"import" not in answer.body or path == "page.js"


@pytest.mark.parametrize("name", ['a"; filename=evil.exe', "a\r\nX-Evil: 1", "../../a", "\u2028"])
def test_f44_a_download_has_a_name_that_leads_nowhere(
    name: str, client: RegistryClient, registry: RegistryThread, browser: Browser
) -> None:
    browser.headers["Authorization"] = f"Bearer {registry.token}"
    answer = browser.ask("GET", f"/api/clusters/c/output/download?name={quote(name)}")
    told = answer.headers["Content-Disposition"]
    assert told == 'attachment; filename="c.log"'
    assert "X-Evil" not in answer.headers


def test_f33_a_clock_that_is_ahead_writes_nothing_in_the_future(client: RegistryClient) -> None:
    now = time.time()
    client.send_output("c", [piece(0, b"ahead\n", time=now + 86400)])
    client.send_output("c", [piece(6, b"behind\n", time=now - 86400)])
    ahead, behind = client.output("c").records
    assert now - 1 < ahead.time < now + 60
    assert behind.time == pytest.approx(now - 86400)
    assert [r.text for r in client.output("c", since=now - 60).records] == ["ahead\n"]


def test_f33_output_is_in_order_and_found_when_the_registrys_clock_is_set_back(
    client: RegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    texts = []
    for number, shift in enumerate((0, -7200, -3600, 10)):
        monkeypatch.setattr(
            "palm_registry.service.outputs.time.time", lambda shift=shift: real() + shift
        )
        texts.append(f"line {number}\n")
        client.send_output("c", [piece(7 * number, texts[-1].encode())])
    monkeypatch.undo()
    assert [record.text for record in client.output("c").records] == texts
    assert [record.text for record in client.output("c", lines=9).records] == texts
    found = [record.text for record in client.output("c", since=real() - 9000).records]
    assert found == texts
