"""Files of the registry that only its user may read: its lock, its address, the owner's token."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palm.errors import AuthenticationError, ConfigError
from palm.files import privatefile
from palm.files.privatefolder import private_folder

__all__ = ["Lock", "owner_token", "publish", "withdraw"]

_TICKS = os.sysconf("SC_CLK_TCK")


class Lock:
    """One registry for a path: held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock, or say who has it.

        Raises
        ------
        ConfigError
            Another registry runs there.
        """
        fd = privatefile.open_lock(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigError(
                f"a registry runs already, as process {holder}, for {self._path.parent}",
                hint="use that one, or stop it first",
            ) from None
        os.ftruncate(fd, 0)
        # Machines may share the folder: a number alone would be of any of them.
        os.pwrite(fd, f"{os.getpid()} of {os.uname().nodename}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. Its file stays: somebody may be about to lock it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def owner_token(state: Path) -> tuple[str, Path]:
    """Return the token of the user whose registry this is, and its file; make it if need be."""
    path = private_folder(state / "tokens", "PALM_STATE_DIR") / "owner"
    # Whoever was first has made the token.
    privatefile.create(path, f"palm_{secrets.token_urlsafe(32)}\n".encode())
    return _read_token(path), path


def publish(run: Path, url: str, token_file: Path, more: Mapping[str, Any]) -> Path:
    """Write where the registry is, all at once; do so only when it listens."""
    path = run / "registry.json"
    record: dict[str, Any] = {
        "schema": 1,
        "url": url,
        "pid": os.getpid(),
        "start_time": _start_time(),
        "token_file": str(token_file),
        **more,
    }
    privatefile.replace(path, json.dumps(record).encode(), durable=True)
    return path


def withdraw(path: Path) -> None:
    """Remove what `publish` wrote."""
    path.unlink(missing_ok=True)


def _read_token(path: Path) -> str:
    hint = "remove it, and a new one is made"
    try:
        token = privatefile.read(path, "token", 1024).decode("ascii", "replace").strip()
    except AuthenticationError as error:
        raise ConfigError(str(error), hint=hint) from error
    if len(token) < 32:
        raise ConfigError(f"{path} is not a token", hint=hint)
    return token


def _start_time() -> float:
    """When this process started, as palm.runtime.records reckons it."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        lines = Path("/proc/stat").read_text("ascii").splitlines()
    except FileNotFoundError:  # no /proc: a moment ago is near enough
        return time.time() - time.process_time()
    boot = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + int(fields[19]) / _TICKS
