"""Ending processes that are not our children, known by their records."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence

from palm.runtime.processes import let_go_on
from palm.runtime.records import ComponentRecord, is_running

__all__ = ["end_processes"]

_POLL = 0.02
#: Seconds that the kernel may take for a SIGKILL.
_MARGIN = 5.0


def end_processes(records: Iterable[ComponentRecord], grace: float = 5.0) -> list[ComponentRecord]:
    """SIGTERM to all and, after ``grace`` seconds, SIGKILL; returns those that still run.

    A pid that meanwhile belongs to another process is left alone. A process that leads its
    group, as supervised and detached ones do, is killed with the group.
    """
    left = list(records)
    for name, seconds in (("SIGTERM", grace), ("SIGKILL", _MARGIN)):
        for record in left:
            _signal(record, signal.Signals[name])
        left = _wait(left, seconds)
    return left


def _runs(record: ComponentRecord) -> bool:
    return is_running(record.pid, record.start_time, record.identity)


def _signal(record: ComponentRecord, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            fd = os.pidfd_open(record.pid)
            try:
                if _runs(record):  # from here on the descriptor is that very process
                    _deliver(record, number, fd)
            finally:
                os.close(fd)
        elif _runs(record):
            os.kill(record.pid, number)


def _deliver(record: ComponentRecord, number: signal.Signals, fd: int) -> None:
    if number == signal.SIGKILL and os.getpgid(record.pid) == record.pid:
        os.killpg(record.pid, number)
    else:
        let_go_on(record.pid, lambda: signal.pidfd_send_signal(fd, signal.SIGCONT))
        signal.pidfd_send_signal(fd, number)


def _wait(records: Sequence[ComponentRecord], seconds: float) -> list[ComponentRecord]:
    deadline = time.monotonic() + seconds
    left = [record for record in records if _runs(record)]
    while left and time.monotonic() < deadline:
        time.sleep(_POLL)
        left = [record for record in left if _runs(record)]
    return left
