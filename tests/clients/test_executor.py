"""A client as a `concurrent.futures.Executor`, and as a backend of joblib."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copyreg
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest

import palm.joblib
from palm import executors
from palm.clients import Client
from palm.clients.executor import ClientExecutor
from palm.errors import ConfigError, PalmError, TaskError
from tests.support.cluster import ThreadCluster, until

FUNCTIONS = {"call": executors.call, "double": lambda value: 2 * value, "refuse": lambda v: v / 0}


class RefusedError(Exception):
    """An error that cannot be made again from its text alone."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(code, why)


def add(a: int, b: int = 1) -> int:
    return a + b


def refuse(value: int) -> int:
    raise ValueError(f"{value} is refused")


def refuse_oddly(value: int) -> int:
    raise RefusedError(value, why="it is odd")


def note_and_sleep(path: str, seconds: float) -> None:
    with Path(path).open("a") as file:
        file.write("x")
    time.sleep(seconds)


@pytest.fixture
def client(cluster: ThreadCluster) -> Client:
    """A client of a master with two workers that take callables."""
    cluster.master()
    for name in ("a", "b"):
        cluster.worker(FUNCTIONS, name)
    client = cluster.client()
    client.wait_for_workers(2)
    return client


@pytest.fixture
def executor(client: Client) -> Iterator[ClientExecutor]:
    with client.executor() as executor:
        yield executor


def test_callables_and_names_are_called_by_workers(executor: ClientExecutor) -> None:
    factor = 3
    calls = [
        executor.submit(add, 1, b=5),
        executor.submit(lambda value: factor * value, 4),
        executor.submit("double", 21),
    ]
    assert [call.result(timeout=10) for call in calls] == [6, 12, 42]


def test_what_a_callable_raises_is_raised_with_its_type(executor: ClientExecutor) -> None:
    error = executor.submit(refuse, 3).exception(timeout=10)
    assert type(error) is ValueError and str(error) == "3 is refused"
    assert "in refuse" in str(error.__cause__) and "in call" not in str(error.__cause__)
    odd = executor.submit(refuse_oddly, 3).exception(timeout=10)
    assert isinstance(odd, TaskError) and odd.type == "RefusedError"
    named = executor.submit("refuse", 1).exception(timeout=10)
    assert isinstance(named, TaskError) and named.type == "ZeroDivisionError"


def test_an_error_travels_as_it_does_everywhere_whatever_is_registered_in_its_process(
    executor: ClientExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(error: Exception) -> Any:  # as tblib does in each process that has imported Dask
        return type(error).__new__, (type(error), *error.args)

    for kind in (ValueError, RefusedError):
        monkeypatch.setitem(copyreg.dispatch_table, kind, reduce)
    assert type(executor.submit(refuse, 3).exception(timeout=10)) is ValueError
    odd = executor.submit(refuse_oddly, 3).exception(timeout=10)
    assert isinstance(odd, TaskError) and odd.type == "RefusedError"


def test_map_keeps_the_order_and_takes_several_iterables(executor: ClientExecutor) -> None:
    assert list(executor.map(add, range(50), range(50), chunksize=7)) == list(range(0, 100, 2))
    assert list(executor.map("double", range(1000))) == list(range(0, 2000, 2))
    assert list(executor.map(add, [])) == []
    results = executor.map(refuse, [1])
    with pytest.raises(ValueError, match="1 is refused"):
        next(results)


@pytest.mark.parametrize("function", [time.sleep, "sleep"])
def test_map_waits_no_longer_than_its_timeout(cluster: ThreadCluster, function: Any) -> None:
    cluster.master()
    cluster.worker({"call": executors.call, "sleep": time.sleep})
    with cluster.client().executor() as executor:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            list(executor.map(function, [0.0, 0.5], timeout=0.2))
        assert time.monotonic() - begun < 0.5


def test_a_cancelled_call_that_did_not_begin_is_not_made(
    executor: ClientExecutor, tmp_path: Path
) -> None:
    path = tmp_path / "runs"
    calls = [executor.submit(note_and_sleep, str(path), 0.2) for _ in range(10)]
    until(path.exists)
    assert all(call.cancel() for call in calls[4:])
    assert all(call.cancelled() and call.done() for call in calls[4:])
    done, open_ = concurrent.futures.wait(calls, timeout=10)
    assert len(done) == 10 and not open_
    with pytest.raises(concurrent.futures.CancelledError):
        calls[5].result()
    assert len(path.read_text()) == 4


def test_shutdown_waits_for_what_is_under_way_or_cancels_it(client: Client) -> None:
    executor = client.executor()
    calls = [executor.submit(time.sleep, 0.1) for _ in range(4)]
    executor.shutdown()
    assert all(call.done() and not call.cancelled() for call in calls)
    with pytest.raises(RuntimeError):
        executor.submit(add, 1)
    executor = client.executor()
    calls = [executor.submit(time.sleep, 0.1) for _ in range(40)]
    begun = time.monotonic()
    executor.shutdown(cancel_futures=True)
    assert all(call.done() for call in calls)
    assert time.monotonic() - begun < 1.0
    assert client.executor().submit(add, 1).result(timeout=10) == 2


def test_a_callback_may_submit_and_wait_for_more(executor: ClientExecutor) -> None:
    results, done = [], threading.Event()

    def go_on(call: concurrent.futures.Future[int]) -> None:
        results.append(call.result())
        if call.result() < 5:
            executor.submit(add, call.result()).add_done_callback(go_on)
        else:
            done.set()

    executor.submit(add, 0).add_done_callback(go_on)
    assert done.wait(10) and results == [1, 2, 3, 4, 5]


def test_asyncio_runs_its_calls_there(executor: ClientExecutor) -> None:
    async def go() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, add, n) for n in range(20)))

    assert asyncio.run(go()) == list(range(1, 21))


