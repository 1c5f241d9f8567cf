"""A client's link: a thread that owns the socket and the machine."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from palm.clients.feeder import Feeder
from palm.clients.job import Job
from palm.clients.questions import Questions
from palm.errors import PalmError
from palm.protocol.client import ClientMachine
from palm.protocol.effects import (
    Answered,
    Fail,
    Log,
    Reconnect,
    Reply,
    Stopped,
)
from palm.protocol.events import Event, StopRequested
from palm.runtime.connecting import Dialer
from palm.runtime.driver import Driver
from palm.runtime.shared import SharedValues
from palm.transport.zmq import ZmqConnector

__all__ = ["Connection"]

#: Seconds between two looks at batches that wait to be filled.
STALE_AFTER: Final = 0.001


class Connection:
    """Runs a client's machine in a thread of its own.

    Parameters
    ----------
    perform
        What to do for `Accepted`, `Deliver`, `Expired`, `Fail`, `Note` and `Ready`, in this
        thread.
    idle
        Called before each wait; it returns whether there is something to be called for again
        soon.
    """

    def __init__(
        self,
        machine: ClientMachine,
        connector: ZmqConnector,
        dialer: Dialer,
        perform: dict[type, Callable[[Any], None]],
        idle: Callable[[], bool | None],
        logger: logging.Logger,
    ) -> None:
        self._machine = machine
        self._connector = connector
        self._dialer = dialer
        self._fail = perform[Fail]
        self._idle = idle
        self._logger = logger
        #: Jobs that are not done, by key. This thread holds them, and they hold their client:
        #: a job goes on though nobody looks at it.
        self.active: dict[bytes, tuple[Job, Feeder]] = {}
        self._inbox: deque[Event] = deque()
        self._over = False
        self._driver = Driver(
            machine,
            connector,
            {
                Reconnect: self._reconnect,
                Reply: SharedValues.perform,
                Answered: Questions.perform,
                Log: self._log,
                Stopped: self._stopped,
                **perform,
            },
        )
        self._thread = threading.Thread(target=self._run, name="palm-client", daemon=True)

    def start(self) -> None:
        """Begin to look for the master."""
        self._thread.start()

    def post(self, event: Event) -> None:
        """Let an event happen, from any thread."""
        self._inbox.append(event)
        self._connector.wake()

    def wake(self) -> None:
        """Have ``idle`` called soon."""
        self._connector.wake()

    def close(self, timeout: float | None = None) -> None:
        """Say goodbye and end the thread; wait up to ``timeout`` seconds for that (None: for ever).

        The garbage collector may call it, from any thread and whatever locks that holds.
        """
        if self._thread.is_alive():
            self.post(StopRequested(0.0))
            if self._thread is not threading.current_thread():
                self._thread.join(timeout)

    def _run(self) -> None:
        driver, inbox = self._driver, self._inbox
        try:
            driver.perform(self._machine.start(driver.clock()))
            while not self._over:
                patience = self._dialer.follow(driver.clock())
                driver.step(STALE_AFTER if self._idle() else patience)
                while inbox and not self._over:
                    driver.handle(inbox.popleft())
        except BaseException as error:
            failure = PalmError(f"the client's thread ended: {type(error).__name__}: {error}")
            self._fail(Fail(None, failure))  # nobody who waits may wait for ever
            raise
        finally:
            self._dialer.close()
            self._connector.close()

    def _reconnect(self, effect: Reconnect) -> None:
        self._inbox.append(self._dialer.look())
        self._connector.wake()

    def _log(self, effect: Log) -> None:
        self._logger.log(effect.level, effect.text)

    def _stopped(self, effect: Stopped) -> None:
        self._over = True
