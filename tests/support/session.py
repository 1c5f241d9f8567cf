"""Nothing is left of a run of tests that was killed with -9: a process of its own sees to that.

All that a run starts has a variable in its environment that names the run, and its folders have
that name in theirs. The watcher is told of the end of an orderly run; when it just finds the other
end of its pipe closed, it kills what has the variable and removes the folders.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

__all__ = ["VARIABLE", "members", "new_folder", "watched_session"]

VARIABLE = "TESTS_SESSION"

_ROOT = Path(__file__).parents[2]
_TMP = Path("/tmp")
_DONE = b"done"
#: Seconds between two looks whether our parent lives: a forked child of it keeps the pipe open.
_LOOK_EVERY = 1.0
#: Seconds for all to end, since who is killed may have been about to start another one.
_BOUND = 30.0


def new_folder(what: str = "") -> Path:
    """Make a folder of this run; short, so that paths of sockets stay below 107 bytes."""
    return Path(tempfile.mkdtemp(prefix=f"palm-{os.environ[VARIABLE]}-{what}", dir=_TMP))


def members(session: str) -> list[psutil.Process]:
    """The processes that a run has started, and that are there."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(VARIABLE) == session and process.pid != os.getpid():
                found.append(process)
    return found


@contextmanager
def watched_session() -> Iterator[str]:
    """Have this process watched, and its run named in its environment."""
    name = secrets.token_hex(3)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "tests.support.session", name],
        stdin=subprocess.PIPE,
        cwd=_ROOT,
        start_new_session=True,  # who kills a whole group, kills not this one
    )
    before, os.environ[VARIABLE] = os.environ.get(VARIABLE), name
    try:
        yield name
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        watcher.communicate(_DONE)


def main() -> None:
    """Watch our parent."""
    if not _ends_in_order(os.getppid()):
        _end_all(sys.argv[1])


def _ends_in_order(parent: int) -> bool:
    told = b""
    while os.getppid() == parent:
        if select.select([0], [], [], _LOOK_EVERY)[0]:
            piece = os.read(0, 64)
            if not piece:
                break
            told += piece
    return told == _DONE


def _end_all(session: str) -> None:
    deadline = time.monotonic() + _BOUND
    while (left := members(session)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)
    for folder in _TMP.glob(f"palm-{session}-*"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
