"""The quickstart notebook, as stored and as run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from tests.support.leaks import processes_of
from tests.support.local import end_clusters

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quickstart(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotebookClient]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "registry")]))
    monkeypatch.setenv("PALM_DEMO_CSV", str(palm_home / "quickstart.csv"))
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    yield NotebookClient(notebook, timeout=120, kernel_name="python3")
    end_clusters()


def run_all(client: NotebookClient) -> None:
    for number, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, number)


def outputs(client: NotebookClient, word: str) -> list[Any]:
    return next(cell.outputs for cell in client.nb.cells if word in cell.source)


@pytest.mark.slow
@pytest.mark.timeout(300)
# The kernel's client keeps a context, and so threads and descriptors, for the process.
@pytest.mark.no_leak_check("threads", "descriptors")
def test_quickstart_runs_twice_in_one_kernel(quickstart: NotebookClient, palm_home: Path) -> None:
    with quickstart.setup_kernel(env=dict(os.environ)):
        for _ in range(2):
            run_all(quickstart)
            kinds = {o.output_type for c in quickstart.nb.cells for o in c.get("outputs", ())}
            assert kinds == {"display_data", "execute_result", "stream"}
            assert not [
                o for c in quickstart.nb.cells for o in c.get("outputs", ()) if is_stderr(o)
            ]
            left = [" ".join(process.cmdline()) for process in processes_of(palm_home)]
            assert not [line for line in left if " palm worker" in line or " palm master" in line]
    frame = pd.read_csv(palm_home / "quickstart.csv", index_col="file")
    failed = frame[frame["error"].notna()]
    assert len(frame) > 500 and frame.index.is_unique
    assert 0 < len(failed) < 50 and frame.loc["ast.py", "functions"] > 50
    assert set(frame["worker"]) == {"foo-worker-0", "foo-worker-1"}
    assert "image/png" in outputs(quickstart, "import matplotlib")[0].data
    assert "palm-snapshot" in outputs(quickstart, "%palm master")[0].data["text/html"]


def is_stderr(output: Any) -> bool:
    return output.output_type == "stream" and output.name == "stderr"
