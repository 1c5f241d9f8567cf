"""A notebook server of a test's own, and pages of JupyterLab and Notebook 7 in it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
#: Nothing that asks, fetches or hides.
OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
THEME = """async (theme) => {
  await window.jupyterapp.commands.execute('apputils:change-theme', { theme });
}"""
IS_LIGHT = "document.body.dataset.jpThemeLight"
ERRORS = (
    '[data-mime-type="application/vnd.jupyter.error"],'
    '[data-mime-type="application/vnd.jupyter.stderr"]'
)
IDLE = """async () => {
  const app = window.jupyterapp;
  if (!app) return false;
  await app.restored;
  const context = app.shell.currentWidget?.context?.sessionContext;
  if (!context) return false;
  await context.ready;
  const kernel = context.session?.kernel;
  return kernel?.status === 'idle' && kernel.connectionStatus === 'connected';
}"""


@dataclass
class Lab:
    """A running server; ``notebooks`` is its root folder."""

    port: int
    token: str
    notebooks: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, name: str, front_end: str = "lab") -> str:
        path = {"lab": "lab/tree", "notebook": "notebooks"}[front_end]
        return f"{self.address}/{path}/{name}?token={self.token}&reset"

    def add(self, name: str, *cells: str) -> None:
        """Write a notebook of these cells."""
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": kernel},
        )
        nbformat.write(notebook, self.notebooks / name)

    def end_kernels(self) -> None:
        """End all kernels: they outlive their pages."""
        for session in self._ask("GET", "api/sessions"):
            self._ask("DELETE", f"api/sessions/{session['id']}")

    def _ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.address}/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")


@contextmanager
def serve(folder: Path) -> Iterator[Lab]:
    """Run a notebook server with settings of its own below ``folder``; its kernels end with it."""
    for part in ("app", "notebooks"):
        (folder / part).mkdir(parents=True)
    (folder / "app" / "overrides.json").write_text(json.dumps(OVERRIDES))
    lab = Lab(_free_port(), secrets.token_hex(16), folder / "notebooks")
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(
            _command(lab, folder), env=_environment(lab, folder), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            _wait_until_up(lab, process, folder / "lab.log")
            yield lab
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)


def _command(lab: Lab, folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={lab.port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={lab.notebooks}",
        f"--LabApp.app_settings_dir={folder / 'app'}", "--KernelManager.transport=ipc",
        "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
    ]  # fmt: skip


def _environment(lab: Lab, folder: Path) -> dict[str, str]:
    own = {
        "JUPYTER_TOKEN": lab.token,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "registry")]),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        # The sockets of kernels lie here, and their paths must be short.
        "JUPYTER_RUNTIME_DIR": str(folder / "r"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    return {**os.environ, **own}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(lab: Lab, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{lab.address}/api/status?token={lab.token}", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


class Notebook:
    """A notebook opened in a page of JupyterLab, or of Notebook 7."""

    def __init__(
        self, browser: Any, lab: Lab, name: str, *, height: int = 1000, front_end: str = "lab"
    ) -> None:
        self._context = browser.new_context(viewport={"width": 1280, "height": height})
        self.page = self._context.new_page()
        self.page.set_default_timeout(20000)
        self.outside: list[str] = []
        self._inside = (lab.address, lab.address.replace("http", "ws"), "data:", "blob:")
        self.page.on("request", self._on_request)
        self.page.goto(lab.url(name, front_end))
        self.root = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.root.locator(".jp-CodeCell").first.wait_for()
        self.wait_until_idle()

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith(self._inside):
            self.outside.append(request.url)

    def wait_until_idle(self) -> None:
        """Wait until a kernel is there and does nothing."""
        self.page.wait_for_function(IDLE, timeout=60000)

    def command(self, name: str) -> None:
        """Begin one of JupyterLab's commands; those that run cells end when the cells do."""
        self.page.evaluate("(name) => { window.jupyterapp.commands.execute(name); }", name)

    def run_cell(self, number: int, *, wait: bool = True) -> None:
        """Run a cell; wait until it is done, or only begin."""
        self.page.evaluate(
            "(n) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = n; }", number
        )
        self.command("notebook:run-cell")
        if wait:
            self.wait_for_cell(number)

    def wait_for_cell(self, number: int) -> None:
        """Wait until a cell that was begun is done."""
        self.page.wait_for_function(
            "(n) => { const c = window.jupyterapp.shell.currentWidget.content.widgets[n];"
            " return c.model.executionCount !== null && c.model.executionState !== 'running'; }",
            arg=number,
        )

    def cell(self, number: int) -> Any:
        """A cell, counted from 0."""
        return self.root.locator(".jp-Cell").nth(number)

    def in_themes(self) -> Iterator[str]:
        """Show each theme in turn, the light one last."""
        for theme in ("dark", "light"):
            self.page.evaluate(THEME, THEMES[theme])
            self.page.wait_for_function(f"() => {IS_LIGHT} === '{str(theme == 'light').lower()}'")
            self.page.locator("#jupyterlab-splash").wait_for(state="detached")
            yield theme

    def pictures(self, folder: Path, name: str, state: str) -> None:
        """Take a picture in each theme: ``NAME-light-STATE.png`` and ``NAME-dark-STATE.png``."""
        for theme in self.in_themes():
            self.page.screenshot(path=str(folder / f"{name}-{theme}-{state}.png"))

    def save(self) -> None:
        """Write it to its file."""
        self.page.evaluate(
            "async () => { await window.jupyterapp.commands.execute('docmanager:save'); }"
        )

    def reload(self) -> None:
        """Save, and load the page again: what it shows then comes from the file and the kernel."""
        self.save()
        self.page.reload()
        self.root.locator(".jp-CodeCell").first.wait_for()
        self.wait_until_idle()

    def restart_kernel(self) -> None:
        """Begin to restart the kernel, as by its menu."""
        self.command("kernelmenu:restart")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def run_all(self, timeout: float = 120) -> None:
        """Run all cells and wait until the last one is done."""
        before = self.page.evaluate(COUNTS)
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(DONE, arg=before, timeout=timeout * 1000)

    def restart_and_run_all(self, timeout: float = 120) -> None:
        """The same with a fresh kernel."""
        self.command("notebook:restart-run-all")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.wait_for_function(f"() => ({COUNTS})().includes(null)")
        none = self.page.evaluate(COUNTS)
        self.page.wait_for_function(DONE, arg=[None] * len(none), timeout=timeout * 1000)

    def errors(self) -> list[str]:
        """Texts of all error outputs."""
        return list(self.root.locator(ERRORS).all_inner_texts())

    def close(self) -> None:
        """Close the page."""
        self._context.close()


COUNTS = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .filter((cell) => cell.model.type === 'code').map((cell) => cell.model.executionCount)"""
# Every cell has been run again, or one has failed and the rest were skipped.
DONE = f"""(before) => {{
  const now = ({COUNTS})();
  const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel;
  if (document.querySelector('[data-mime-type="application/vnd.jupyter.error"]')) return true;
  return kernel?.status === 'idle' && now.every((n, i) => n !== null && n !== before[i]);
}}"""
