"""The page of the API document: to be read in light and dark, and used without a mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palm.registry_api.client import RegistryClient
from tests.browser.test_registry_page import client, page, registry, violations
from tests.support.registry import RegistryThread

__all__ = ["client", "page", "registry"]  # fixtures

pytestmark = [pytest.mark.browser, pytest.mark.no_leak_check("threads", "descriptors")]


def opened(client: RegistryClient, page: Any, where: str = "") -> Any:
    page.goto(client.login_url())
    page.goto(f"{client.url}docs{where}")
    page.wait_for_selector("#operations details")
    return page


def test_every_operation_is_there_with_what_it_takes_and_gives(
    client: RegistryClient, page: Any, screenshots: Path
) -> None:
    opened(client, page)
    paths = client.openapi()["paths"]
    assert page.locator("#operations details").count() == sum(map(len, paths.values()))
    for summary in page.locator("#operations summary").all():
        summary.click()
    assert page.locator(".inside h3", has_text="Answers").count() == sum(map(len, paths.values()))
    page.goto(f"{client.url}docs#post-lease")
    lease = page.locator("#post-lease")
    command = lease.locator("code", has_text="curl").inner_text()
    assert "-H @-" in command and f"{client.url}api/clusters/default/lease" in command
    assert '"holder":"notebook-1"' in command
    page.screenshot(path=screenshots / f"registry-docs-{page.scheme}.png")
    assert page.problems == []


def test_a_keyboard_finds_and_opens_an_address(client: RegistryClient, page: Any) -> None:
    opened(client, page)
    page.keyboard.press("/")
    page.keyboard.type("scale")
    assert page.inner_text("#found").startswith("1 of ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#post-action-scale[open]")
    assert page.evaluate("document.activeElement.parentElement.id") == "post-action-scale"
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert page.locator("#operations details:visible").count() > 30
    assert page.problems == []


def test_a_narrow_page_needs_no_scrolling_sideways(client: RegistryClient, page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    opened(client, page, "#get-output")
    page.wait_for_selector("#get-output[open] table")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_document_is_for_everyone(
    client: RegistryClient, registry: RegistryThread, page: Any
) -> None:
    opened(client, page, "#post-lease")
    page.wait_for_selector("#post-lease[open] .sample")
    assert violations(page) == []
