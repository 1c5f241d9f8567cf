"""A worker that is part of a component: it runs the component's own functions and hooks.

It is a worker like any other, with its rules and its limits, but for the way that leases take.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from logging import Logger
from typing import Any

from palm.protocol.effects import Invoke, Log, Note, Ready, Reconnect, Stopped
from palm.protocol.events import LookedUp, StopRequested
from palm.protocol.link import Identity
from palm.protocol.worker import WorkerMachine
from palm.runtime.driver import Driver
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.runtime.guard import Guard
from palm.transport.inner import InnerConnector

__all__ = ["InnerWorker"]


class InnerWorker:
    """Serves functions in the thread that calls `serve`.

    Parameters
    ----------
    messages
        Stop after so many messages (None: never).
    drops_none
        A function that returns None has no result.
    close
        Lets go of what the component has open, should the process have to end at once.
    """

    def __init__(
        self,
        name: str,
        functions: FunctionTable,
        connector: InnerConnector,
        logger: Logger,
        close: Callable[[], None],
        *,
        messages: int | None = None,
        drops_none: bool = False,
    ) -> None:
        self._logger = logger
        self._close = close
        self._exits = False
        identity = Identity("inner", name, os.urandom(16), name, functions.names())
        machine = WorkerMachine(identity, messages)
        perform: dict[type, Callable[[Any], None]] = {
            Invoke: lambda effect: self.loop.invoke(effect),
            Ready: _nothing,
            Reconnect: lambda effect: self.loop.post(LookedUp(found=True)),
            Log: lambda effect: logger.debug(effect.text),
            Note: _nothing,
            Stopped: self._stopped,
        }
        driver = Driver(machine, connector, perform)
        executor = partial(Executor, drops_none=drops_none)
        self._guard = Guard(functions, driver, connector.wake, None, logger, close, executor)
        self.loop = self._guard.loop
        driver.perform(machine.start(driver.clock()))

    def serve(self) -> None:
        """Serve in this thread until `stop`, or until it ran as many messages as it may."""
        self._exits = threading.current_thread() is threading.main_thread()
        self.loop.serve()

    def stop(self) -> None:
        """Begin nothing any more, and leave; any thread may call it."""
        self.loop.post(StopRequested(0.0))

    def _stopped(self, effect: Stopped) -> None:
        runs = self.loop.finish()
        if runs and self._exits and not self._guard.ending:
            self._logger.error("a function did not end in time; leaving it behind")
            self._close()
            os._exit(1)


def _nothing(effect: object) -> None:
    """Do nothing: both ends are here."""
