"""What the programs of the page on batch systems ask these for, as dask-jobqueue writes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

dask_jobqueue = pytest.importorskip("dask_jobqueue")

PAGE = Path(__file__).parents[2] / "docs/dask/jobqueue.md"
#: What is of the scheduler, and not of a job.
OF_THE_SCHEDULER = ("scheduler_options", "security", "shared_temp_directory")


def jobs_of_page() -> list[Any]:
    """Return those that are made in pieces of code of the page: the class, and its arguments."""
    pieces = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    calls = (node for piece in pieces for node in ast.walk(ast.parse(piece)))
    return [
        pytest.param(call.func.id, {k.arg: k.value for k in call.keywords}, id=call.func.id)
        for call in calls
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id.endswith("Cluster")
    ]


def script(cluster: str, arguments: dict[str, ast.expr], folder: Path) -> str:
    """Return what would be submitted for a job."""
    given = {k: ast.literal_eval(v) for k, v in arguments.items() if k not in OF_THE_SCHEDULER}
    given["log_directory"] = str(folder / given["log_directory"])
    kind = getattr(dask_jobqueue, cluster).job_cls
    return str(kind(scheduler="tcp://192.0.2.1:8786", name="0", **given).job_script())


#: How each asks for two cores, for 10**9 bytes, and for an hour. SGE is not told of memory.
ASKS = {
    "SLURMCluster": (r"-n 1\n.*--cpus-per-task=2", r"--mem=954M", r"-t 01:00:00"),
    "PBSCluster": (r":ncpus=2:", r":mem=954MB", r"-l walltime=01:00:00"),
    "SGECluster": (r"-pe smp 2", r"-l h_rt=01:00:00"),
    "LSFCluster": (r"-n 2\n", r"-M 1000000\n", r"-W 01:00\n"),
}


@pytest.mark.parametrize(("cluster", "arguments"), jobs_of_page())
def test_a_job_asks_for_two_cores_a_gigabyte_and_an_hour(
    cluster: str,
    arguments: dict[str, ast.expr],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))  # no file there: KB, as LSF has it by itself
    written = script(cluster, arguments, tmp_path)
    for asked in ASKS[cluster]:
        assert re.search(asked, written, re.DOTALL), written


def test_each_batch_system_of_the_page_has_a_program() -> None:
    assert {each.values[0] for each in jobs_of_page()} == set(ASKS)
