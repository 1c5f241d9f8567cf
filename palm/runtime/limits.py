"""Ends a call that takes longer than it may.

First by an alarm: it raises in the main thread, which ends a sleep or a loop in Python, and the
worker lives on. What takes no notice - C code that does not return, a function that catches
everything - has `GRACE` more; then the process must end. The worker's watcher does that where it
is let, after it has answered for the message; while C code keeps the interpreter to itself nobody
is let, and a timer that needs no interpreter ends the process with a traceback on stderr.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

__all__ = ["GRACE", "OutOfTime", "TimeLimit", "limit_of"]

#: Seconds that a function has to end once it was told that its time is over.
GRACE: Final = 1.0

#: Seconds after the grace within which the watcher, if it is let, has answered for the message.
_ANSWERED_WITHIN: Final = 0.5

#: Longest limit, seconds: some system calls take no more, and nobody waits for three years.
_LONGEST: Final = 1e8

_STDERR: Final = 2


class OutOfTime(BaseException):
    """Raised in a function whose time is over; not an `Exception`, which many catch."""


def limit_of(seconds: float) -> float:
    """Return the seconds that a call may take as a message has them; 0: as long as it likes."""
    return seconds if 0 < seconds <= _LONGEST else 0.0


class TimeLimit:
    """The limit of the calls of one thread.

    ``note`` is told, once, when that is not the main thread: then nothing can be raised in it.
    Unless it ``ends_process``, a call that takes no notice goes on there, and is known as too late
    when it has ended.
    """

    def __init__(
        self, note: Callable[[str], None] = lambda text: None, *, ends_process: bool = True
    ) -> None:
        self._note = note
        self._ends_process = ends_process
        self._noted = not ends_process
        self._seconds = 0.0
        self._began = 0.0
        self._thread = 0
        self._alarms = False
        self._armed = False  # the alarm may raise
        self._expired = False
        self._held = False  # the alarm has to wait until `held` is left

    @contextmanager
    def around(self, seconds: float, spare: float) -> Iterator[None]:
        """Limit each of several `call` to ``seconds``; each begins within ``spare`` seconds."""
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._alarms = threading.current_thread() is threading.main_thread()
        if not (self._alarms or self._noted):
            self._noted = True
            self._note(
                "serving beside the main thread: a function that does not end within its time"
                " limit ends this process"
            )
        restore = self._take_alarm() if self._alarms else None
        if self._ends_process:
            faulthandler.dump_traceback_later(
                seconds + spare + GRACE + _ANSWERED_WITHIN, exit=True, file=_STDERR
            )
        try:
            yield
        finally:
            if self._ends_process:
                faulthandler.cancel_dump_traceback_later()
            if restore is not None:
                restore()
            self._seconds = 0.0

    def call(self, function: Callable[[Any], Any], value: Any) -> Any:
        """Call a function.

        Raises
        ------
        OutOfTime
            It took longer than it may, however it ended.
        """
        result = None
        try:
            try:
                self._begin()
                result = function(value)
            finally:  # where the alarm may raise as well
                self._end()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not self._is_over():
                raise
            raise OutOfTime(self._text(_place(error))).with_traceback(error.__traceback__) from None
        else:
            if self._is_over():
                raise OutOfTime(self._text(""))
            return result
        finally:
            self._began = 0.0

    def overdue(self) -> tuple[float, str] | None:
        """Return since when a call goes on that must end by force, and a text; for any thread."""
        began, seconds = self._began, self._seconds
        if not (began and seconds) or time.monotonic() - began < seconds + GRACE:
            return None
        return began, self._text(_place_of(self._thread))

    def give_up(self) -> None:
        """Note that the process is about to end: see that it does."""
        faulthandler.dump_traceback(file=_STDERR, all_threads=True)
        faulthandler.dump_traceback_later(GRACE + _ANSWERED_WITHIN, exit=True, file=_STDERR)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Let the alarm raise nowhere in here but where the function that this yields is called."""
        if threading.get_ident() != self._thread:
            yield lambda: None
            return
        self._held = True
        try:
            yield self._check
        finally:
            self._held = False
        self._check()

    def _take_alarm(self) -> Callable[[], None]:
        """Take the alarm over; return what gives it back to whoever had it set."""
        seconds, every = signal.setitimer(signal.ITIMER_REAL, 0.0)
        handler = signal.signal(signal.SIGALRM, self._on_alarm) or signal.SIG_DFL

        def restore() -> None:
            signal.signal(signal.SIGALRM, handler)
            if seconds:
                signal.setitimer(signal.ITIMER_REAL, seconds, every)

        return restore

    def _begin(self) -> None:
        self._expired = self._held = False
        self._began = time.monotonic()
        if self._alarms:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _end(self) -> None:
        self._armed = False
        if self._alarms:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if self._armed:  # else its call has ended already
            self._expired = True
            if not self._held:
                self._check()

    def _check(self) -> None:
        if self._armed and self._expired:
            self._armed = False
            raise OutOfTime

    def _is_over(self) -> bool:
        return self._expired or time.monotonic() - self._began >= self._seconds

    def _text(self, place: str) -> str:
        text = f"it took longer than its {self._seconds:g} s"
        return f"{text}, and was {place} by then" if place else text


def _place(error: BaseException) -> str:
    """Where an error was raised, in words."""
    place, entry = "", error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename != __file__:
            place = _in_words(entry.tb_frame, entry.tb_lineno)
        entry = entry.tb_next
    return place


def _place_of(thread: int) -> str:
    """Where a thread is, in words."""
    with suppress(Exception):
        frame = sys._current_frames().get(thread)
        if frame is not None:
            return _in_words(frame, frame.f_lineno)
    return ""


def _in_words(frame: FrameType, line: int) -> str:
    code = frame.f_code
    return f"in {code.co_name} at {os.path.basename(code.co_filename)}:{line}"
