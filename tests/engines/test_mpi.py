"""Ranks of MPI as the executor of a worker: spawned by it, or started beside it by mpiexec."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palm.errors import DeadlineExceeded
from palm.runtime.engine import AHEAD
from tests.support.cluster import ROOT, ThreadCluster, until
from tests.support.requirements import mpiexec_path

pytestmark = [pytest.mark.slow, pytest.mark.mpi]

RANKS = 2

POOLS = f"""
from mpi4py.futures import MPIPoolExecutor

def make():
    return MPIPoolExecutor({RANKS})
"""

FUNCTIONS = """
import os, pathlib, time

def double(value):
    return 2 * value

def sleep(seconds):
    time.sleep(seconds)
    return os.getpid()

def note_and_sleep(pair):
    path, seconds = pair
    pathlib.Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
"""


@contextmanager
def worker_of_ranks(folder: Path, *launcher: str) -> Iterator[subprocess.Popen[Any]]:
    """``palm worker`` with a pool of ranks, started by ``launcher``."""
    (folder / "pools.py").write_text(POOLS)
    (folder / "functions.py").write_text(FUNCTIONS)
    mpiexec = Path(mpiexec_path() or "")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{mpiexec.parent}{os.pathsep}{os.environ['PATH']}",  # MPICH looks for it there
        # Open MPI: root may, and there may be more ranks than processors.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    command = [
        "-m",
        "palm",
        "worker",
        "functions.py",
        "--master",
        "foo",
        "--executor",
        "pools:make",
    ]
    process = subprocess.Popen(
        [*launcher, *([] if launcher else [sys.executable]), *command],
        env=environment,
        cwd=folder,
        start_new_session=True,  # MPICH ends the whole group of a process that spawned a lost rank
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def test_ranks_that_a_worker_spawns_run_its_functions_and_end_with_it(
    cluster: ThreadCluster, tmp_path: Path
) -> None:
    cluster.master()
    client = cluster.client()
    with worker_of_ranks(tmp_path) as process:
        # By its own account the executor has so many processes.
        assert client.wait_for_workers(AHEAD * RANKS, timeout=30.0) == AHEAD * RANKS
        assert list(client.job("double", range(3000), ordered=True)) == [2 * n for n in range(3000)]
        outcomes = list(
            client.job("sleep", [0.0, 30.0, 0.0], timeout=0.2, ordered=True, errors="return")
        )
        assert isinstance(outcomes[1], DeadlineExceeded)
        ranks = set(client.job("sleep", [0.1] * 8))
        assert len(ranks) == RANKS and {outcomes[0], outcomes[2]} <= ranks
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        until(lambda: not any(Path(f"/proc/{rank}").exists() for rank in ranks))


def test_a_rank_that_is_lost_ends_all_of_mpi_and_another_worker_has_the_rest(
    cluster: ThreadCluster, tmp_path: Path
) -> None:
    cluster.master()
    client = cluster.client()
    noted = tmp_path / "rank"
    launcher = [mpiexec_path() or "", "-n", str(1 + RANKS), sys.executable, "-m", "mpi4py.futures"]
    with worker_of_ranks(tmp_path, *launcher) as process:
        client.wait_for_workers(AHEAD * RANKS, timeout=30.0)
        job = client.job("note_and_sleep", [(str(noted), 60.0)])
        os.kill(int(until(lambda: noted.exists() and noted.read_text())), signal.SIGKILL)
        assert process.wait(10) != 0
        cluster.worker({"note_and_sleep": len}, "another")
        assert list(job) == [2]
        assert job.to_frame()["attempts"][0] == 2
