"""The processes of this machine at one moment: whose child each is, and what it uses."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Row",
    "environment_value",
    "kill",
    "let_go_on",
    "lives",
    "read_processes",
    "trees",
    "with_descendants",
]

_HAS_PROC = os.path.exists("/proc/self/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Bytes of one file of /proc; an environment may have more than a page.
_PART = 64 * 1024
#: Seconds in which the threads of a process that goes on have run, and sleep again.
_AWAKE = 0.25
_SLEEPS = "voluntary_ctxt_switches"


@dataclass(slots=True)
class Row:
    """One process. ``start`` tells it from every other with its pid: ticks since the boot.

    ``cpu`` is in seconds of processors, those of its children that it has waited for included;
    ``rss`` is in bytes.
    """

    pid: int
    parent: int
    group: int
    session: int
    start: int
    zombie: bool
    cpu: float
    rss: int
    threads: int


def read_processes() -> dict[int, Row]:
    """Return all processes by pid; one that ends meanwhile may be among them or not."""
    if not _HAS_PROC:
        return _foreign_processes()
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (row := _row(int(entry))) is not None:
            found[row.pid] = row
    return found


def with_descendants(rows: Mapping[int, Row], roots: Iterable[int]) -> set[int]:
    """Return the processes `roots` and all that they, or theirs, have started and not lost."""
    return _descend(_children(rows), roots, ())


def trees(rows: Mapping[int, Row], roots: Collection[int]) -> dict[int, set[int]]:
    """Return for each of `roots` itself and its descendants, but for those of others of `roots`."""
    children = _children(rows)
    return {pid: _descend(children, [pid], roots) for pid in roots}


def _children(rows: Mapping[int, Row]) -> Mapping[int, list[int]]:
    children: dict[int, list[int]] = defaultdict(list)
    for row in rows.values():
        children[row.parent].append(row.pid)
    return children


def _descend(
    children: Mapping[int, list[int]], roots: Iterable[int], others: Collection[int]
) -> set[int]:
    found: set[int] = set()
    left = list(roots)
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left += [child for child in children.get(pid, ()) if child not in others]
    return found


def environment_value(pid: int, name: str) -> str | None:
    """Return a variable that a process of ours was started with; None: not set, or not ours."""
    if not _HAS_PROC:
        return _foreign_environment(pid).get(name)
    data = b"\0" + (_read(f"/proc/{pid}/environ") or b"")
    mark = f"\0{name}=".encode()
    begin = data.find(mark)
    if begin < 0:
        return None
    begin += len(mark)
    return data[begin : data.find(b"\0", begin)].decode("utf-8", "surrogateescape")


def lives(row: Row) -> bool:
    """Whether that very process is still there, and no zombie."""
    now = _row(row.pid) if _HAS_PROC else _foreign_processes().get(row.pid)
    return now is not None and now.start == row.start and not now.zombie


def let_go_on(pid: int, resume: Callable[[], None]) -> None:
    """Call what sends SIGCONT; if `pid` was suspended, return once its threads have run.

    Until then each of them may take the next signal that is sent to the process, whichever thread
    the system has woken for it, and a Python that sleeps in its main thread would not hear of it.
    """
    before = _suspended(pid)
    resume()
    deadline = time.monotonic() + _AWAKE
    while before and before.items() & _sleeps(pid).items():
        if time.monotonic() > deadline:  # who is not asleep by then computes, and so it has run
            return
        time.sleep(0.001)


def _suspended(pid: int) -> dict[str, str]:
    """Return how often each thread went to sleep; nothing if it is not suspended, or gone."""
    if _state(pid) != "T":
        return {}
    before = _sleeps(pid)
    while (now := _sleeps(pid)) != before and _state(pid) == "T":
        before = now  # a thread was only just arriving
    return before


def _state(pid: int) -> str:
    """Return the letter of the main thread's state: "T" if it is suspended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _sleeps(pid: int) -> dict[str, str]:
    """Return how often each thread went to sleep, by its number.

    How often another thread took its place says nothing: it may not have begun by then.
    """
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with suppress(OSError):  # it has ended
            lines = (task / "status").read_text("utf-8").splitlines()
            found[task.name] = "".join(line for line in lines if line.startswith(_SLEEPS))
    return found


def kill(row: Row, number: signal.Signals) -> None:
    """Send a signal to that very process, and never to a later one of its pid."""
    with suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            if lives(row):
                os.kill(row.pid, number)
            return
        fd = os.pidfd_open(row.pid)
        try:
            if lives(row):  # from here on the descriptor is that process
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def _row(pid: int) -> Row | None:
    data = _read(f"/proc/{pid}/stat")
    if not data:
        return None
    # Field 2 is the program's name in parentheses and may hold anything, parentheses included.
    fields = data[data.rindex(b")") + 2 :].split()
    return Row(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start=int(fields[19]),
        zombie=fields[0] in (b"Z", b"X", b"x"),
        cpu=sum(map(int, fields[11:15])) / _TICKS,
        rss=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
    )


def _read(path: str) -> bytes | None:
    # Neither a file object nor a Path: there are hundreds of them, once a second.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = part = os.read(fd, _PART)
        while len(part) == _PART:
            part = os.read(fd, _PART)
            found += part
        return found
    except OSError:  # it has ended
        return None
    finally:
        os.close(fd)


def _foreign_processes() -> dict[int, Row]:
    import psutil  # only where there is no /proc; slow to load

    found = {}
    for each in psutil.process_iter():
        with suppress(psutil.Error, OSError), each.oneshot():
            times, pid = each.cpu_times(), each.pid
            found[pid] = Row(
                pid=pid,
                parent=each.ppid(),
                group=os.getpgid(pid),
                session=os.getsid(pid),
                start=int(each.create_time() * _TICKS),
                zombie=each.status() == psutil.STATUS_ZOMBIE,
                cpu=times.user + times.system,
                rss=each.memory_info().rss,
                threads=each.num_threads(),
            )
    return found


def _foreign_environment(pid: int) -> dict[str, str]:
    import psutil  # only where there is no /proc; slow to load

    with suppress(psutil.Error):
        return dict(psutil.Process(pid).environ())
    return {}
