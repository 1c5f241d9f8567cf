"""Files that only their user may read, and that are whole from their first moment on."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from palm.errors import AuthenticationError, ConfigError

__all__ = ["UNREADABLE", "create", "locked", "open_lock", "read", "replace"]

#: What decoding JSON may raise that is damaged: no JSON, no UTF-8, or nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


def open_lock(path: Path) -> int:
    """Return a descriptor of the file `path`, made if need be, to be locked with flock.

    The file must never be removed. Somebody may have opened it and be about to lock it; if it
    were unlinked, the next one would make and lock another file, and both would go on.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for it: for a few file operations, never longer."""
    fd = open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def create(path: Path, data: bytes) -> bool:
    """Write a file that survives a power cut; say False if there is one of that name already."""
    temporary = _write_temporary(path, data, durable=True)
    try:
        # link, not rename: where no lock reaches (another mount of the same folder), the second
        # of two makers must not put its file in the place of the first one's.
        with suppress(FileExistsError):
            os.link(temporary, path)
            _sync_folder(path.parent)
            return True
        return False
    finally:
        temporary.unlink(missing_ok=True)


def replace(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file in the place of any other: a reader sees the old one or the new one.

    With `durable`, also one who comes after a power cut.
    """
    temporary = _write_temporary(path, data, durable=durable)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path, what: str, limit: int) -> bytes:
    """Return up to `limit` bytes of a file, once it is proven to be ours alone.

    Raises
    ------
    AuthenticationError
        A link, another user's, or open to others. `what` ("key file") says what it should be.
    ConfigError
        It cannot be opened.
    """
    try:
        # O_NONBLOCK: opening a pipe put there instead must not wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AuthenticationError(
                f"the {what} {path} is a symbolic link: put the file itself there"
            ) from error
        raise ConfigError(f"the {what} {path} cannot be read: {error.strerror}") from error
    try:
        if flaw := _flaw(path, os.fstat(fd)):
            raise AuthenticationError(f"the {what} {path} {flaw}")
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(fd)


def _flaw(path: Path, found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, not to you ({os.geteuid()})"
    if found.st_mode & 0o077:
        mode = f"{found.st_mode & 0o777:03o}"
        return f"is open to other users (mode {mode}); if none has read it: chmod 600 {path}"
    folder = path.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        return f"could be exchanged by anybody: chmod o-w {path.parent}"
    return ""


def _write_temporary(path: Path, data: bytes, *, durable: bool) -> Path:
    temporary = path.with_name(f".{path.stem}.{os.urandom(6).hex()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)  # an odd umask or a default ACL may have given other bits
            file.write(data)
            if durable:
                file.flush()
                os.fsync(fd)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
