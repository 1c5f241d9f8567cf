"""A Dask cluster as the executor of a worker, and as a pool of nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from palm.engines import daskpool
from palm.engines.dask import executor_of
from palm.engines.daskpool import DaskPool
from palm.engines.scheduler import parse_scheduler
from palm.errors import ConfigError, ConnectTimeout, TaskError
from palm.runtime.engine import AHEAD
from tests.support.cluster import ROOT, ThreadCluster, until
from tests.support.dask import DaskCluster

pytestmark = pytest.mark.slow

FUNCTIONS = """
import os, time

def double(value):
    return 2 * value

def note_and_sleep(pair):
    folder, seconds = pair
    with open(os.path.join(folder, "runs"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return os.getpid()
"""


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster of two workers; what dies with one is not run again by Dask."""
    pytest.importorskip("distributed")
    running = DaskCluster(tmp_path_factory.mktemp("dask"), threads=1, allowed_failures=0)
    yield running
    running.close()


@pytest.fixture
def scaled(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster that has no workers yet."""
    pytest.importorskip("distributed")
    running = DaskCluster(tmp_path, 0, 1, processes=False)
    yield running
    running.close()


@pytest.fixture
def outsourced(
    cluster: ThreadCluster, dask: DaskCluster, tmp_path: Path
) -> Iterator[subprocess.Popen[Any]]:
    """``palm worker --dask``."""
    cluster.master()
    target = tmp_path / "functions.py"
    target.write_text(FUNCTIONS)
    address = dask.address.removeprefix("tcp://")
    process = subprocess.Popen(
        [sys.executable, "-m", "palm", "worker", str(target), "--master", "foo", "--dask", address],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    try:
        cluster.client().wait_for_workers(2 * AHEAD, timeout=30.0)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@contextmanager
def worker_of(address: str, folder: Path) -> Iterator[Path]:
    """``palm worker --dask``; yields the file that has what it says."""
    target, log = folder / "functions.py", folder / "log"
    target.write_text(FUNCTIONS)
    command = [sys.executable, "-m", "palm", "worker", str(target), "--master", "foo"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--dask", address.removeprefix("tcp://")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def runs(folder: Path) -> list[int]:
    path = folder / "runs"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_dask_cluster_runs_the_functions_of_a_file(
    cluster: ThreadCluster, outsourced: Any
) -> None:
    client = cluster.client()
    job = client.job("double", range(3000), ordered=True)
    assert list(job) == [2 * n for n in range(3000)]
    (error,) = client.job("double", [1], at_most_once=True, errors="return")
    assert isinstance(error, TaskError) and "at_most_once" in str(error)


def test_a_cancelled_job_leaves_the_cluster_to_others(
    cluster: ThreadCluster, outsourced: Any, tmp_path: Path
) -> None:
    client = cluster.client()
    job = client.job("note_and_sleep", [(str(tmp_path), 0.3)] * 100)
    until(lambda: runs(tmp_path))
    job.cancel()
    begun = time.monotonic()
    assert client.eval("double", 4, timeout=10.0) == 8
    assert time.monotonic() - begun < 5.0
    assert len(runs(tmp_path)) < 20


def test_a_killed_worker_of_dask_costs_no_outcome(
    cluster: ThreadCluster, outsourced: Any, tmp_path: Path
) -> None:
    job = cluster.client().job("note_and_sleep", [(str(tmp_path), 0.05)] * 40)
    os.kill(until(lambda: runs(tmp_path)[1:])[0], signal.SIGKILL)
    assert len(list(job)) == 40
    assert len(set(runs(tmp_path))) >= 2


def test_a_cluster_without_workers_is_waited_for_and_followed_as_it_grows_and_shrinks(
    cluster: ThreadCluster, scaled: DaskCluster, tmp_path: Path
) -> None:
    cluster.master()
    client = cluster.client()

    def scale(n: int) -> None:
        scaled.evaluate(f"cluster.scale({n})")

    with worker_of(scaled.address, tmp_path) as log:
        until(lambda: "no workers yet" in log.read_text(), within=20.0)
        job = client.job("note_and_sleep", [(str(tmp_path), 0.02)] * 200)
        scale(1)
        assert client.wait_for_workers(AHEAD, timeout=20.0) == AHEAD
        scale(3)
        assert client.wait_for_workers(3 * AHEAD, timeout=20.0) == 3 * AHEAD
        scale(1)
        until(lambda: client.wait_for_workers(1) == AHEAD, within=20.0)
        assert len(list(job)) == 200


def may_close(pool: DaskPool) -> set[str]:
    """Return the workers that adapting would close now."""

    def ask(dask_scheduler: Any) -> list[str]:
        return list(dask_scheduler.workers_to_close(n=2))

    return set(pool._client.run_on_scheduler(ask))


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_workers_in_use_outlast_a_connection_that_breaks_but_not_for_ever(
    dask: DaskCluster, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr(daskpool, "_PATIENCE", patience)
    with closing(DaskPool(parse_scheduler(dask.address), "default", "looks")) as looks:
        workers = {worker.address for worker in looks.workers()}
        assert may_close(looks) == workers
        used = min(workers)
        uses = DaskPool(parse_scheduler(dask.address), "default", "uses")
        uses.keep({used})
        found = may_close(looks)
        uses.drop()
        assert found == workers - {used}
        assert may_close(looks) == (workers - {used} if patience else workers)
    with closing(DaskPool(parse_scheduler(dask.address), "default", "uses")) as uses:
        uses.keep(set())  # takes the place of the one before
        assert may_close(uses) == workers


def test_another_scheduler_at_the_same_address_is_not_taken_for_the_one_before(
    tmp_path: Path,
) -> None:
    pytest.importorskip("distributed")
    with closing(DaskCluster(tmp_path, 1, 1)) as dask:
        scheduler = parse_scheduler(dask.address)
        pool = DaskPool(scheduler, "default", "uses")
        pool.keep({worker.address for worker in pool.workers()})
    with closing(DaskCluster(tmp_path, 1, 1, port=scheduler.port)):
        # Dask connects there by itself; but that scheduler was not told what to keep.
        with pytest.raises(OSError, match="another scheduler"):
            pool.workers()
        with pytest.raises(OSError, match="another scheduler"):
            pool.keep(set())
        pool.drop()


def test_dask_says_nothing_of_connections_in_the_log_of_a_pool() -> None:
    pytest.importorskip("distributed")
    said = "import logging; logging.getLogger('distributed.client').error('traceback')"
    program = f"from palm.engines.daskpool import be_quiet; be_quiet(); {said}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_a_scheduler_that_is_not_there_is_said_to_be_so() -> None:
    connect = executor_of("127.0.0.1:9", within=0.5)
    with pytest.raises(ConnectTimeout, match=r"127\.0\.0\.1:9"):
        connect()
    with pytest.raises(ConfigError, match="8786"):
        executor_of("localhost")


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"palm-cluster\[dask\]"):
        executor_of("127.0.0.1:8786")
