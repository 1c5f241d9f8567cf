"""Take the pictures of the registry's page that its documentation shows.

    python tools/page_pictures.py        writes docs/images/page-*.png

It needs Chromium and Playwright, as the tests in a browser do. The cluster in the pictures is made
up, and told to a registry of its own; no process of it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "registry")]

from playwright.sync_api import sync_playwright  # noqa: E402

from tests.browser.conftest import FLAGS  # noqa: E402
from tests.browser.realistic import SECOND, Realistic  # noqa: E402
from tests.support.registry import lent_registry  # noqa: E402
from tests.support.requirements import require_chromium  # noqa: E402

IMAGES = ROOT / "docs" / "images"
#: Seconds of samples, so that there are curves.
SECONDS = 20


def main() -> None:
    """Take them all."""
    with lent_registry() as registry, registry.client() as client, sync_playwright() as playwright:
        genome = Realistic(client, "genome").build()
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(client.login_url("#/clusters/genome"))
        for second in range(SECONDS):
            genome.beat()
            genome.write(*(f"batch {10 * second + n:03}: 512 records in 0.31 s" for n in range(10)))
            page.wait_for_timeout(1000)
        page.get_by_role("button", name="clean-0", exact=True).click()
        page.locator('.palm-text:has-text("batch 199")').wait_for()
        _take(page, "overview")
        page.goto(f"{client.url}#/clusters/genome/configuration")
        page.locator('.palm-state:has-text("valid")').wait_for()
        page.locator("textarea").fill(SECOND.replace("replicas = 4", "repilcas = 6"))
        page.locator(".page-editor-mark").wait_for()
        _take(page, "configuration")
        page.get_by_role("button", name="Revert").click()
        page.goto(f"{client.url}#/clusters/genome/versions")
        page.locator(".page-diff-line").first.wait_for()
        _take(page, "versions")
        browser.close()


def _take(page: Any, name: str) -> None:
    path = IMAGES / f"page-{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=str(path))
    print(f"wrote {path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
