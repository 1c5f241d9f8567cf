"""Cluster files: their versions, what putting one in force does, and how to go back."""

from __future__ import annotations

import asyncio
import posixpath
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict

from palm.errors import ConfigError
from palm.registry_api.schema import (
    Code,
    ConfigApplied,
    ConfigCheck,
    ConfigCompare,
    ConfigDiff,
    ConfigFile,
    ConfigPut,
    ConfigRollback,
    ConfigText,
    ConfigVersion,
    Problem,
)
from palm.spec.cluster import ClusterConfig, check_cluster
from palm.spec.component import ComponentSpec
from palm.spec.diff import ComponentChange, Diff, compare, removal_of, unified
from palm_registry.failures import Conflict, Invalid, NotFound
from palm_registry.service.clusters import revive
from palm_registry.service.code import check_code, with_code
from palm_registry.service.components import check_processes, put_component, remove_component
from palm_registry.service.core import Core, add_event, get_cluster, settle
from palm_registry.store import clusters as rows
from palm_registry.store import configs as config_rows
from palm_registry.store.clusters import ClusterRow, ComponentRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MAX_VERSIONS", "Configs"]

#: Versions that one answer lists at most.
MAX_VERSIONS = 1000
#: Characters of a note, and of the name and folder of a file.
MAX_NOTE = 500
MAX_PATH = 4096


@dataclass
class _Wish:
    """A file that somebody wants in force; ``of`` is the version that it was, if it was one.

    ``expected`` is the version that they have seen in force, ``digest`` how its sha256 begins.
    ``code`` None: that of the version in force.
    """

    file: ConfigFile
    config: ClusterConfig
    expected: int | None = None
    of: int | None = None
    digest: str = ""
    code: dict[str, Code] | None = None


