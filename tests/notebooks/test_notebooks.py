"""The notebooks, as stored; and those beside the quickstart, as run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.leaks import processes_of
from tests.support.local import end_clusters

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The kernel's client keeps a context, and so threads and descriptors, for the process.
runs = pytest.mark.no_leak_check("threads", "descriptors")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    assert "widgets" not in notebook.metadata


class Run:
    """A notebook that was executed."""

    def __init__(self, name: str) -> None:
        self.notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        client = NotebookClient(self.notebook, timeout=120, kernel_name="python3")
        client.execute(env=dict(os.environ))

    def outputs(self, cell: str) -> list[Any]:
        """What a cell shows, as bundles; what it prints is ``text/plain``, too."""
        (found,) = [each for each in self.notebook.cells if each.id == cell]
        return [each.get("data") or {"text/plain": each.text} for each in found.outputs]

    def text(self, cell: str) -> str:
        return "\n".join(each.get("text/plain", "") for each in self.outputs(cell))

    def numbers(self, cell: str) -> list[int]:
        """The whole numbers in the first line of what it shows."""
        line = self.text(cell).partition("\n")[0].replace(",", "")
        return [int(number) for number in re.findall(r"(?<![\w-])\d+\b", line)]

    def complaints(self) -> list[str]:
        """What was written to stderr."""
        outputs = [each for cell in self.notebook.cells for each in cell.get("outputs", ())]
        return [each.text for each in outputs if each.get("name") == "stderr"]


@pytest.fixture
def kernel(palm_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment for kernels; no component of a notebook is left at its end."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "registry")]))
    yield
    lines = [" ".join(process.cmdline()) for process in processes_of(palm_home)]
    end_clusters()
    assert not [line for line in lines if " palm worker" in line or " palm master" in line]


@runs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_frames_shows_rows_failures_a_dead_worker_and_a_job_that_outlives_its_client(
    kernel: None,
) -> None:
    run = Run("frames")
    assert run.complaints() == []
    assert "the same index: True" in run.text("join")
    failed, files = run.numbers("failures")
    assert files > 500 and failed > 20
    assert "line 12, in count" in run.text("failures"), "the traceback is of the cell"
    repaired, of, left = run.numbers("again")
    assert (of, repaired + left) == (failed, failed) and repaired > left
    assert "(top)" in run.text("chunks")
    assert run.numbers("kill") == [160, 0], "nothing is lost"
    # What the dead worker had begun, and no more.
    assert 1 <= run.text("kill").count("foo-worker-") < 20
    assert "image/png" in run.outputs("plot")[-1]
    (done,) = run.numbers("cancel")
    assert "cancelled:" in run.text("cancel") and done >= 20
    assert re.fullmatch(r"[0-9a-f]{16}\n", run.text("durable"))
    assert run.numbers("resume") == [files, failed], "all outcomes, for another client"


@runs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_patterns_shows_a_picture_and_a_result_for_each(kernel: None) -> None:
    run = Run("patterns")
    assert run.complaints() == []
    for cell in ("row", "ways", "tee", "hub"):
        assert "<svg" in run.outputs(cell)[-1]["text/html"], cell
    (modules,) = run.numbers("files")
    answered, documented = run.numbers("row-job")
    assert answered == modules > 50 and documented > modules
    assert {"private", "public"} <= set(run.text("ways-job").split())
    assert run.numbers("tee-job") == [documented], "the sieve lets the same pass, tee or not"
    functions, processes = run.numbers("hub-job")
    assert functions > documented and processes == 2


@runs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_dashboard_shows_a_cluster_that_loses_a_worker_and_gains_one(kernel: None) -> None:
    run = Run("dashboard")
    assert run.complaints() == []
    assert "foo-worker-1" in run.text("dashboard")
    # The card lives on, up to the last cell but one.
    assert re.match(r"job foo.compiled: cancelled, [\d,]+/[\d,]+ done", run.text("job"))
    assert int(run.text("kill")) >= 1, "restarts"
    assert "was scaled: 2 to 3 replicas" in run.text("scale")
    assert "foo-worker-2" in run.text("top")
    assert run.text("output").count(".py") == 8
    done, of = run.numbers("result")
    assert 0 < done < of
    assert run.text("result").count("foo-worker-") == 3, "all three had a part in it"


@runs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_dask_shows_nodes_that_come_and_go_with_the_work(kernel: None) -> None:
    pytest.importorskip("distributed")
    run = Run("dask")
    assert run.text("nodes") == "[]", "there is no worker yet"
    assert "foo-worker is ready (4 replicas" in run.text("worker")
    assert run.text("where").count("dask-") == 4
    (files, _) = run.numbers("job")
    assert files > 100
    assert run.text("job").count("dask-") == 2, "both nodes had a part in it"
    assert run.text("more").startswith("6 are ready, on 3 nodes")
    assert "waits for a place: the 3 nodes for it have 6, all taken" in run.text("more")
    assert run.text("fewer").startswith("1 worker of Dask is left")
    assert run.text("end").startswith("['dask-")


def tour() -> tuple[list[str], list[list[str]]]:
    """Cells and commands of the tour in the README."""
    text = (ROOT / "README.md").read_text("utf-8")
    _, _, text = text.partition("## A short tour")
    text, _, _ = text.partition("\n## ")
    cells = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (shell,) = re.findall(r"^```\n(palm .*?)^```", text, re.MULTILINE | re.DOTALL)
    return cells, [line.split() for line in shell.splitlines()]


@runs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tour_of_the_readme_is_true(
    kernel: None, palm_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells, commands = tour()
    new = [nbformat.v4.new_code_cell(cell) for cell in [*cells, "%palm stop --all"]]
    notebook = nbformat.v4.new_notebook(cells=new)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env=dict(os.environ))
    panel, worker, frame, failures, _ = [cell.outputs for cell in notebook.cells]
    assert "foo" in panel[0].data["text/plain"]
    assert "2 replicas · serving foo.count" in worker[0].data["text/plain"]
    rows, columns = re.findall(r"(\d+) rows × (\d+) columns", frame[0].data["text/html"])[0]
    assert int(rows) > 100 and int(columns) == 6
    assert failures[0].data["text/plain"].startswith("Empty DataFrame")

    (tmp_path / "words.py").write_text(worker_source(cells))
    for command, *words in commands:
        assert command == "palm"
        done = subprocess.run(
            [sys.executable, "-m", "palm", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)


def worker_source(cells: list[str]) -> str:
    """The body of the worker's cell."""
    (cell,) = [cell for cell in cells if cell.startswith("%%palm_worker")]
    return cell.partition("\n")[2]
