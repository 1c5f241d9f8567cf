"""How a worker serves: one thread owns the socket and runs the functions.

While a function runs, nobody reads the socket. When it runs for longer than `WATCH_EVERY`, a
watcher thread does, so that cancelled, recalled or reset leases and a wish to stop are noticed.
The lock belongs to whoever uses driver and machine.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from palm.errors import PalmError
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed, Event
from palm.runtime.driver import MAX_WAIT, Driver

__all__ = ["READ_AFTER", "WorkerLoop"]

#: Seconds between two looks of the watcher.
WATCH_EVERY: Final = 0.05

#: Seconds of a run after which the socket is read before it is answered: no master is started
#: again in less.
READ_AFTER: Final = 0.01

#: Looks without a call after which the watcher sleeps until the next call.
CALM_AFTER: Final = 20


class WorkerLoop:
    """The loop of one worker.

    Parameters
    ----------
    driver
        Its machine's driver; it calls `invoke` and `finish` for those effects.
    run
        Runs the messages of an `Invoke`; the last of its answers is ``over``.
    wake
        Ends the driver's wait.
    take_early
        Returns what is done of a run that takes long, for it to be answered before its end.
    look
        Called now and then by the watcher while a run takes long, after that.
    report
        Called now and then by the watcher as long as there are calls, and a last time after them.
        It does not own the driver.
    follow
        Called before each wait between calls; goes where the master is by now, and returns for
        how many seconds nothing of that kind is to be done.
    """

    def __init__(
        self,
        driver: Driver,
        run: Callable[[Invoke], list[Completed]],
        wake: Callable[[], None],
        take_early: Callable[[], Completed | None] = lambda: None,
        look: Callable[[], None] = lambda: None,
        report: Callable[[bool], None] = lambda last: None,
        follow: Callable[[float], float] = lambda now: MAX_WAIT,
    ) -> None:
        self._driver = driver
        self._run = run
        self._wake = wake
        self._take_early = take_early
        self._look = look
        self._report = report
        self._follow = follow
        self._lock = threading.Lock()
        self._inbox: deque[Event] = deque()
        self._invoke: Invoke | None = None
        self._over = False
        self._calls = 0
        self._calling = False
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="palm-watcher", daemon=True)
        self._thread: int | None = None

    def serve(self) -> None:
        """Serve in this thread until `finish`."""
        self._thread = threading.get_ident()
        self._watcher.start()
        try:
            while not self._over:
                with self._lock:
                    patience = self._follow(time.monotonic())
                    self._step(patience if self._invoke is None else 0.0)
                invoke = self._invoke
                if invoke is not None:
                    begun = time.monotonic()
                    answers = self._call(invoke)
                    took_long = time.monotonic() - begun >= READ_AFTER
                    with self._lock:
                        if took_long:  # an answer over a link that was lost meanwhile is lost, too
                            self._step(0.0)
                        self._invoke = None
                        for completed in answers:
                            self._driver.handle(completed)
        finally:
            self._over = True
            self._closed.set()
            self._awake.set()
            self._watcher.join()
            self._thread = None

    def invoke(self, effect: Invoke) -> None:
        """Note what is to be run next."""
        self._invoke = effect

    def finish(self) -> bool:
        """Leave the loop; return whether a function runs, which cannot be left."""
        self._over = True
        return self._calling

    def post(self, event: Event) -> None:
        """Let an event happen, from any thread."""
        self._inbox.append(event)
        self._wake()

    def wait_for(
        self, event: Event, done: threading.Event, check: Callable[[], None] = lambda: None
    ) -> None:
        """Let an event happen and wait until ``done``; the thread of `serve` works meanwhile.

        ``check`` is called now and then, and may raise.

        Raises
        ------
        PalmError
            The worker's life ends before: nobody is left to bring it about.
        """
        self.post(event)
        while not done.is_set():
            check()
            if self._over:
                raise PalmError("the worker was stopped before its master answered")
            if threading.get_ident() != self._thread:
                done.wait(WATCH_EVERY)
                continue
            with self._lock:
                self._step(WATCH_EVERY)

    def _step(self, timeout: float) -> None:
        while self._inbox:
            self._driver.handle(self._inbox.popleft())
            timeout = 0.0
        if not self._over:
            self._driver.step(timeout)
        while self._inbox:
            self._driver.handle(self._inbox.popleft())

    def _call(self, invoke: Invoke) -> list[Completed]:
        self._calls += 1
        self._calling = True
        if not self._awake.is_set():
            self._awake.set()
        try:
            return self._run(invoke)
        finally:
            self._calling = False

    def _watch(self) -> None:
        seen = calm = 0
        while not self._closed.is_set():
            self._awake.wait()
            self._closed.wait(WATCH_EVERY)
            if self._calling and self._calls == seen:
                with self._lock:
                    if self._invoke is not None:
                        self._step(0.0)
                        early = self._take_early()
                        if early is not None:
                            self._driver.handle(early)
                        self._look()
            calm = 0 if self._calling or self._calls != seen else calm + 1
            seen = self._calls
            if calm > CALM_AFTER and not self._closed.is_set():
                calm = 0
                self._report(True)
                self._awake.clear()
            else:
                self._report(False)