def test_a_client_that_closes_leaves_no_call_without_an_end(client: Client) -> None:
    call = client.executor().submit(time.sleep, 0.3)
    client.close()
    assert isinstance(call.exception(timeout=5), PalmError)


def test_callables_run_only_where_a_worker_takes_them(cluster: ThreadCluster) -> None:
    cluster.master()
    cluster.worker({"double": FUNCTIONS["double"]})
    with cluster.client().executor() as executor:
        assert executor.submit("double", 2).result(timeout=10) == 4
        with pytest.raises(PalmError, match=r"palm worker palm\.executors --master foo"):
            executor.submit(add, 1).result(timeout=10)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda client: client.executor(retires=3), "retries"),
        (lambda client: client.executor(retries=-1), "retries"),
        (lambda client: client.executor(durable=True), "durable"),
        (lambda client: client.executor().submit("double", 1, 2), "one argument"),
        (lambda client: client.executor().map("double", [1], [2]), "one argument"),
        (lambda client: client.executor().map(add, [1], chunksize=0), "chunksize"),
    ],
)
def test_what_cannot_be_is_refused(
    cluster: ThreadCluster, use: Callable[[Client], Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        use(cluster.client())


# joblib


def parallel(client: Client, **options: Any) -> Any:
    return joblib.parallel_config("palm", client=client, **options)


def nested(n: int) -> list[int]:
    found: list[int] = joblib.Parallel(n_jobs=2)(joblib.delayed(add)(at) for at in range(n))
    return found


def test_joblib_makes_its_calls_on_palm(client: Client) -> None:
    with parallel(client):
        assert joblib.effective_n_jobs() == 2
        found = joblib.Parallel()(joblib.delayed(add)(n, 2) for n in range(500))
    assert found == [n + 2 for n in range(500)]
    assert {worker for job in client.jobs for worker in job.shares} == {"a", "b"}


def test_calls_of_joblib_may_be_nested_and_come_as_they_are_ready(client: Client) -> None:
    with parallel(client):
        assert joblib.Parallel()(joblib.delayed(nested)(n) for n in range(4)) == [
            [], [1], [1, 2], [1, 2, 3],
        ]  # fmt: skip
        results = joblib.Parallel(return_as="generator")(joblib.delayed(add)(n) for n in range(9))
        assert list(results) == list(range(1, 10))


def test_an_error_ends_the_calls_of_joblib_and_the_next_ones_go_on(
    client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "runs"
    with parallel(client):
        work = [joblib.delayed(refuse)(1)]
        work += [joblib.delayed(note_and_sleep)(str(path), 0.05) for _ in range(200)]
        with pytest.raises(ValueError, match="1 is refused"):
            joblib.Parallel(batch_size=1)(work)
        assert joblib.Parallel()(joblib.delayed(add)(n) for n in range(9)) == list(range(1, 10))
    assert not path.exists() or len(path.read_text()) < 50


def test_the_backend_says_what_it_needs() -> None:
    assert palm.joblib.PalmBackend
    with pytest.raises(ConfigError, match="master=NAME"), joblib.parallel_config("palm"):
        pass
