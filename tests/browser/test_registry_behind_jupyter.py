"""The registry's page behind a real jupyter-server-proxy: below a path, at another port."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palm.registry_api.client import RegistryClient
from tests.browser.realistic import Realistic
from tests.browser.test_registry_page import client, light, registry

__all__ = ["client", "light", "registry"]  # fixtures

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.no_leak_check("threads", "descriptors"),
]


@contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    """Run a Jupyter server without any front-end; give its address, with its token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
        "--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}",
    ]  # fmt: skip
    own = {
        name: str(folder / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    with (folder / "jupyter.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own, "JUPYTER_TOKEN": token}, stdout=log, stderr=log
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/api/status?token={token}", process, log.name)
            yield f"http://127.0.0.1:{port}/{{path}}?token={token}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"Jupyter did not start:\n{Path(log).read_text()[-3000:]}")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="palm-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_page_works_behind_jupyters_proxy(
    client: RegistryClient, light: Any, folder: Path, screenshots: Path
) -> None:
    genome = Realistic(client, "genome").build()
    port = client.url.split(":")[2].strip("/")
    with jupyter(folder) as address:
        page = light
        answer = page.goto(address.format(path=f"proxy/{port}/"))
        assert answer.status == 401 and "palm ui" in page.inner_text("main")
        page.problems.clear()
        page.asked.clear()
        page.goto(address.format(path=f"proxy/{port}/").partition("?")[0]
                  + client.login_url("#/clusters/genome").removeprefix(client.url))  # fmt: skip
        page.locator(".palm-table tbody tr").first.wait_for()
        assert f"/proxy/{port}/#/clusters/genome" in page.url
        genome.write("through the proxy")
        page.get_by_role("button", name="clean-0", exact=True).click()
        page.locator('.palm-text:text-is("through the proxy")').wait_for()
        page.get_by_role("button", name="One process more of clean").click()
        page.locator('.palm-count:text-is("5")').wait_for()
        assert client.component("genome", "clean").desired == 5
        page.get_by_role("link", name="Configuration").click()
        page.locator('.palm-state:has-text("valid")').wait_for()
        page.screenshot(path=str(screenshots / "page-behind-jupyter.png"))
        # Without the slash at its end the address of the page would lead astray what is relative.
        page.goto(address.format(path=f"proxy/{port}").partition("?")[0])
        page.locator(".page-grid tbody tr").first.wait_for()
        page.get_by_role("link", name="API").click()
        page.locator("#operations details").first.wait_for()
        jupyters = address.split("{")[0]
        assert page.asked <= {jupyters, jupyters.replace("http", "ws")}
        assert page.problems == []
