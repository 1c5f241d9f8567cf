"""Workers whose functions a pool of processes runs."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from palm.clients import Client
from palm.errors import Cancelled, ConfigError, DeadlineExceeded, PalmError, PoisonTask, WorkerLost
from palm.servers import MuxWorker, Worker, current_task
from tests.support.cluster import ProcessCluster, Served, ThreadCluster, until

WIDTH = 2
FORK = multiprocessing.get_context("fork")


def double(value: int) -> int:
    return 2 * value


def pick(value: int) -> int:
    if value % 10 == 3:
        raise ValueError(f"{value} is refused")
    return value


def count_up(value: int) -> Iterator[int]:
    yield from range(value)


def name_index(value: Any) -> tuple[int, int]:
    task = current_task()
    return task.index, task.attempt


def end_at_five(value: int) -> int:
    if value == 5:
        os._exit(3)
    time.sleep(0.001)
    return value


def note_and_sleep(pair: tuple[str, float]) -> int:
    folder, seconds = pair
    with (Path(folder) / "runs").open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return os.getpid()


FUNCTIONS = {
    function.__name__: function
    for function in (double, pick, count_up, name_index, end_at_five, note_and_sleep)
}


def make_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(WIDTH, FORK)


def runs(folder: Path) -> list[int]:
    path = folder / "runs"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def outsource(cluster: ThreadCluster) -> Callable[..., Served]:
    """Starts a worker of the functions above, with an executor."""
    cluster.master()

    def start(executor: Any = make_pool, **options: Any) -> Served:
        return cluster.worker(FUNCTIONS, "pool", executor=executor, **options)

    return start


def test_a_pool_runs_what_a_worker_serves(cluster: ThreadCluster, outsource: Any) -> None:
    outsource()
    client = cluster.client()
    assert list(client.job("double", range(5000), ordered=True)) == [2 * n for n in range(5000)]
    assert list(client.job("count_up", [0, 2, 3], ordered=True)) == [0, 1, 0, 1, 2]
    indexes = list(client.job("name_index", range(500), ordered=True))
    assert indexes == [(at, 1) for at in range(500)]
    frame = client.job("pick", range(100), errors="return").to_frame()
    assert frame["error"].notna().sum() == 10
    assert frame["error"][3] == "ValueError: 3 is refused"
    failed = (
        client.job("pick", [13]).failures if False else client.job("pick", [13], errors="return")
    )
    (error,) = list(failed)
    assert "in pick" in error.traceback and "concurrent" not in error.traceback


def test_batches_run_at_once_and_lie_ready(cluster: ThreadCluster, outsource: Any) -> None:
    outsource()
    client = cluster.client()
    assert client.wait_for_workers(2 * WIDTH) == 2 * WIDTH
    job = client.job("note_and_sleep", [(str(cluster.folders.run), 0.2)] * 8)
    assert len(set(job)) == WIDTH
    assert job.elapsed < 8 * 0.2


def test_a_killed_process_of_a_pool_costs_no_outcome(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    client = cluster.client()
    job = client.job("note_and_sleep", [(str(tmp_path), 0.05)] * 40)
    pids = until(lambda: runs(tmp_path)[WIDTH:])
    os.kill(pids[0], signal.SIGKILL)
    results = list(job)
    assert len(results) == 40
    assert len(set(results)) > WIDTH, "no process took the place of the killed one"
    assert max(Counter(job.to_frame()["attempts"])) > 1


def test_a_message_that_ends_its_process_is_found_and_the_others_are_not_blamed(
    cluster: ThreadCluster, outsource: Any
) -> None:
    outsource()
    outcomes = list(cluster.client().job("end_at_five", range(60), ordered=True, errors="return"))
    assert isinstance(outcomes[5], PoisonTask)
    assert [o for at, o in enumerate(outcomes) if at != 5] == [n for n in range(60) if n != 5]


def test_what_may_not_run_twice_is_lost_with_its_process(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    items = [(str(tmp_path), 0.3)] * WIDTH
    job = cluster.client().job("note_and_sleep", items, at_most_once=True, errors="return")
    os.kill(until(lambda: runs(tmp_path)[WIDTH - 1 :])[0], signal.SIGKILL)
    assert [type(outcome) for outcome in job] == [WorkerLost] * WIDTH
    assert len(runs(tmp_path)) == WIDTH


def test_a_cancelled_job_leaves_the_pool_to_others(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    client = cluster.client()
    job = client.job("note_and_sleep", [(str(tmp_path), 0.2)] * 100)
    until(lambda: runs(tmp_path))
    job.cancel()
    assert client.eval("double", 4, timeout=5.0) == 8
    # A pool begins with one more than it runs: that cannot be called back.
    assert len(runs(tmp_path)) <= 2 * WIDTH + 1


def test_a_call_beyond_its_time_is_ended_in_the_pool(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    items = [(str(tmp_path), seconds) for seconds in (0.0, 30.0, 0.0)]
    job = cluster.client().job("note_and_sleep", items, timeout=0.3, ordered=True, errors="return")
    outcomes = list(job)
    assert isinstance(outcomes[1], DeadlineExceeded)
    assert isinstance(outcomes[0], int) and isinstance(outcomes[2], int)
    assert job.elapsed < 10


def test_the_deadline_of_a_job_reaches_what_waits_in_the_pool(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    items = [(str(tmp_path), 0.3)] * 20
    outcomes = list(cluster.client().job("note_and_sleep", items, deadline=0.5, errors="return"))
    assert len(outcomes) == 20
    assert sum(isinstance(outcome, DeadlineExceeded) for outcome in outcomes) >= 10


def test_a_worker_that_stops_gives_back_what_the_pool_has_not_begun(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    served = outsource()
    client = cluster.client()
    job = client.job("note_and_sleep", [(str(tmp_path), 0.1)] * 30)
    until(lambda: runs(tmp_path))
    served.stop(grace=5.0)
    cluster.worker(FUNCTIONS, "another")
    assert len(list(job)) == 30
    assert len(runs(tmp_path)) == 30, "what ran to its end was run again"


def test_a_pool_that_was_given_is_the_givers_to_close(
    cluster: ThreadCluster, outsource: Any
) -> None:
    with make_pool() as pool:
        served = outsource(pool)
        assert cluster.client().eval("double", 2) == 4
        served.stop()
        assert pool.submit(double, 3).result() == 6


def test_any_executor_will_do_if_it_says_how_much_it_takes(
    cluster: ThreadCluster, outsource: Any
) -> None:
    class Plain(concurrent.futures.Executor):
        """An executor of which nothing is known."""

        def __init__(self) -> None:
            self._threads = ThreadPoolExecutor(2)

        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self._threads.submit(function, *args, **kwargs)

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            self._threads.shutdown(wait, cancel_futures=cancel_futures)

    outsource(Plain, slots=3)
    client = cluster.client()
    assert client.wait_for_workers(3) == 3
    assert sum(client.job("double", range(1000))) == 999_000
    with pytest.raises(ConfigError, match="slots=8"):
        Worker("w", master="foo", functions=FUNCTIONS, executor=Plain).start()


class Varying(ThreadPoolExecutor):
    """An executor like that of a Dask client whose cluster grows and shrinks."""

    status = "running"

    def __init__(self, threads: int) -> None:
        super().__init__(8)
        self.threads = threads
        self._client = self

    def nthreads(self) -> dict[str, int]:
        return {f"w{at}": 1 for at in range(self.threads)}


@pytest.fixture
def outsource_varying(outsource: Any) -> Iterator[Callable[..., Varying]]:
    """Starts a worker with such an executor, and returns that."""
    served: list[Served] = []
    made: list[Varying] = []

    def start(threads: int, **options: Any) -> Varying:
        made.append(Varying(threads))
        served.append(outsource(made[-1], **options))
        return made[-1]

    yield start
    for each in served:
        each.stop()
    for executor in made:
        executor.shutdown()


def test_slots_are_as_many_as_a_cluster_has_threads_for_and_none_drops_its_batch(
    cluster: ThreadCluster,
    outsource_varying: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("palm.runtime.engine.LOOK_EVERY", 0.02)
    executor = outsource_varying(3)
    client = cluster.client()
    assert client.wait_for_workers(6) == 6
    job = client.job("note_and_sleep", [(str(tmp_path), 0.2)] * 30)
    until(lambda: len(runs(tmp_path)) >= 6)
    executor.threads = 1
    until(lambda: client.wait_for_workers(1) == 2)
    executor.threads = 4
    assert client.wait_for_workers(8) == 8
    executor.threads = 0
    until(lambda: client.wait_for_workers(1) == 1)
    assert len(list(job)) == len(runs(tmp_path)) == 30
    assert set(job.to_frame()["attempts"]) == {1}


def test_slots_that_were_given_stay_as_many(
    cluster: ThreadCluster, outsource_varying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm.runtime.engine.LOOK_EVERY", 0.001)
    asked: list[int] = []
    monkeypatch.setattr(Varying, "nthreads", lambda _: asked.append(1) or {"w": 5})
    outsource_varying(1, slots=3)
    client = cluster.client()
    assert client.wait_for_workers(3) == 3
    assert sum(client.job("double", range(3000))) == 8_997_000
    assert client.wait_for_workers(1) == 3 and len(asked) <= 1


@pytest.mark.slow
def test_a_process_of_loky_that_is_killed_costs_no_outcome(
    processes: ProcessCluster, tmp_path: Path
) -> None:
    processes.master()
    processes.worker(
        """
        import loky
        from tests.servers.test_outsourced import note_and_sleep
        """,
        "Worker('w', master='foo', functions={'f': note_and_sleep},"
        " executor=lambda: loky.ProcessPoolExecutor(2, timeout=60))",
    )
    with Client("foo") as client:
        job = client.job("f", [(str(tmp_path), 0.05)] * 20)
        os.kill(until(lambda: runs(tmp_path)[1:])[0], signal.SIGKILL)
        assert len(list(job)) == 20


def test_a_mux_worker_spreads_what_a_pool_returns(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker(
        MuxWorker("mux", master="foo", functions={"split": str.split}, executor=make_pool)
    )
    assert list(cluster.client().job("split", ["a b", "", "c"], ordered=True)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"messages": 3}, "messages"),
        ({"max_tasks": 3}, "max_tasks_per_child"),
        ({"max_rss": 10**9}, "max_rss"),
        ({"initialize": print}, "initializer"),
        ({"executor": 3}, "executor"),
        ({"slots": 0}, "slots"),
    ],
)
def test_what_concerns_its_own_process_is_refused(
    palm_home: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Worker("w", master="foo", functions=FUNCTIONS, **{"executor": make_pool, **options})


def test_methods_of_a_worker_are_refused(palm_home: Path) -> None:
    class Own(Worker):
        def double(self, value: int) -> int:
            return 2 * value

    with pytest.raises(ConfigError, match="functions="):
        Own("w", master="foo", executor=make_pool)


def test_functions_that_cannot_travel_are_refused_at_the_start(cluster: ThreadCluster) -> None:
    cluster.master()
    lock = FORK.Lock()
    worker = Worker(
        "w", master="foo", functions={"f": lambda value: lock.acquire()}, executor=make_pool
    )
    with pytest.raises(ConfigError, match="cannot be sent"):
        worker.start()


def _fail_to_begin() -> None:
    raise RuntimeError("no licence")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_pool_that_breaks_before_it_runs_anything_ends_its_worker_and_harms_no_message(
    cluster: ThreadCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm.runtime.engine.FIRST_PAUSE", 0.001)
    cluster.master()
    job = cluster.client().job("double", [1])
    broken = Worker(
        "broken", master="foo", functions=FUNCTIONS,
        executor=lambda: ProcessPoolExecutor(1, FORK, _fail_to_begin),
    )  # fmt: skip
    with pytest.raises(PalmError, match="broke each time"):
        broken.start()
    cluster.worker(FUNCTIONS, "sound")
    assert list(job) == [2]
    assert job.to_frame()["attempts"][0] == 1


def test_a_client_that_goes_takes_its_jobs_from_the_pool(
    cluster: ThreadCluster, outsource: Any, tmp_path: Path
) -> None:
    outsource()
    client = cluster.client()
    job = client.job("note_and_sleep", [(str(tmp_path), 0.1)] * 100, errors="return")
    until(lambda: runs(tmp_path))
    client.close()
    with pytest.raises((Cancelled, StopIteration)):
        next(job)
    assert cluster.client().eval("double", 1, timeout=5.0) == 2
