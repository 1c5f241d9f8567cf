"""What ``make demo`` leaves behind can be read anywhere, and its failures are failures."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import demo

WIDGET = {
    "application/vnd.jupyter.widget-view+json": {"model_id": "1", "version_major": 2},
    "text/html": "<p>the snapshot</p>",
    "text/plain": "Panel()",
}


class Resources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src" or (tag == "link" and name == "href"):
                self.loaded.append(value or "")


def executed_notebook() -> nbformat.NotebookNode:
    output = new_output("display_data", data=WIDGET)
    notebook = new_notebook(
        cells=[new_markdown_cell("A *page* of $x^2$"), new_code_cell("panel", outputs=[output])]
    )
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    return notebook


@pytest.mark.filterwarnings("default")  # nbconvert's own
def test_page_needs_no_network() -> None:
    page = demo.page_of(executed_notebook())
    resources = Resources()
    resources.feed(page)
    assert [url for url in resources.loaded if not url.startswith("data:")] == []
    assert "import(" not in page
    assert "from 'http" not in page


@pytest.mark.filterwarnings("default")
def test_page_shows_the_snapshot_of_a_widget() -> None:
    assert "<p>the snapshot</p>" in demo.page_of(executed_notebook())


def test_summary_counts_errors_by_type() -> None:
    frame = pd.DataFrame(
        {
            "worker": ["a", "b", "a"],
            "duration": [1.0, 2.0, 0.5],
            "error": [None, "SyntaxError: x: y", "ValueError: z"],
        }
    )
    assert demo.summary(frame) == (
        "3 messages, 1 results, 2 errors (1 SyntaxError, 1 ValueError); 2 workers, 3.5 s of work."
    )


#: Without a library that is optional, and slow to load; see conftest.
RUN_PLANTED = """
import sys
sys.modules["rfc3987_syntax"] = None
from pathlib import Path
from tools import demo
demo.ROOT = Path(sys.argv[1])
demo.NOTEBOOK = demo.ROOT / "planted.ipynb"
demo.RESULTS = demo.ROOT / "demo"
sys.exit(demo.main())
"""


def write_planted(folder: Path, source: str) -> None:
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), folder / "planted.ipynb")


def planted_command(folder: Path) -> list[str]:
    return [sys.executable, "-c", RUN_PLANTED, str(folder)]


def run_planted(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    write_planted(folder, source)
    return subprocess.run(
        planted_command(folder),
        cwd=demo.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_failing_cell_is_shown_and_fails_the_demo(tmp_path: Path) -> None:
    done = run_planted(tmp_path, "number = 0\n1 / number")
    assert done.returncode == 1
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "\x1b[" not in done.stderr
    assert "ZeroDivisionError" in (tmp_path / "demo" / "quickstart.ipynb").read_text("utf-8")


@pytest.mark.slow
def test_dead_kernel_fails_the_demo(tmp_path: Path) -> None:
    done = run_planted(tmp_path, "import os\nos._exit(3)")
    assert done.returncode == 1
    assert "Kernel died" in done.stderr


@pytest.mark.slow
def test_notebook_without_a_table_fails_the_demo(tmp_path: Path) -> None:
    done = run_planted(tmp_path, "x = 1")
    assert done.returncode == 1
    assert "PALM_DEMO_CSV" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_ends_its_kernel(tmp_path: Path, number: signal.Signals) -> None:
    source = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
    write_planted(tmp_path, source + "time.sleep(60)")
    with subprocess.Popen(
        planted_command(tmp_path), cwd=demo.ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        kernel = psutil.Process(wait_for_number(tmp_path / "pid"))
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    psutil.wait_procs([kernel], timeout=5)
    assert not kernel.is_running()


def wait_for_number(path: Path) -> int:
    """Read the number that another process writes to a file, as a line."""
    deadline = time.monotonic() + 30
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())
