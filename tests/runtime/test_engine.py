"""An executor and its keeper."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from palm.errors import ConfigError, PalmError
from palm.runtime import engine
from palm.runtime.engine import AHEAD, BATCH_TRIPS, MAX_SLOTS, Engine, is_loss, slots_of
from tests.support.cluster import until

LOGGER = logging.getLogger("test")


class KilledWorker(Exception):  # noqa: N818 - it has the name of Dask's
    """Stands for an error of a library that is not imported."""


class Broken:
    """An executor that breaks so many times before it works."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.error, self.made = times, error, 0

    def __call__(self) -> Broken:
        self.made += 1
        return self

    _max_workers = 3

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.made <= self.times:
            future.set_exception(self.error)
        else:
            future.set_result(function(*args))
        return future

    def shutdown(self, wait: bool = True) -> None:
        pass


class Cluster:
    """Looks like the executor of a Dask client."""

    def __init__(self, *threads: int) -> None:
        self._client = self
        self._threads = threads

    def nthreads(self) -> dict[str, int]:
        return {str(at): n for at, n in enumerate(self._threads)}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_PAUSE", 0.0)


def test_losses_are_told_from_failures_that_would_come_again() -> None:
    for loss in (BrokenExecutor(), CancelledError(), TimeoutError(), EOFError(), KilledWorker()):
        assert is_loss(loss)
    for failure in (ModuleNotFoundError("palm"), MemoryError(), ValueError(), TypeError()):
        assert not is_loss(failure)


def test_an_executor_says_how_much_keeps_it_busy() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert slots_of(pool) == 3 * AHEAD
    assert slots_of(Cluster(4, 2)) == 6 * AHEAD
    assert slots_of(object()) is None


def test_what_breaks_at_first_is_made_again() -> None:
    make = Broken(2, BrokenExecutor("no room"))
    made = Engine(lambda: make(), None, LOGGER)
    assert made.open() == 3 * AHEAD
    assert make.made == 3
    made.close()


def test_what_breaks_each_time_is_given_up() -> None:
    make = Broken(99, BrokenExecutor("no room"))
    with pytest.raises(PalmError, match="5 times"):
        Engine(lambda: make(), None, LOGGER).open()


class Forsaken(Broken):
    """An executor like mpi4py's whose thread could spawn no processes: it answers never."""

    def __init__(self) -> None:
        super().__init__(0, ValueError())
        self._pool = SimpleNamespace(thread=threading.Thread(target=lambda: None))
        self._pool.thread.start()

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        return Future()


def test_an_executor_whose_thread_has_ended_is_not_waited_for() -> None:
    make = Forsaken()
    with pytest.raises(PalmError, match="5 times"):
        Engine(lambda: make(), None, LOGGER).open()
    assert make.made == 5


def test_an_executor_without_palm_is_said_to_be_so() -> None:
    make = Broken(99, ModuleNotFoundError("No module named 'palm'"))
    with pytest.raises(ConfigError, match="install the same palm-cluster"):
        Engine(lambda: make(), None, LOGGER).open()
    assert make.made == 1


def test_an_executor_that_nobody_can_make_again_is_asked_for_as_a_function() -> None:
    pool = ThreadPoolExecutor(1)
    made = Engine(pool, None, LOGGER)
    assert made.open() == AHEAD
    pool.shutdown()
    with pytest.raises(ConfigError, match="executor=lambda"):
        made.renew()


def test_slots_have_a_bound() -> None:
    with pytest.raises(ConfigError, match=f"1 to {MAX_SLOTS}"):
        Engine(ThreadPoolExecutor, MAX_SLOTS + 1, LOGGER)


def test_a_cluster_that_lost_its_scheduler_is_connected_to_anew() -> None:
    made: list[Any] = []

    def connect() -> Any:
        class Executor(Cluster):
            status = "running"

            def submit(self, function: Any, *args: Any) -> Future[Any]:
                future: Future[Any] = Future()
                future.set_result(function(*args))
                return future

            def shutdown(self, wait: bool = True) -> None:
                raise OSError("the connection is closed")

        made.append(Executor(2))
        return made[-1]

    keeper = Engine(connect, None, LOGGER)
    assert keeper.open() == 2 * AHEAD
    assert keeper.renew() and len(made) == 1
    made[0].status = "closed"
    assert keeper.renew() and len(made) == 2


class Distant(Cluster):
    """A cluster whose tasks take a while to come back, and whose threads come and go."""

    status = "running"

    def __init__(self, seconds: float = 0.0, *threads: int) -> None:
        super().__init__(*threads)
        self.seconds = seconds
        self.answer: Any = None

    def submit(self, function: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        threading.Timer(self.seconds, lambda: future.set_result(function(*args))).start()
        return future

    def shutdown(self, wait: bool = True) -> None:
        pass

    def nthreads(self) -> dict[str, int]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return super().nthreads() if self.answer is None else self.answer


def test_batches_are_longer_where_the_way_is_longer() -> None:
    near, far = Engine(ThreadPoolExecutor(1), None, LOGGER), Engine(Distant(0.02, 1), None, LOGGER)
    near.open(), far.open()
    assert near.batch_seconds < far.batch_seconds
    assert far.batch_seconds >= BATCH_TRIPS * 0.02
    near.close(), far.close()


def test_cluster_without_workers_is_said_to_be_so_and_has_a_slot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = Engine(lambda: Distant(), None, LOGGER)
    assert keeper.open() == 1
    assert "no workers yet" in caplog.text
    keeper.close()


def test_changes_of_a_cluster_are_told_once_each_whatever_its_scheduler_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "LOOK_EVERY", 0.001)
    cluster, told = Distant(0.0, 3), SimpleQueue[int]()
    keeper = Engine(lambda: cluster, None, LOGGER)
    assert keeper.open() == 3 * AHEAD
    keeper.watch(told.put)
    assert told.get(timeout=5.0) == 3 * AHEAD
    cluster.answer = OSError("the scheduler does not answer")
    with caplog.at_level(logging.DEBUG):
        until(lambda: "nobody says how many threads" in caplog.text)
    cluster.answer = {f"w{at}": 100 for at in range(100)}
    assert told.get(timeout=5.0) == MAX_SLOTS
    cluster.answer = {}
    assert told.get(timeout=5.0) == 1
    until(lambda: "no workers; waiting" in caplog.text)
    keeper.close()
    assert told.empty()


def test_nobody_looks_at_an_executor_that_cannot_change() -> None:
    with ThreadPoolExecutor(1) as pool:
        made = [Engine(pool, None, LOGGER), Engine(Distant(0.0, 3), 5, LOGGER)]
        assert not any(each.varies for each in made if each.open())
        for each in made:
            each.close()
