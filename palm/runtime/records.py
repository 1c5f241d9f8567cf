"""Records of running components: who they are and where they can be reached.

A record is a small JSON file, ``<components>/<name>.json``. It is replaced whole by a rename, so
a reader sees the old one or the new one, never a part. Writing and pruning happen under one
lock: a file is removed only while nobody can be putting a fresh one in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from palm.errors import PalmError
from palm.files import privatefile
from palm.runtime.folders import Folders
from palm.spec.names import check_name

__all__ = [
    "ComponentRecord",
    "is_running",
    "last_record",
    "live_records",
    "process_environment",
    "process_folder",
    "process_identity",
    "process_start_time",
    "prune_records",
    "publish_record",
    "read_record",
    "remove_record",
    "sort_records",
]

#: Bytes; far more than a record of thousands of functions has.
_MAX_RECORD = 4 * 2**20

#: Seconds by which two readings of one start time may differ: the kernel gives the time of the
#: boot in whole seconds and moves it when the clock is slewed.
_START_TOLERANCE = 2.0


class ComponentRecord(msgspec.Struct, kw_only=True):
    """What a component says about itself.

    `start_time` is the process's, in seconds since the epoch; `started` when the component was
    ready, ISO 8601 in UTC; `master` the name of a worker's master. `identity` tells the process
    from every other one with its pid, and is filled in by `publish_record`.
    """

    schema: int = 1
    name: str
    role: str
    instance: str
    pid: int
    start_time: float
    epoch: str = ""
    endpoints: dict[str, str] = {}
    public_key: str = ""
    functions: list[str] = []
    version: str = ""
    started: str = ""
    master: str = ""
    identity: str = ""


def publish_record(folders: Folders, record: ComponentRecord) -> Path:
    """Write `record`, in the place of any other of its name, and return its path."""
    path = _path(folders, record.name)
    if not record.identity:
        record = msgspec.structs.replace(record, identity=process_identity(record.pid))
    with _lock(path.parent):
        privatefile.replace(path, msgspec.json.encode(record))
    return path


def remove_record(folders: Folders, name: str, instance: str) -> bool:
    """Remove the record of `name`, if it is still that of `instance`; say whether it was."""
    path = _path(folders, name)
    with _lock(path.parent):
        record = _load(path)
        if record is None or record.instance != instance:
            return False
        path.unlink(missing_ok=True)
        return True


def read_record(folders: Folders, name: str) -> ComponentRecord | None:
    """Return the record of `name`, or None if there is none or its process is gone."""
    record = _load(_path(folders, name))
    return record if record is not None and _is_alive(record) else None


def last_record(folders: Folders, name: str) -> ComponentRecord | None:
    """Return the record of `name`, also that of a process which died without removing it."""
    return _load(_path(folders, name))


def live_records(folders: Folders) -> list[ComponentRecord]:
    """Return the records of all running components by name, and remove those of dead ones."""
    components = folders.components
    alive, dead = sort_records(components)
    if dead:
        prune_records(components, dead)
    return alive


def sort_records(components: Path) -> tuple[list[ComponentRecord], list[Path]]:
    """Return the records of running components by name, and the files that dead ones left."""
    alive, dead = [], []
    for entry in sorted(os.listdir(components)):
        if entry.endswith(".tmp"):
            dead.append(components / entry)
        elif entry.endswith(".json"):
            record = _load(components / entry)
            if record is not None and _is_alive(record):
                alive.append(record)
            else:
                dead.append(components / entry)
    return alive, dead


def prune_records(components: Path, paths: Iterable[Path]) -> None:
    """Remove files that dead components left, unless somebody uses the name by now."""
    with _lock(components):
        for path in paths:
            # Looked at again, now that nobody can be writing: by now the name may be in use
            # again. A .tmp file has no writer while we hold the lock, so its writer is dead.
            record = None if path.suffix == ".tmp" else _load(path)
            if record is None or not _is_alive(record):
                path.unlink(missing_ok=True)


def is_running(pid: int, start_time: float, identity: str = "") -> bool:
    """Say whether the process `pid` that started at `start_time` still runs.

    A later process with the same pid is not it, and a zombie does not run. With `identity` (of
    `process_identity`) the answer holds also when the clock has been set in between.
    """
    if not _exists(pid):
        return False
    if identity and (found := process_identity(pid)):
        return found == identity
    started = process_start_time(pid)
    return started is not None and abs(started - start_time) <= _START_TOLERANCE


def process_start_time(pid: int) -> float | None:
    """Return when process `pid` started, in seconds since the epoch; None if it is gone."""
    if not _HAS_PROC:
        return _foreign_start_time(pid)
    found = _proc_stat(pid)
    return _boot_time() + found[1] / os.sysconf("SC_CLK_TCK") if found else None


def process_identity(pid: int) -> str:
    """Return what no other process on this machine ever has; "" where the system can't tell.

    The time since the boot, unlike that since the epoch, stays when the clock is set.
    """
    found = _proc_stat(pid) if _HAS_PROC else None
    if found is None:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{found[1]}"


def process_environment(pid: int) -> dict[str, str]:
    """Return what process `pid` of ours had for an environment when it started; empty if gone."""
    import psutil  # slow to load, and few ask

    try:
        return dict(psutil.Process(pid).environ())
    except psutil.Error:
        return {}


_HAS_PROC = os.path.exists("/proc/self/stat")


def process_folder(pid: int) -> str:
    """Return the folder that process `pid` of ours is in; "" if that cannot be told."""
    import psutil  # slow to load, and few ask

    try:
        return str(psutil.Process(pid).cwd())
    except psutil.Error:
        return ""


def _is_alive(record: ComponentRecord) -> bool:
    return is_running(record.pid, record.start_time, record.identity)


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    if not _HAS_PROC:
        return _foreign_start_time(pid) is not None
    found = _proc_stat(pid)
    return found is not None and found[0] not in "ZXx"


def _proc_stat(pid: int) -> tuple[str, int] | None:
    """Return state and start (clock ticks since the boot) of a process, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2 is the program's name in parentheses and may hold anything, parentheses included.
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode("ascii"), int(fields[19])


def _boot_time() -> float:
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return time.time() - time.monotonic()


def _foreign_start_time(pid: int) -> float | None:
    import psutil  # only where there is no /proc; slow to load

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _path(folders: Folders, name: str) -> Path:
    return folders.components / f"{check_name(name)}.json"


def _lock(components: Path) -> AbstractContextManager[None]:
    return privatefile.locked(components / ".records.lock")


def _load(path: Path) -> ComponentRecord | None:
    """Read a record; None for what is not there, not ours, or not a whole record."""
    try:
        data = privatefile.read(path, "record", _MAX_RECORD)
        record = msgspec.json.decode(data, type=ComponentRecord)
    except (PalmError, *privatefile.UNREADABLE):
        return None
    return record if record.name == path.stem else None
