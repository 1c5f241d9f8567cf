"""What the programs of the page on batch systems ask these for, as dask-jobqueue writes it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/dask/jobqueue.md"
#: Prints what would be submitted for a job of each cluster that is made in the pieces of code which
#: it reads, by class. In a process of its own: dask-jobqueue takes hold of the signals.
WRITE = """
import ast, json, sys
import dask_jobqueue

OF_THE_SCHEDULER = ("scheduler_options", "security", "shared_temp_directory")

def scripts(pieces):
    for piece in pieces:
        for call in ast.walk(ast.parse(piece)):
            name = getattr(getattr(call, "func", None), "id", "")
            if name.endswith("Cluster"):
                values = {k.arg: k.value for k in call.keywords if k.arg not in OF_THE_SCHEDULER}
                given = {key: ast.literal_eval(value) for key, value in values.items()}
                job = getattr(dask_jobqueue, name).job_cls
                yield name, job(scheduler="tcp://192.0.2.1:8786", name="0", **given).job_script()

json.dump(list(scripts(json.load(sys.stdin))), sys.stdout)
"""
#: How each asks for two cores, for 10**9 bytes, and for an hour. SGE is not told of memory.
ASKS = {
    "SLURMCluster": (r"-n 1\n.*--cpus-per-task=2", r"--mem=954M", r"-t 01:00:00"),
    "PBSCluster": (r":ncpus=2:", r":mem=954MB", r"-l walltime=01:00:00"),
    "SGECluster": (r"-pe smp 2", r"-l h_rt=01:00:00"),
    "LSFCluster": (r"-n 2\n", r"-M 1000000\n", r"-W 01:00\n"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """What is submitted for the jobs of the page: the class, and the script."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed")
    folder = tmp_path_factory.mktemp("jobs")
    pieces = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", WRITE],
        input=json.dumps(pieces),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
        # No file of LSF's is there: KB, as LSF has it by itself.
        env={**os.environ, "LSF_ENVDIR": str(folder)},
    )
    return [(name, script) for name, script in json.loads(done.stdout)]


def test_jobs_of_the_page_ask_for_two_cores_a_gigabyte_and_an_hour(
    written: list[tuple[str, str]],
) -> None:
    for name, script in written:
        for asked in ASKS[name]:
            assert re.search(asked, script, re.DOTALL), script


def test_each_batch_system_of_the_page_has_a_program(written: list[tuple[str, str]]) -> None:
    assert {name for name, _ in written} == set(ASKS)
