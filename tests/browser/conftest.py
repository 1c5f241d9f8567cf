"""Headless Chromium for the tests here; skipped, and said so, where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.requirements import require_chromium

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "registry" / "palm_registry" / "static"
SCREENSHOTS = ROOT / "build" / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, once a module: its event loop runs in this thread until it is closed.

    Nobody else in the thread can run one meanwhile.
    """
    path = require_chromium()
    from playwright import sync_api  # only where a browser is there

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def screenshots() -> Path:
    """Where pictures go, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
