"""What a test left behind: threads, descriptors, processes.

A test that leaks is found by the difference between two looks at this process. Sockets of a
ZeroMQ context and children that were told to stop go away a moment later, so the second look is
repeated until a deadline.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

KINDS = ("threads", "descriptors", "processes")
#: Threads that libraries keep for the life of the process, by class.
LIBRARY_THREADS = {"HistorySavingThread", "TMonitor", "_DummyThread"}


class LeakCheck:
    """One look before a test; ``found`` says what is more now.

    ``folder`` is the test's own: descriptors of files in it, and processes anywhere on the machine
    that have it as their ``PALM_RUN_DIR``, belong to the test even when their parent is gone -
    except ``shared``, the processes that are there for other tests, too.
    """

    def __init__(self, folder: Path, shared: Collection[int | None] = ()) -> None:
        self._folder = folder
        self._shared = shared
        self._threads = set(threading.enumerate())
        self._descriptors = descriptors(folder)
        self._children = {child.pid for child in children()}

    def found(self, kinds: Iterable[str] = KINDS, *, within: float = 5.0) -> list[str]:
        """Leaks that are still there after ``within`` seconds, a line each."""
        deadline = time.monotonic() + within
        leaks = self._look(kinds)
        if leaks:
            gc.collect()
        while leaks and time.monotonic() < deadline:
            time.sleep(0.02)
            leaks = self._look(kinds)
        return leaks

    def end_processes(self) -> None:
        """Kill what the test started, so that the next one has the machine to itself."""
        for process in self._leaked_processes():
            process.kill()
        psutil.wait_procs(self._leaked_processes(), timeout=5)

    def _look(self, kinds: Iterable[str]) -> list[str]:
        looks = {
            "threads": self._more_threads,
            "descriptors": self._more_descriptors,
            "processes": self._more_processes,
        }
        return [leak for kind in kinds for leak in looks[kind]()]

    def _more_threads(self) -> Iterator[str]:
        for thread in threading.enumerate():
            known = thread in self._threads or type(thread).__name__ in LIBRARY_THREADS
            if thread.is_alive() and not known:
                yield f"thread {thread.name!r}" + (" (daemon)" if thread.daemon else "")

    def _more_descriptors(self) -> Iterator[str]:
        more = descriptors(self._folder) - self._descriptors
        for target, count in more.items():
            yield f"descriptor of {target}" + (f" ({count} times)" if count > 1 else "")

    def _more_processes(self) -> Iterator[str]:
        for process in self._leaked_processes():
            try:
                command = " ".join(process.cmdline())[:120] or process.name()
                yield f"process {process.pid} ({process.status()}): {command}"
            except psutil.NoSuchProcess:
                continue

    def _leaked_processes(self) -> list[psutil.Process]:
        mine = {child.pid: child for child in children() if child.pid not in self._children}
        mine |= {process.pid: process for process in processes_of(self._folder)}
        return [process for pid, process in mine.items() if pid not in self._shared]


def checked_kinds(test: pytest.Item) -> tuple[str, ...]:
    """What a test is not to leave behind, by its marker ``no_leak_check``: by default all."""
    marker = test.get_closest_marker("no_leak_check")
    if marker is None:
        return KINDS
    return tuple(kind for kind in KINDS if marker.args and kind not in marker.args)


def descriptors(folder: Path) -> Counter[str]:
    """Open sockets, pipes and their like, and files in a folder, with how often each is open.

    Empty where the system has no /proc.
    """
    counts: Counter[str] = Counter()
    listing = Path("/proc/self/fd")
    for name in os.listdir(listing) if listing.exists() else ():
        try:
            target = os.readlink(listing / name)
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:", str(folder))):
            counts[target] += 1
    return counts


def children() -> list[psutil.Process]:
    """The processes that this one started, be they zombies."""
    return psutil.Process().children()


def processes_of(folder: Path) -> Iterator[psutil.Process]:
    """Other processes that were started with a run folder in ``folder``."""
    for process in psutil.process_iter():
        try:
            run = process.environ().get("PALM_RUN_DIR", "")
        except psutil.Error:
            continue
        if process.pid != os.getpid() and run.startswith(str(folder)):
            yield process
