"""Holes: the beginning of a file is freed while its end goes on to be written.

A hole takes no room on disk and changes neither size nor offsets. Python has no call for it, so it
is the C library's ``fallocate``; where that, or the file system, cannot do it, `can_free` says so.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["can_free", "free"]

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
#: What a file system says that has no holes, or a kernel that does not know the call.
_UNABLE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def can_free(folder: Path) -> bool:
    """Whether files in a folder can have holes.

    Raises
    ------
    OSError
        It cannot be told now, as no file can be made there.
    """
    path = folder / ".holes"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    try:
        _punch(fd, 0, 4096)
    except OSError as error:
        if error.errno in _UNABLE:
            return False
        raise
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
    return True


def free(path: Path, begin: int, end: int) -> None:
    """Free the bytes of a file between two offsets; who reads there gets NULs from then on.

    Raises
    ------
    OSError
        It cannot be done.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _punch(fd, begin, end - begin)
    finally:
        os.close(fd)


def _punch(fd: int, offset: int, size: int) -> None:
    call = _fallocate()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    while call(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, size):
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


@cache
def _fallocate() -> Any:
    """The call, with offsets of 64 bits on every machine; None if there is none."""
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        call.restype = ctypes.c_int
    return call
