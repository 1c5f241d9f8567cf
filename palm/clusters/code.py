"""The files of components on their way to the registry: found, told by content, and handed in."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from palm.clusters.declaration import Declaration
from palm.clusters.source import CellSource
from palm.errors import ConfigError
from palm.registry_api.client import Refused, RegistryClient
from palm.registry_api.schema import CodePiece
from palm.runner.code import place_of
from palm.spec.cluster import ClusterConfig
from palm.spec.code import MAX_FILE, MAX_FILES, MAX_TOTAL
from palm.spec.component import Code, CodeFile, ComponentSpec
from palm.spec.size import format_size

__all__ = ["code_of", "code_of_target", "read_code", "sending_code"]

T = TypeVar("T")

#: Bytes that one request hands in.
_PART = 8 * 1024 * 1024
_SKIPPED = "__pycache__"


def read_code(config: ClusterConfig, folder: str) -> dict[str, Code]:
    """Return the files of each component that has some, as they are now.

    Raises
    ------
    ConfigError
        A pattern fits nothing, or there is too much of it.
    """
    found = {}
    for name, spec in config.components.items():
        if paths := _paths(spec, folder):
            found[name] = code_of(paths, folder, name)
    return found


def code_of(paths: list[Path], folder: str, name: str) -> Code:
    """Return what is in some files, of the component `name`."""
    base = posixpath.commonpath([folder, *(str(path.parent) for path in paths)])
    if len(paths) > MAX_FILES:
        raise _too_much(name, f"{len(paths)} files", f"{MAX_FILES} files")
    files = {}
    for path in paths:
        files[posixpath.relpath(path, base)] = _read(path, name)
    if (total := sum(file.size for file in files.values())) > MAX_TOTAL:
        raise _too_much(name, f"files of {format_size(total)}", format_size(MAX_TOTAL))
    return Code(folder=base, files=files, place=place_of(base))


def code_of_target(declared: Declaration, spec: ComponentSpec, cells: Path) -> Code | None:
    """Return the file that a component of a notebook or a program runs, None if that is a module.

    What is pushed stays here: it may be secret, and the registry keeps what it is handed.
    """
    if isinstance(declared.target, CellSource):
        path = next(Path(each) for each in spec.argv if each.startswith(f"{cells}/"))
        return code_of([path], str(cells), spec.name)
    path = Path(spec.cwd, (declared.target or "").partition(":")[0])
    if path.suffix != ".py" or not path.is_file():
        return None
    return code_of([path], spec.cwd, spec.name)


def _paths(spec: ComponentSpec, folder: str) -> list[Path]:
    found = dict.fromkeys(path for each in spec.files for path in _matches(spec, folder, each))
    script = Path(spec.script)
    # One that is not here may be on the node; else the node says so.
    if spec.script and script.is_file():
        found[script] = None
    return sorted(found)


def _matches(spec: ComponentSpec, folder: str, pattern: str) -> list[Path]:
    """Return the files that a pattern names; a folder stands for all that is below it."""
    try:
        named = list(Path(folder).glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"{spec.name}: {pattern!r} is no pattern: {error}", key="files"
        ) from error
    found = list(_files_of(named))
    if not found:
        hint = f"paths and patterns begin at {folder}"
        raise ConfigError(f"{spec.name}: {pattern!r} fits no file", key="files", hint=hint)
    return found


def _files_of(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        for each in path.rglob("*") if path.is_dir() else (path,):
            if each.is_file() and _SKIPPED not in each.parts:
                yield each


def _read(path: Path, name: str) -> CodeFile:
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise _too_much(
                name, f"{path} with {format_size(size)}", f"{format_size(MAX_FILE)} a file"
            )
        data = path.read_bytes()
        return CodeFile(
            sha256=sha256(data).hexdigest(), size=len(data), executable=os.access(path, os.X_OK)
        )
    except OSError as error:
        raise ConfigError(
            f"{name}: {path} cannot be read: {error.strerror}", key="files"
        ) from error


def _too_much(name: str, has: str, limit: str) -> ConfigError:
    hint = f"at most {limit}; data is better read from where all nodes reach it"
    return ConfigError(f"{name} has {has}", key="files", hint=hint)


def sending_code(
    registry: RegistryClient, cluster: str, codes: Mapping[str, Code], call: Callable[[], T]
) -> T:
    """Return what a call returns; hand in what it turns out that the registry lacks for it."""
    try:
        return call()
    except Refused as error:
        if error.code != "code-missing":
            raise
        missing = set(error.data["missing"])
    for pieces in _parts(codes, missing):
        registry.send_code(cluster, pieces)
    return call()


def _parts(codes: Mapping[str, Code], missing: set[str]) -> Iterator[list[CodePiece]]:
    part: list[CodePiece] = []
    for code in codes.values():
        for path, file in code.files.items():
            if file.sha256 not in missing:
                continue
            missing.discard(file.sha256)
            if part and sum(len(each.data) for each in part) + file.size > _PART:
                yield part
                part = []
            part.append(_piece(Path(code.folder, path), file))
    if part:
        yield part


def _piece(path: Path, file: CodeFile) -> CodePiece:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", key="files") from error
    if sha256(data).hexdigest() != file.sha256:
        raise ConfigError(f"{path} was changed meanwhile", key="files", hint="do it again")
    return CodePiece(sha256=file.sha256, data=data)
