"""The child's side of a supervisor: say when ready, and end when the supervisor is gone.

A supervisor passes two pipes. Into the first (``PALM_READY_FD``) the child writes ``ready`` once.
On the second (``PALM_TIE_FD``) nothing is ever written: it reads end-of-file when the supervisor
is gone, however that came about. Unlike ``PR_SET_PDEATHSIG`` this is portable and does not depend
on the thread that started the child.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable

__all__ = [
    "READY_VARIABLE",
    "TIE_VARIABLE",
    "is_supervised",
    "notify_ready",
    "tie_to_supervisor",
]

READY_VARIABLE = "PALM_READY_FD"
TIE_VARIABLE = "PALM_TIE_FD"

#: Ready pipe of this process when its variable was already taken out of the environment.
_kept_ready_fd: int | None = None

#: Whether a supervisor was found to listen for our being ready.
_supervised = False


def is_supervised() -> bool:
    """Whether a supervisor looks after this process; known after `tie_to_supervisor`."""
    return _supervised


def notify_ready() -> None:
    """Tell the supervisor, if there is one, that this process is ready. Later calls do nothing."""
    fd = _take_ready_fd()
    if fd is None:
        return
    with contextlib.suppress(OSError):  # the supervisor stopped listening: nobody to tell
        os.write(fd, b"ready\n")
    os.close(fd)


def tie_to_supervisor(on_lost: Callable[[], None], grace: float) -> None:
    """End this process when its supervisor is gone; does nothing without a supervisor.

    Parameters
    ----------
    on_lost
        Asks the component to stop. Called in a daemon thread.
    grace
        Seconds the component may take to stop before it is ended by force. Long calls in
        Python or C cannot delay that.
    """
    global _kept_ready_fd
    _kept_ready_fd = _take_ready_fd()
    fd = _take_fd(TIE_VARIABLE)
    if fd is None:
        return
    lost = threading.Event()
    # Registered early, so it runs after the handlers of everything started later.
    atexit.register(_end_group_if, lost)
    threading.Thread(
        target=_watch, args=(fd, lost, on_lost, grace), name="palm-lifeline", daemon=True
    ).start()


def _watch(fd: int, lost: threading.Event, on_lost: Callable[[], None], grace: float) -> None:
    while os.read(fd, 64):
        pass
    lost.set()
    os.close(fd)
    try:
        on_lost()
    finally:  # on_lost may fail; the process must end all the same
        threading.Event().wait(grace)
        _end_group()


def _end_group_if(lost: threading.Event) -> None:
    if lost.is_set():
        _end_group()


def _end_group() -> None:
    """End this process now, with what it started if it leads a process group of its own."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _take_ready_fd() -> int | None:
    global _kept_ready_fd, _supervised
    fd, _kept_ready_fd = _kept_ready_fd, None
    if fd is None:
        fd = _take_fd(READY_VARIABLE)
    _supervised = _supervised or fd is not None
    return fd


def _take_fd(variable: str) -> int | None:
    """The pipe that a variable names; removes the variable, so no grandchild uses it too."""
    text = os.environ.pop(variable, "")
    if not text.isascii() or not text.isdigit():
        return None
    fd = int(text)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):  # a number inherited by mistake
            return None
        os.set_inheritable(fd, False)
    except (OSError, OverflowError):
        return None
    return fd
