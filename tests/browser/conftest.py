"""Headless Chromium for the tests here; skipped, and said so, where it is missing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import ROOT, Lab, serve
from tests.support.fixtures import cluster_name, shared_registry
from tests.support.folders import use_folders
from tests.support.local import SharedRegistry
from tests.support.requirements import require_chromium

__all__ = ["cluster_name", "shared_registry"]

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


@pytest.fixture(scope="module")
def shared_lab(shared_registry: SharedRegistry) -> Iterator[Lab]:
    """A notebook server for all tests of a module; each has a cluster, and ends its kernels."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as environment:
        use_folders(environment, shared_registry.home)
        with serve(folder) as lab:
            yield lab
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def screenshots() -> Path:
    """Where pictures go, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
