"""Folders and files: whose they are, who else may read them, where they lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient
from palm.errors import ConfigError
from palm.runtime.folders import check_folder
from palm.spec.endpoint import MAX_IPC_PATH

__all__ = ["check_modes", "check_run", "check_socket_paths", "check_state", "filesystem_of"]

#: File systems that other machines serve.
_NETWORK: Final = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "smb3", "smbfs", "fuse.glusterfs", "fuse.s3fs",
}  # fmt: skip
#: Files that are looked at, at most.
_MOST = 20_000
#: Bytes of a socket's file name, the slash before it included.
_SOCKET = 13


def check_run(patient: Patient) -> Iterator[Finding]:
    """Is the run folder ours alone, and on a disk that can hold sockets?"""
    yield from _check_place(patient.folders.run, "PALM_RUN_DIR")


def check_state(patient: Patient) -> Iterator[Finding]:
    """Is the state folder ours alone, and on a disk that can hold a database?"""
    yield from _check_place(patient.folders.state, "PALM_STATE_DIR")


def _check_place(path: Path, variable: str) -> Iterator[Finding]:
    if not path.exists():
        yield ok(f"{path} is not there yet; the first start makes it")
        return
    try:
        check_folder(path, variable)
    except ConfigError as error:
        yield problem(str(error.args[0]), _without_run(error.hint) or f"set {variable}")
        return
    if not os.access(path, os.W_OK):
        yield problem(f"{path} cannot be written to", f"chmod u+w {path}, or set {variable}")
        return
    kind = filesystem_of(path)
    what = "sockets" if variable == "PALM_RUN_DIR" else "a database and locks"
    if kind in _NETWORK:
        yield problem(
            f"{path} is on a disk of another machine ({kind}), where {what} are not safe",
            f"set {variable} to a folder on a disk of this machine",
        )
    else:
        yield ok(f"{path}, mode 0700" + (f", {kind}" if kind else ""))


def _without_run(hint: str | None) -> str:
    return (hint or "").removeprefix("run: ")


def filesystem_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a path is on, "" if the system does not say."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    real, best, kind = path.resolve(), -1, ""
    for line in lines:
        _, place, found, *_ = line.split(" ")
        folder = Path(place.replace("\\040", " "))
        # The last mount of a place hides those before it.
        if (real == folder or folder in real.parents) and len(folder.parts) >= best:
            best, kind = len(folder.parts), found
    return kind


def check_modes(patient: Patient) -> Iterator[Finding]:
    """Is any file open to others, or somebody else's?"""
    folders = patient.folders
    roots = [folder for folder in (folders.run, folders.state) if folder.is_dir()]
    entries = list(islice(dict.fromkeys(p for root in roots for p in _below(root)), _MOST))
    flaws = [flaw for path in entries if (flaw := _flaw(path))]
    for found, advice in flaws[:10]:
        yield problem(found, advice)
    if len(flaws) > 10:
        roots_named = " ".join(map(str, roots))
        yield problem(f"{len(flaws) - 10} more like that", f"chmod -R go= {roots_named}")
    if not flaws:
        more = "; there are more, which were not looked at" if len(entries) == _MOST else ""
        yield ok(f"{len(entries)} files and folders, all yours alone{more}")


def _below(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        for name in sorted([*names, *files]):
            yield Path(folder, name)


def _flaw(path: Path) -> tuple[str, str] | None:
    try:
        found = path.lstat()
    except OSError:  # gone by now
        return None
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return None  # sockets and links say nothing by their modes
    if found.st_uid != os.geteuid():
        text = f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()})"
        return text, "move it away, or have it given to you"
    mode = found.st_mode & 0o777
    if mode & 0o077:
        right = "700" if stat.S_ISDIR(found.st_mode) else "600"
        return f"{path} is open to other users (mode {mode:03o})", f"chmod {right} {path}"
    return None


def check_socket_paths(patient: Patient) -> Iterator[Finding]:
    """Is the path of every socket short enough?"""
    size = len(os.fsencode(patient.cluster_run / "sockets")) + _SOCKET
    left = MAX_IPC_PATH - size
    found = f"{size} of {MAX_IPC_PATH} bytes"
    if left < 0:
        yield problem(found, "set PALM_RUN_DIR to a folder with a shorter path")
    elif left < 8:
        yield warning(
            f"{found}: a longer name of a cluster has no room",
            "set PALM_RUN_DIR to a folder with a shorter path",
        )
    else:
        yield ok(found)
