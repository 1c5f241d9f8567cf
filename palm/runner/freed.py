"""What of a spool is freed: where the bytes of each stream begin, and what was dropped unsent.

It is written before anything is freed, so that nobody takes a hole for output. The disk may be
full then: the record has its room from the start, and is overwritten in place.
"""

from __future__ import annotations

import os
from binascii import crc32
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Freed", "first_data", "read_freed", "write_freed"]

#: Bytes of the record, always.
_SIZE = 1024
#: Readings of a record that somebody may be overwriting.
_TRIES = 20


class Freed(msgspec.Struct, kw_only=True, frozen=True):
    """Of one stream: bytes below ``begin`` are not in the spool any more.

    Those from ``lost_from`` on had not been stored by a registry then: dropped ``since`` a time,
    for a ``reason``; "" if none were.
    """

    begin: int = 0
    lost_from: int = 0
    reason: str = ""
    since: float = 0.0


def read_freed(path: Path) -> dict[str, Freed] | None:
    """Return what is freed by stream; {} if nothing ever was, None if the record is damaged."""
    for _ in range(_TRIES):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return {}
        text = data[9:]
        if data[:8] == _check(text):
            return msgspec.json.decode(text, type=dict[str, Freed])
    return None


def write_freed(path: Path, freed: Mapping[Any, Freed]) -> None:
    """Keep what is freed.

    Raises
    ------
    OSError
        There never was such a record, and there is no room for one.
    """
    text = msgspec.json.encode(freed).ljust(_SIZE - 9)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.pwrite(fd, _check(text) + b" " + text, 0)
    finally:
        os.close(fd)


def first_data(path: Path) -> int:
    """Return where the bytes of a file begin, as its file system has it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError:  # it is empty, a hole as a whole, or nobody knows
        return os.fstat(fd).st_size if os.fstat(fd).st_blocks == 0 else 0
    finally:
        os.close(fd)


def _check(text: bytes) -> bytes:
    return b"%08x" % crc32(text)
