"""An executor and its keeper."""

from __future__ import annotations

import logging
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from typing import Any

import pytest

from palm.errors import ConfigError, PalmError
from palm.runtime import engine
from palm.runtime.engine import AHEAD, MAX_SLOTS, Engine, is_loss, slots_of

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
