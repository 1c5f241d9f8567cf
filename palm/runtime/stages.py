"""Which stages were behind a component: after a restart it waits for them, whoever comes first."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from palm.errors import PalmError
from palm.files import privatefile
from palm.runtime.folders import Folders
from palm.runtime.records import read_record
from palm.spec.names import check_name

__all__ = ["expected_stages", "leave_stages", "remember_stages"]

#: Bytes; far more than thousands of stages take.
_MAX_FILE: Final = 2**20

#: Seconds after its end for which a component may be started again and finds those stages, also
#: where they do not run at the moment.
RECENT: Final = 60.0

Stages = list[tuple[str, list[str]]]


def remember_stages(folders: Folders, name: str, stages: Stages) -> None:
    """Keep names and topics of the stages behind component ``name``."""
    privatefile.replace(_path(folders, name), msgspec.json.encode(stages))


def leave_stages(folders: Folders, name: str) -> None:
    """Note that component ``name`` ends now, and may be started again."""
    with contextlib.suppress(OSError):  # there never were any
        os.utime(_path(folders, name))


def expected_stages(folders: Folders, name: str) -> Stages:
    """Return the stages that component ``name`` had, if they run, or if it ended just now."""
    path = _path(folders, name)
    try:
        data = privatefile.read(path, "list of stages", _MAX_FILE)
        stages: Stages = msgspec.json.decode(data, type=Stages)
        age = time.time() - path.stat().st_mtime
    except (PalmError, OSError, *privatefile.UNREADABLE):
        return []
    if age < RECENT:
        return stages
    return [stage for stage in stages if read_record(folders, stage[0]) is not None]


def _path(folders: Folders, name: str) -> Path:
    return folders.stages / f"{check_name(name)}.json"
