"""One component a name: a lock that the system frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec

from palm.errors import ConfigError
from palm.files.privatefile import UNREADABLE, open_lock
from palm.runtime.folders import Folders
from palm.runtime.records import is_running, process_identity, process_start_time
from palm.spec.names import check_name

__all__ = ["NameLock", "NameTaken"]


class NameTaken(ConfigError):  # noqa: N818 - named after what happened
    """A running component has the name; `pid` 0 if it has not yet said which process it is."""

    def __init__(self, name: str, pid: int = 0, start_time: float = 0.0) -> None:
        text = f"a component named {name!r} already runs"
        if pid:
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(start_time))
            text += f": pid {pid}, since {since}"
        super().__init__(text, hint=f"stop it with: palm stop {name}; or choose another name")
        self.pid = pid
        self.start_time = start_time


class _Holder(msgspec.Struct):
    pid: int
    start_time: float
    identity: str = ""


class NameLock:
    """The right to be the component `name` of a cluster, held from `acquire` to `release`.

    Take it before binding: a bind on the ipc path of a live component succeeds silently and
    splits the cluster.
    """

    # The file is never removed, see `open_lock`. The lock (flock) belongs to the open file, not
    # to the process: two components of one process exclude each other too. The kernel frees it
    # when the holder dies, also at kill -9.

    def __init__(self, folders: Folders, name: str) -> None:
        self.name = check_name(name)
        self._path: Path = folders.components / f"{name}.lock"
        self._fd: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the name, at once or not at all; raise `NameTaken` if it is held elsewhere."""
        if self._fd is not None:
            return
        fd = open_lock(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_holder(fd)
        except BlockingIOError:
            holder = _read_holder(fd)
            os.close(fd)
            raise NameTaken(self.name, holder.pid, holder.start_time) from None
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _HELD.add(self)

    def release(self) -> None:
        """Give the name back. May be called more than once."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        _HELD.discard(self)
        os.ftruncate(fd, 0)
        os.close(fd)


def _write_holder(fd: int) -> None:
    pid = os.getpid()
    holder = _Holder(pid, process_start_time(pid) or time.time(), process_identity(pid))
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)


def _read_holder(fd: int) -> _Holder:
    # Between a starter's lock and its write the file is empty or names the holder before it.
    try:
        holder = msgspec.json.decode(os.pread(fd, 4096, 0), type=_Holder)
    except UNREADABLE:
        return _Holder(0, 0.0)
    alive = is_running(holder.pid, holder.start_time, holder.identity)
    return holder if alive else _Holder(0, 0.0)


#: Locks held by this process.
_HELD: set[NameLock] = set()


def _drop_in_child() -> None:
    # A forked child has copies of the open files, and would keep the names taken after its
    # parent's death. Closing a copy does not free the parent's lock.
    while _HELD:
        lock = _HELD.pop()
        if lock._fd is not None:
            os.close(lock._fd)
            lock._fd = None


os.register_at_fork(after_in_child=_drop_in_child)
