"""Looks after the process of a worker: that each call ends in time, that it does not grow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from logging import Logger
from math import inf
from typing import Protocol

from palm.protocol.effects import Invoke
from palm.protocol.events import Completed, Event
from palm.protocol.worker import Retire
from palm.runtime.driver import MAX_WAIT, Driver
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.runtime.lifeline import is_supervised
from palm.runtime.limits import TimeLimit
from palm.runtime.memory import resident_size
from palm.runtime.workerloop import WorkerLoop

__all__ = ["Guard", "Runs"]


class Runs(Protocol):
    """What runs the messages of leases; see `Executor`."""

    def run(self, invoke: Invoke) -> list[Completed]:
        """Run messages, at least one if there is one, and return what became of them."""

    def take_early(self) -> Completed | None:
        """Return what is done of a run that goes on."""

    def take_overdue(self) -> list[Completed]:
        """Return what is done of a run that has to end by force."""


class Guard:
    """The functions of a worker, and the loop that has them called.

    Parameters
    ----------
    driver
        That of the worker's machine.
    wake
        Ends the driver's wait.
    max_rss
        Bytes of memory above which the worker retires (None: as much as it likes).
    logger, close
        Those of the worker.
    executor
        Makes what runs the functions.
    report
        Tells others what was counted; see `WorkerLoop`.
    follow
        Goes where the master is; see `WorkerLoop`.
    """

    def __init__(
        self,
        functions: FunctionTable,
        driver: Driver,
        wake: Callable[[], None],
        max_rss: int | None,
        logger: Logger,
        close: Callable[[], None],
        executor: Callable[[FunctionTable, TimeLimit], Runs] = Executor,
        report: Callable[[bool], None] = lambda last: None,
        follow: Callable[[float], float] = lambda now: MAX_WAIT,
    ) -> None:
        self._driver = driver
        self._max_rss = max_rss
        self._logger = logger
        self._close = close
        self._limit = TimeLimit(logger.warning)
        self._executor = runs = executor(functions, self._limit)
        run = runs.run if max_rss is None else self._run_and_weigh
        self.loop = WorkerLoop(driver, run, wake, runs.take_early, self._look, report, follow)
        #: The process ends at once.
        self.ending = False

    def wait_for(self, event: Event, done: threading.Event) -> None:
        """Do as `WorkerLoop.wait_for`; an alarm does not hit the machine meanwhile."""
        with self._limit.held() as check:
            self.loop.wait_for(event, done, check)

    def _run_and_weigh(self, invoke: Invoke) -> list[Completed]:
        answers = self._executor.run(invoke)
        size = resident_size()
        if self._max_rss is not None and size > self._max_rss:
            self.loop.post(Retire(inf, f"it has {size:,} bytes of memory"))
        return answers

    def _look(self) -> None:
        """End the process if a function took no notice of the end of its time."""
        overdue = self._executor.take_overdue()
        if not overdue:
            return
        self.ending = True
        self._logger.error(
            "a function goes on though its time is over: ending this process%s",
            "" if is_supervised() else ", and nobody starts another one",
        )
        self._limit.give_up()
        self._driver.handle(Retire(0.0, "a function took no notice of the end of its time"))
        for completed in overdue:
            self._driver.handle(completed)
        self._close()
        os._exit(1)