class Configs:
    """Rules for the files of clusters."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def get(self, key: str, version: int | None = None) -> ConfigFile:
        """Return a version of the cluster file, the one in force if none is given."""
        return await self._core.database.read(lambda c: _file(c, get_cluster(c, key), version))

    async def versions(self, key: str, before: int | None, limit: int) -> list[ConfigVersion]:
        """Return the versions below `before`, the latest first."""

        def read(connection: Connection) -> list[ConfigVersion]:
            row = get_cluster(connection, key)
            found = config_rows.all_configs(connection, key, before, min(limit, MAX_VERSIONS))
            for each in found:
                each.in_force = each.version == row.config_version
            return found

        return await self._core.database.read(read)

    async def check(self, key: str, text: ConfigText) -> ConfigCheck:
        """Say what a cluster file would mean, without any effect."""
        await self._core.database.read(lambda c: get_cluster(c, key))
        return await asyncio.to_thread(_check, text)

    async def put(
        self, key: str, request: ConfigPut, by: str = "", digest: str = ""
    ) -> ConfigApplied:
        """Put a cluster file in force, all of it or nothing.

        Components that a notebook declared stay; those of the file before that are in it no more
        go. A text that is in force already is no new version, but what was stopped, or scaled,
        becomes again what it says.
        """
        _check_words(request.note, request.file, request.folder)
        file = ConfigFile(
            version=0, text=request.text, file=request.file, folder=request.folder,
            by=by, note=request.note,
        )  # fmt: skip
        config = await asyncio.to_thread(_parsed, file)
        code = None if isinstance(request.code, msgspec.UnsetType) else request.code
        wish = _Wish(file, config, request.expected_version, digest=digest, code=code)
        return await self._apply(key, wish)

    async def rollback(
        self, key: str, request: ConfigRollback, by: str = "", digest: str = ""
    ) -> ConfigApplied:
        """Put an older version in force again, as a new one; without a number the one before."""
        _check_words(request.note)

        def read(connection: Connection) -> tuple[ConfigFile, int]:
            row = get_cluster(connection, key)
            version = request.version
            if version is None:
                version = row.config_version - 1
                if version < 1:
                    text = f"there is no version before {row.config_version}"
                    raise NotFound("no-config", text, _known(row))
            return _file(connection, row, version), row.config_version

        old, force = await self._core.database.read(read)
        config = await asyncio.to_thread(_parsed, old)
        note = request.note or f"back to version {old.version}"
        file = msgspec.structs.replace(old, by=by, note=note)
        # Which one is "the one before" holds only as long as nobody puts another in force.
        seen = force if request.version is None else None
        expected = seen if request.expected_version is None else request.expected_version
        return await self._apply(
            key, _Wish(file, config, expected, old.version, digest, code=old.code)
        )

    async def diff(self, key: str, request: ConfigCompare) -> ConfigDiff:
        """Say what putting a file in force would do; with ``against``, what it does after that."""
        config = None
        if request.text is not None:
            config = await asyncio.to_thread(_parsed, _given(request))
        return await self._core.database.read(lambda c: _compared(c, key, request, config))

    async def _apply(self, key: str, wish: _Wish) -> ConfigApplied:
        applied = await self._core.database.write(lambda c: _put(c, key, wish))
        self._core.changed(key)
        return applied


def _put(connection: Connection, key: str, wish: _Wish) -> ConfigApplied:
    row = get_cluster(connection, key)
    force = _in_force(connection, row)
    code = _kept(force, wish.file, wish.config) if wish.code is None else wish.code
    with_code(wish.config, code)
    wish.file.code = {name: each for name, each in code.items() if name in wish.config.components}
    same = force is not None and _is_same(force, wish.file)
    if not same:  # else an answer may have been lost, and the request come again
        _check_expected(row, force, wish)
    revive(connection, row)
    if force is None or not same:
        check_code(connection, key, wish.file.code.values())
        force = config_rows.with_digest(wish.file)
        force.version, force.created = row.config_version + 1, time.time()
        config_rows.add_config(connection, key, force)
    diff = _put_components(connection, key, wish.config.components)
    if diff or not same:
        _tell(connection, key, wish, force, diff, changed=not same)
    force.in_force = True
    return ConfigApplied(**asdict(force), changed=not same, diff=diff)


def _put_components(connection: Connection, key: str, wanted: Mapping[str, ComponentSpec]) -> Diff:
    """Want the components of a file; say what that does, as `compare` would have."""
    before = rows.all_components(connection, key)
    _check_names(before, wanted)
    diff = Diff()
    for name, row in before.items():
        if name not in wanted and not row.spec.owner:
            remove_component(connection, key, name)
            diff.removed.append(removal_of(row.spec, running=row.running))
    for name, spec in wanted.items():
        change = put_component(connection, key, spec)
        _sort_in(diff, name, change, known=name in before)
    settle(connection, key, changed=bool(diff))
    return diff


def _sort_in(diff: Diff, name: str, change: ComponentChange | None, *, known: bool) -> None:
    if change is None:
        diff.unchanged.append(name)
    else:
        (diff.changed if known else diff.added).append(change)


def _tell(
    connection: Connection, key: str, wish: _Wish, force: ConfigFile, diff: Diff, *, changed: bool
) -> None:
    said = f"version {force.version} of {force.file} is in force"
    if not changed:
        said += " again"
    elif wish.of is not None:
        said += f", as version {wish.of} was"
    data: dict[str, Any] = {"version": force.version, "effects": diff.effects}
    more = {"by": wish.file.by, "note": wish.file.note, "of": wish.of}
    data |= {name: value for name, value in more.items() if value}
    kind = "config.changed" if changed else "config.applied"
    add_event(connection, key, kind, said, data=data)


def _compared(
    connection: Connection, key: str, request: ConfigCompare, config: ClusterConfig | None
) -> ConfigDiff:
    row = get_cluster(connection, key)
    if config is None:
        file = _file(connection, row, request.version)
        config = _parsed(file)
    else:
        file = _given(request)
        given = request.code
        if isinstance(given, msgspec.UnsetType):
            given = _kept(_in_force(connection, row), file, config)
        with_code(config, given)
    if request.against is None:
        old = _in_force(connection, row)
        before = rows.all_components(connection, key)
        _check_names(before, config.components)
        stopped = {name for name, each in before.items() if not each.running}
        specs = {name: each.spec for name, each in before.items()}
        diff = compare(specs, config.components, stopped)
    else:
        old = _file(connection, row, request.against)
        diff = compare(_parsed(old).components, config.components)
    return ConfigDiff(
        diff=diff, before=old.version if old else 0, after=file.version,
        unified=unified(old.text if old else "", file.text, (_label(old), _label(file))),
    )  # fmt: skip


def _given(request: ConfigCompare) -> ConfigFile:
    _check_words("", request.file, request.folder)
    return ConfigFile(version=0, text=request.text or "", file=request.file, folder=request.folder)


def _label(file: ConfigFile | None) -> str:
    if file is None:
        return "/dev/null"
    return f"{file.file} (version {file.version})" if file.version else file.file


def _file(connection: Connection, row: ClusterRow, version: int | None) -> ConfigFile:
    number = row.config_version if version is None else version
    there = 1 <= number <= row.config_version
    found = config_rows.get_config(connection, row.key, number) if there else None
    if found is None:
        what = "file" if version is None else f"version {version} of its file"
        raise NotFound("no-config", f"the cluster {row.key!r} has no {what}", _known(row))
    found.in_force = found.version == row.config_version
    return found


def _known(row: ClusterRow) -> str:
    if not row.config_version:
        return "PUT one here, or declare components one by one"
    return (
        f"there are versions 1 to {row.config_version}"
        if row.config_version > 1
        else ("there is version 1")
    )


def _in_force(connection: Connection, row: ClusterRow) -> ConfigFile | None:
    return config_rows.get_config(connection, row.key, row.config_version)


def _is_same(one: ConfigFile, other: ConfigFile) -> bool:
    # Relative paths begin at the folder; the name of the file is only for messages.
    codes = ({name: each.files for name, each in f.code.items()} for f in (one, other))
    return (one.text, one.folder) == (other.text, other.folder) and next(codes) == next(codes)


def _kept(force: ConfigFile | None, file: ConfigFile, config: ClusterConfig) -> dict[str, Code]:
    """The code in force, of components that can go on with it: the text alone has changed."""
    if force is None or force.folder != file.folder:
        return {}
    return {
        name: code
        for name, code in force.code.items()
        if (spec := config.components.get(name)) is not None
        and (not spec.script or posixpath.relpath(spec.script, code.folder) in code.files)
    }


def _check_expected(row: ClusterRow, force: ConfigFile | None, wish: _Wish) -> None:
    digest = force.sha256 if force else ""
    if wish.expected is None or (
        wish.expected == row.config_version and digest.startswith(wish.digest)
    ):
        return
    by = force.by if force else ""
    who = f" by {by}" if by else ""
    text = f"version {row.config_version} was put in force{who}, not the one that you expect"
    if wish.expected != row.config_version:
        text += f", {wish.expected}"
    hint = "look at the difference, and put yours on top of it"
    raise Conflict("version", text, hint, version=row.config_version, by=by)


def _check_names(before: Mapping[str, ComponentRow], wanted: Mapping[str, ComponentSpec]) -> None:
    """Refuse a file of which a process would have the name of one of a notebook's."""
    others = [row.spec for name, row in before.items() if row.spec.owner and name not in wanted]
    check_processes(wanted.values(), others)


def _check_words(note: str, *paths: str) -> None:
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Invalid("note", f"a note has at most {MAX_NOTE} printable characters")
    for path in paths:
        if len(path) > MAX_PATH or "\0" in path:
            raise Invalid("file", f"a path has at most {MAX_PATH} characters, and no NUL")


def _parsed(file: ConfigFile) -> ClusterConfig:
    config, errors = check_cluster(file.text, file.file, file.folder)
    if config is not None and not errors:
        return with_code(config, file.code)
    problems = [msgspec.to_builtins(each) for each in _problems(errors)]
    first = errors[0]
    raise Invalid("config", str(first.args[0]), first.hint or "", problems=problems)


def _check(text: ConfigText) -> ConfigCheck:
    config, errors = check_cluster(text.text, text.file, text.folder)
    components = list(config.components.values()) if config and not errors else []
    return ConfigCheck(valid=not errors, problems=_problems(errors), components=components)


def _problems(errors: Iterable[ConfigError]) -> list[Problem]:
    return [
        Problem(
            text=str(error.args[0]),
            file=error.file,
            line=error.line,
            key=error.key,
            hint=error.hint,
        )
        for error in errors
    ]
