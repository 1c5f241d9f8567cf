"""Code that a notebook hands to its workers: kept in private files, named by content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from palm.errors import ConfigError
from palm.runtime.folders import Folders

__all__ = ["CellSource", "pushed_path", "write_pushed", "write_source"]


@dataclass(frozen=True, slots=True)
class CellSource:
    """The source text of a cell, as the target of a worker.

    ``filename`` is shown in tracebacks (``<palm_worker foo>``). ``pushed`` is a cloudpickle of
    ``{name: value}`` that the worker's module gets before the source runs; see `pack`.
    """

    source: str
    filename: str
    pushed: bytes = field(default=b"", repr=False)

    @staticmethod
    def pack(values: Mapping[str, Any]) -> bytes:
        """Pickle pushed values, functions and classes of the notebook included."""
        if not values:
            return b""
        import cloudpickle  # only where something is pushed

        try:
            return bytes(cloudpickle.dumps(dict(values)))
        except Exception as error:
            names = ", ".join(values)
            raise ConfigError(
                f"{names} cannot be pushed: {type(error).__name__}: {error}",
                hint="push what the worker can make it from, and make it in the cell",
            ) from error


def write_source(folders: Folders, cell: CellSource) -> Path:
    """Write the source, unless that content is there already, and return its path."""
    data = cell.source.encode("utf-8")
    path = folders.cells / f"{sha256(data).hexdigest()[:16]}.py"
    if not _holds(path, data):
        _write_private(path, data)
    return path


def write_pushed(folders: Folders, cell: CellSource) -> Path | None:
    """Write the pushed values into a file, or return None without any."""
    if not cell.pushed:
        return None
    path = pushed_path(folders, cell)
    if not _holds(path, cell.pushed):
        _write_private(path, cell.pushed)
    return path


def pushed_path(folders: Folders, cell: CellSource) -> Path:
    """Where the pushed values of a cell are kept, until the component or the cluster ends."""
    return folders.cells / f"{sha256(cell.pushed).hexdigest()[:16]}.push"


def _holds(path: Path, data: bytes) -> bool:
    with suppress(OSError):
        return path.stat().st_size == len(data) and path.read_bytes() == data
    return False


def _write_private(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
