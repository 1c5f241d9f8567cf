"""Run the quickstart notebook without a browser and keep what came out: ``make demo``.

Writes ``build/demo/quickstart.ipynb``, ``.html`` and ``.csv``. The notebook itself writes the
last one, to the path in ``PALM_DEMO_CSV``. The cluster has folders of its own, so that a demo and
an open notebook do not meet.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
RESULTS = ROOT / "build" / "demo"
#: Seconds that one cell may take; the whole notebook takes a fraction of it.
CELL_TIMEOUT = 300
#: A page that needs nothing from the network: nbconvert's own, without its scripts.
PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""
#: Widgets need scripts, so the page shows the snapshot that comes with them.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Progress:
    """One line that says which cell runs and for how long; a line a cell where nobody watches."""

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._done = 0
        self._title = "starting the kernel"
        self._started = time.monotonic()
        self._live = sys.stdout.isatty()

    def begin(self, source: str) -> None:
        """Take note of the cell that starts."""
        self._done += 1
        self._title = source.strip().partition("\n")[0]
        self.show() if self._live else print(self._line(), flush=True)

    def end(self) -> None:
        """Finish the line."""
        if self._live:
            print()

    def show(self) -> None:
        """Write the line again, over the last one."""
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{self._line()[:width]:<{width}}", end="", flush=True)

    async def watch(self) -> None:
        """Show the seconds while they pass, until cancelled."""
        while self._live:
            self.show()
            await asyncio.sleep(0.2)

    def _line(self) -> str:
        seconds = time.monotonic() - self._started
        return f"cell {self._done:>2} of {self._cells}  {seconds:5.1f} s  {self._title}"


async def run(notebook: nbformat.NotebookNode, home: Path) -> None:
    """Execute every cell; the outputs are in ``notebook`` afterwards, also after an error.

    Ctrl-C or SIGTERM cancels the run, which ends the kernel, and that the cluster.
    """
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    progress = Progress(cells)

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            progress.begin(cell.source)

    told = asyncio.Event()
    task = asyncio.current_task()

    def stop() -> None:
        told.set()
        if task is not None:
            task.cancel()

    def listen(notebook: nbformat.NotebookNode) -> None:
        # in place of nbclient's own handlers, which end the kernel behind the back of the run
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    client = client_for(notebook, home, on_notebook_start=listen, on_cell_start=begin)
    watcher = asyncio.create_task(progress.watch())
    try:
        await client.async_execute(env=environment(home))
    except DeadKernelError:  # nbclient takes any cancellation for this
        if told.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        watcher.cancel()
        progress.end()


def client_for(notebook: nbformat.NotebookNode, home: Path, **hooks: Any) -> NotebookClient:
    """Prepare to run the notebook where it lies, over sockets in ``home``."""
    connection = {"transport": "ipc", "connection_file": str(home / "kernel.json")}
    return NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        config=Config({"KernelManager": connection}),
        **hooks,
    )


def environment(home: Path) -> Mapping[str, str]:
    """Make the kernel's environment: this interpreter, folders of its own, the place of the CSV."""
    return os.environ | {
        "IPYTHONDIR": str(home / "ipython"),
        "PALM_DEMO_CSV": str(RESULTS / "quickstart.csv"),
        "PALM_RUN_DIR": str(home / "run"),
        "PALM_STATE_DIR": str(home / "state"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def end_cluster(home: Path) -> None:
    """End the cluster, which would linger for a while after its notebook."""
    command = [sys.executable, "-m", "palm", "down"]
    subprocess.run(command, env=environment(home), stdout=subprocess.DEVNULL, check=True)


def page_of(notebook: nbformat.NotebookNode) -> str:
    """Render the notebook as one HTML page that is complete without a network."""
    config = Config({"NbConvertBase": {"display_data_priority": SHOWN}})
    exporter = HTMLExporter(raw_template=PAGE, config=config)
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": "palm: quickstart"}})
    return str(html)


def show(frame: pd.DataFrame) -> None:
    """Print the first rows and what there is in all."""
    width = shutil.get_terminal_size().columns
    with pd.option_context("display.width", width, "display.max_columns", None):
        print(frame.head().to_string(index=False, line_width=width, max_colwidth=36))
    print(f"\n{summary(frame)}\n")


def summary(frame: pd.DataFrame) -> str:
    """Describe the job in a sentence: rows, failures by type, workers, time at work."""
    failed = frame["error"].dropna()
    text = f"{len(frame):,} messages, {len(frame) - len(failed):,} results, {len(failed)} errors"
    if len(failed):
        types = failed.str.partition(":")[0].value_counts()
        text += " (" + ", ".join(f"{count} {name}" for name, count in types.items()) + ")"
    workers = frame["worker"].nunique()
    return f"{text}; {workers} workers, {frame['duration'].sum():.1f} s of work."


def failure_text(error: Exception) -> str:
    """Say what went wrong in the notebook, in colour on a terminal only."""
    text = str(error)
    return text if sys.stderr.isatty() else ANSI.sub("", text)


def make_demo() -> int:
    """Run, write the three files, show the frame; 1 on a failure, which is on stderr."""
    paths: dict[str, Path] = {
        kind: RESULTS / f"quickstart.{kind}" for kind in ("ipynb", "html", "csv")
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    for path in paths.values():
        path.unlink(missing_ok=True)
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    # short, for the sockets in it
    with tempfile.TemporaryDirectory(
        prefix="palm-", dir="/tmp", ignore_cleanup_errors=True
    ) as home:
        try:
            asyncio.run(run(notebook, Path(home)))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(failure_text(error), file=sys.stderr)
            return 1
        finally:
            end_cluster(Path(home))
            nbformat.write(notebook, paths["ipynb"])
            paths["html"].write_text(page_of(notebook), "utf-8")
    if not paths["csv"].exists():
        print("The notebook did not write its DataFrame to PALM_DEMO_CSV.", file=sys.stderr)
        return 1
    show(pd.read_csv(paths["csv"]).convert_dtypes())
    print(*(path.relative_to(ROOT) for path in paths.values()), sep="\n")
    return 0


def main() -> int:
    """Make the demo; 130 when interrupted."""
    # the kernel of this environment, whatever others the user has installed
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    try:
        return make_demo()
    except (KeyboardInterrupt, asyncio.CancelledError):  # in a cell, between two
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
