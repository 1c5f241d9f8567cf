"""The code of a component: which files it needs, by content, so that it can run on any node. Pure.

A `Code` says where files were and what was in them; the bytes themselves are kept by the registry,
each once, by its SHA-256.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from palm.spec.component import Code, ComponentSpec

__all__ = [
    "MAX_FILE",
    "MAX_FILES",
    "MAX_TOTAL",
    "FileChange",
    "code_flaws",
    "file_changes",
    "files_flaw",
    "identity_of",
    "is_digest",
    "relocated",
]

#: Bytes of one file, and of all files of a component; and how many files it may have.
MAX_FILE = 8 * 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
MAX_FILES = 2000
MAX_PATH = 1024

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PALM = ["-m", "palm"]


class FileChange(NamedTuple):
    """What became of a file, by its path: "changed", "added" or "removed"."""

    path: str
    what: str


def is_digest(text: str) -> bool:
    """Whether a text can be a SHA-256, as it is written here."""
    return _DIGEST.fullmatch(text) is not None


def identity_of(code: Code) -> bytes:
    """Return what makes two codes the same, wherever they came from: to be hashed."""
    files = [(path, file.sha256, file.executable) for path, file in sorted(code.files.items())]
    return msgspec.json.encode(files)


def file_changes(before: Code | None, after: Code | None) -> list[FileChange]:
    """Return which files are different, by path."""
    old = before.files if before else {}
    new = after.files if after else {}
    return [
        FileChange(path, "added" if path not in old else "changed" if path in new else "removed")
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def code_flaws(code: Code | None) -> Iterator[tuple[str, str, str | None]]:
    """Yield field, text and hint for each thing that is wrong with a code, as others send it."""
    if code is None:
        return
    if not posixpath.isabs(code.folder) or "\0" in code.folder:
        yield "code", "the folder of its files is no absolute path", None
    if len(code.files) > MAX_FILES:
        yield "code", f"{len(code.files)} files", f"at most {MAX_FILES}"
    if (total := sum(file.size for file in code.files.values())) > MAX_TOTAL:
        yield "code", f"its files have {total} bytes", f"at most {MAX_TOTAL}"
    for path, file in code.files.items():
        if flaw := _path_flaw(path):
            yield "code", f"{path[:100]!r} cannot be one of its files: {flaw}", None
        elif not is_digest(file.sha256):
            yield "code", f"{path[:100]!r} has no SHA-256", None
        elif not 0 <= file.size <= MAX_FILE:
            yield "code", f"{path[:100]!r} has {file.size} bytes", f"at most {MAX_FILE}"
    yield from _clashes(code.files)


def _path_flaw(path: str) -> str:
    if not path or len(path) > MAX_PATH or "\0" in path or "\\" in path:
        return "no path"
    if posixpath.isabs(path) or posixpath.normpath(path) != path or path.split("/")[0] == "..":
        return "it is not below their folder"
    return "" if path != "." else "a folder"


def _clashes(paths: Iterable[str]) -> Iterator[tuple[str, str, str | None]]:
    known = set(paths)
    for path in known:
        parent = posixpath.dirname(path)
        while parent.strip("/"):
            if parent in known:
                yield "code", f"{parent[:100]!r} is both a file and a folder", None
                return
            parent = posixpath.dirname(parent)


def files_flaw(pattern: str) -> str:
    """Return what is wrong with an element of ``files`` in a cluster file, "" if nothing is."""
    if not pattern or "\0" in pattern:
        return "it names no file"
    if posixpath.isabs(pattern) or ".." in pattern.split("/"):
        return f"{pattern!r} is not below the folder of the cluster file"
    return ""


def relocated(spec: ComponentSpec, folder: str, python: str) -> ComponentSpec:
    """Return a component as it runs from `folder`, where its files are laid down.

    Paths that lead below the folder where they came from lead below this one: the script, the
    working folder, and arguments that are one of the files. A command line that runs palm is run
    by `python`, that of the node.
    """
    code = spec.code
    if code is None:
        return spec
    moves = {posixpath.join(code.folder, path): posixpath.join(folder, path) for path in code.files}
    argv = [_moved(argument, moves) for argument in spec.argv]
    if argv[1:3] == _PALM:
        argv[0] = python
    return replace(
        spec,
        argv=argv,
        args=[_moved(argument, moves) for argument in spec.args],
        command=[_moved(argument, moves) for argument in spec.command],
        script=moves.get(spec.script, spec.script),
        cwd=_below(spec.cwd, code.folder, folder),
    )


def _moved(argument: str, moves: Mapping[str, str]) -> str:
    if argument in moves:
        return moves[argument]
    path, colon, name = argument.rpartition(":")  # file.py:Class
    return moves[path] + colon + name if colon and path in moves else argument


def _below(cwd: str, old: str, new: str) -> str:
    """Return where a working folder is by now; one that is elsewhere is that of the files."""
    if not cwd:
        return new
    inside = posixpath.relpath(cwd, old)
    return new if inside == "." or inside.split("/")[0] == ".." else posixpath.join(new, inside)
