"""What the machine has room for, and what kind of a machine it is."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient
from palm.spec.size import readable_size

__all__ = ["check_descriptors", "check_disk", "check_memory", "check_processes"]

#: Open files that a component with some hundreds of peers needs.
_FILES: Final = 4096
_LITTLE_DISK: Final = 1 << 30
_NO_DISK: Final = 64 << 20
_LITTLE_SHARED: Final = 64 << 20
_LITTLE_MEMORY: Final = 256 << 20
#: Processes without anybody to wait for them that are too many.
_ZOMBIES = 10


def check_descriptors(patient: Patient) -> Iterator[Finding]:
    """How many files and sockets may a process have open?"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    found = f"{soft:,}, and palm raises that to {most}"
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        advice = f"raise the hard limit to {_FILES} or more: /etc/security/limits.conf, LimitNOFILE"
        yield warning(found, advice)
    else:
        yield ok(found)


def check_disk(patient: Patient) -> Iterator[Finding]:
    """Is there room for output, journals, and shared memory?"""
    place = _existing(patient.folders.state)
    free = shutil.disk_usage(place).free
    found = f"{readable_size(free)} free for {patient.folders.state}"
    advice = "palm gc; keep less output: palm registry --retain-size; or set PALM_STATE_DIR"
    if free < _NO_DISK:
        yield problem(found, advice)
    elif free < _LITTLE_DISK:
        yield warning(found, advice)
    else:
        yield ok(found)
    shared = Path("/dev/shm")  # noqa: S108 - its size, not a file in it
    if shared.is_dir() and (left := shutil.disk_usage(shared).free) < _LITTLE_SHARED:
        advice = "in a container: start it with --shm-size=1g; numpy and torch may need it"
        yield warning(f"{readable_size(left)} free in {shared}", advice)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def check_memory(patient: Patient) -> Iterator[Finding]:
    """Is there memory left, for the machine and for the group of processes we are in?"""
    left = psutil.virtual_memory().available
    limit, used = _group_memory()
    if limit is not None and used is not None:
        left = min(left, limit - used)
    found = f"{readable_size(max(0, left))} to be had"
    if limit is not None:
        found += f", with a limit of {readable_size(limit)} for this container or service"
    if left < _LITTLE_MEMORY:
        yield warning(found, "end what is not needed (see palm top), or raise the limit")
    else:
        yield ok(found)


def _group_memory() -> tuple[int | None, int | None]:
    """The limit of our control group, and what it uses; None where there is none."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = (_number(Path("/sys/fs/cgroup") / name) for name in (limit, used))
        if most is not None and most < 1 << 50:  # version 1 has a huge number for none
            return most, now
    return None, None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text("ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def check_processes(patient: Patient) -> Iterator[Finding]:
    """Can processes be told apart, and does anybody wait for those that end?"""
    if Path("/proc").is_dir() and not Path("/proc/self/stat").exists():
        yield problem("/proc shows no processes", "mount it: mount -t proc proc /proc")
        return
    zombies = [
        process.pid
        for process in psutil.process_iter()
        if _is_left_to_first(process)
    ]  # fmt: skip
    first = _name_of(1)
    where = ["in a container"] if _in_container() else []
    where += ["SELinux enforces"] if _number(Path("/sys/fs/selinux/enforce")) == 1 else []
    shown = "; ".join([f"process 1 is {first}" if first else "process 1 is hidden", *where])
    if len(zombies) >= _ZOMBIES:
        yield warning(
            f"{shown}, and does not wait for {len(zombies)} processes that have ended",
            "start the container with an init: docker run --init",
        )
    else:
        yield ok(shown)


def _is_left_to_first(process: psutil.Process) -> bool:
    try:
        return process.ppid() == 1 and process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:  # gone by now, or hidden
        return False


def _name_of(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return ""


def _in_container() -> bool:
    marks = ("/.dockerenv", "/run/.containerenv")
    return any(os.path.exists(mark) for mark in marks) or "container" in os.environ
