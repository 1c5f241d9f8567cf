"""Keeps the spools of a node within bounds, in a thread of its own.

What the registry has stored is freed. Of a process of which more waits than its quota, or anything
much while the disk is almost full, the oldest output is dropped, or the process is suspended until
the registry has taken enough: `palm.runner.quota` has the rules.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from palm.runner import holes
from palm.runner.backlog import KEPT
from palm.runner.quota import Disk, Quota, Verdict, is_low
from palm.runner.spool import STREAMS, Stream
from palm.runner.upload import Source, Uploader
from palm.spec.process import ProcessState
from palm.spec.spool import SpoolPolicy

__all__ = ["Keeper", "Processes"]

#: Seconds between two looks. Memory takes a gigabyte a second or two: so much may be written
#: beyond a quota, times this.
PERIOD = 0.05
#: Bytes of a stream that stay for readers on the node while the disk is almost full.
KEPT_IF_LOW = 64 * 1024
#: Seconds after which it is told again that output of a process is dropped.
TELL_EVERY = 60.0

_log = logging.getLogger("palm.runner")


class Processes(Protocol):
    """What writes: these methods of `palm.runner.service.ProcessSupervisor`."""

    def states(self) -> list[ProcessState]:
        """The states of all processes."""

    def pause(self, name: str, instance: str, reason: str) -> None:
        """Suspend a process, if it is still that instance and was not yet."""

    def resume(self, name: str, instance: str) -> None:
        """Let a process go on, if it was suspended by us."""


class Keeper:
    """The thread.

    Parameters
    ----------
    root
        Folder of the spools.
    """

    def __init__(self, root: Path, uploader: Uploader, processes: Processes) -> None:
        self._root = root
        self._uploader = uploader
        self._processes = processes
        self._quotas: dict[tuple[str, SpoolPolicy, int | None], Quota] = {}
        #: Up to where holes were made.
        self._holes: dict[tuple[str, Stream], int] = {}
        self._tell_next: dict[str, float] = {}
        self._low = False
        self._can_free: bool | None = None
        self._told = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="palm-spool", daemon=True)

    def start(self) -> None:
        """Begin to look after the spools."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What is suspended stays so, until its supervisor lets go of it."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    # In the thread.

    def _serve(self) -> None:
        while not self._over.wait(PERIOD):
            try:
                self._work()
            except OSError as error:  # a disk that is lost may come back
                self._tell("the spools cannot be looked after: %s", error)

    def _work(self) -> None:
        found = self._uploader.look()
        self._forget(found)
        if not found:
            return
        self._look_at_disk()
        starting = {s.instance for s in self._processes.states() if s.state == "starting"}
        for name in {source.spec.name for source, _ in found.values()}:
            mine = {i: each for i, each in found.items() if each[0].spec.name == name}
            self._bound(name, mine)
        for instance, (source, _) in found.items():
            # Whether it is ready may be in its output, which is looked through from the start.
            if self._can_free and instance not in starting:
                self._uploader.free(instance, KEPT_IF_LOW if self._low else KEPT)
            self._make_holes(source)

    def _look_at_disk(self) -> None:
        if self._can_free is None:
            self._try_holes()
        disk = os.statvfs(self._root)
        low = is_low(Disk(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize), self._low)
        if low != self._low:
            self._low = low
            _log.warning("the disk of %s %s", self._root,
                         "is almost full" if low else "has room again")  # fmt: skip

    def _try_holes(self) -> None:
        try:
            self._can_free = holes.can_free(self._root)
        except OSError as error:  # it may be full
            self._tell("it is not known yet whether output can be freed: %s", error)
        if self._can_free is False:
            _log.warning(
                "%s is on a file system that cannot free parts of a file: output stays there until"
                " its component has ended, and who drops the oldest is suspended instead",
                self._root,
            )

    def _bound(self, name: str, mine: dict[str, tuple[Source, int]]) -> None:
        """Keep what waits of one process within its quota, whichever of its lives wrote it."""
        spec = list(mine.values())[-1][0].spec
        key = (name, spec.spool, spec.spool_quota)
        quota = self._quotas.setdefault(key, Quota(spec.spool, spec.spool_quota))
        waiting = sum(size for _, size in mine.values())
        verdict = quota.judge(waiting, low=self._low, can_free=bool(self._can_free))
        for instance, (source, _) in mine.items():
            if not source.over and verdict.pause:
                self._processes.pause(name, instance, verdict.pause)
            elif not source.over:
                self._processes.resume(name, instance)
        self._drop(name, mine, verdict)

    def _drop(self, name: str, instances: Collection[str], verdict: Verdict) -> None:
        left = verdict.drop
        for instance in instances:
            if left > 0:
                left -= self._uploader.drop(instance, left, verdict.reason)
        if left != verdict.drop and time.monotonic() > self._tell_next.get(name, 0.0):
            self._tell_next[name] = time.monotonic() + TELL_EVERY
            _log.warning("the oldest output of %s is dropped: more than its quota waits", name)

    def _make_holes(self, source: Source) -> None:
        spool = source.spool
        freed = self._uploader.freed(spool.instance)
        new = {
            stream: freed[stream].begin
            for stream in STREAMS
            if stream in freed
            and freed[stream].begin > self._holes.get((spool.instance, stream), 0)
        }
        if not new:
            return
        try:
            spool.write_freed(freed)
            for stream, end in new.items():
                key = (spool.instance, stream)
                holes.free(spool.path(stream), self._holes.get(key, 0), end)
                self._holes[key] = end
        except OSError as error:  # the next look tries again
            self._tell(f"nothing can be freed of {spool.instance}: %s", error)

    def _forget(self, found: Collection[str]) -> None:
        """Forget instances that are over and stored."""
        for key in [key for key in self._holes if key[0] not in found]:
            del self._holes[key]
        names = {instance.rpartition(".")[0] for instance in found}
        for quota in [each for each in self._quotas if each[0] not in names]:
            del self._quotas[quota]

    def _tell(self, text: str, error: OSError) -> None:
        """Log, once."""
        if not self._told:
            _log.warning(text, error)
            self._told = True
