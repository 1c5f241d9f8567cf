"""The cluster file: TOML in, components out, and errors that name the place.

The format is on the page "cluster file" of the documentation; relative paths count from the
folder of the file.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from palm.errors import ConfigError
from palm.spec.component import (
    MAX_REPLICAS,
    ROLES,
    SINGLE_ROLES,
    STAGE_ROLES,
    WAYS,
    ComponentSpec,
    Role,
    replica_name,
)
from palm.spec.lines import find_lines
from palm.spec.names import check_labels, check_name, nearest
from palm.spec.placeholder import parse_argument
from palm.spec.process import RESTART_POLICIES, Restart

__all__ = ["ClusterConfig", "check_cluster", "component_flaws", "file_schema", "parse_cluster"]

#: Bytes of a cluster file; one of a thousand components has far less.
MAX_FILE = 1024 * 1024

_READY = re.compile(r"palm|tcp:\d{1,5}|http:https?://\S+|log:.+|delay:\d+(\.\d+)?")
_LATER = ("limits", "spool", "files")
#: What to do about a role that takes no results of other components.
_NO_STAGE = {
    "worker": "it takes messages from its master",
    "process": f"if it is built with palm, give its role: {', '.join(STAGE_ROLES)}",
}
_FROM_CLIENTS = "it takes messages from clients; a hub, a pipeline or a sink takes results"
_CHOICES: dict[str, tuple[str, ...]] = {"role": ROLES, "restart": RESTART_POLICIES}


class ClusterConfig(msgspec.Struct, kw_only=True):
    """What a cluster file says."""

    name: str
    components: dict[str, ComponentSpec] = {}


class _ClusterTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str = "default"


class _ComponentTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Role = "process"
    script: str = ""
    module: str = ""
    entry: str = ""
    command: list[str] = []
    args: list[str] = []
    replicas: int = 1
    needs: list[str] = []
    previous: str | list[str] = []
    pipelined: bool = False
    env: dict[str, str] = {}
    cwd: str = ""
    python: str = ""
    kernel: bool = False
    restart: Restart = "on-failure"
    grace: float = 5.0
    ready_timeout: float = 30.0
    ready: str = ""
    labels: dict[str, str] = {}
    node: str = ""


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cluster: _ClusterTable = msgspec.field(default_factory=_ClusterTable)
    components: dict[str, _ComponentTable] = {}


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of a cluster file, for editors."""
    return msgspec.json.schema(_File)


def parse_cluster(text: str, file: str = "cluster.toml", folder: str = "") -> ClusterConfig:
    """Return what a cluster file says.

    `file` is its name in errors; `folder`, if given, is where its relative paths begin.

    Raises
    ------
    ConfigError
        The first thing that is wrong, with file, line, key and a hint.
    """
    config, errors = check_cluster(text, file, folder)
    if config is None or errors:
        raise errors[0]
    return config


def check_cluster(
    text: str, file: str = "cluster.toml", folder: str = ""
) -> tuple[ClusterConfig | None, list[ConfigError]]:
    """Return what a cluster file says, None if it can't be told, and all that is wrong with it."""
    reader = _Reader(text, file, folder)
    config = reader.read()
    return config, sorted(reader.errors, key=lambda error: error.line or 0)


def component_flaws(
    spec: ComponentSpec, names: Iterable[str]
) -> Iterator[tuple[str, str, str | None]]:
    """Yield field, text and hint for each thing that is wrong with a component.

    `names` are those of all components of its cluster, itself included.
    """
    yield from _name_flaws(spec)
    yield from _way_flaws(spec)
    yield from _number_flaws(spec)
    yield from _text_flaws(spec)
    yield from _node_flaws(spec)
    known = set(names)
    yield from _link_flaws(spec, known)
    for need in spec.needs:
        if need == spec.name or need not in known:
            close = nearest(need, known - {spec.name})
            why = "itself" if need == spec.name else f"{need!r}, which this cluster does not have"
            yield "needs", f"it needs {why}", close and f"did you mean {close!r}?"
    for field in ("argv", "command", "args"):
        for argument in getattr(spec, field):
            try:
                parse_argument(argument, known)
            except ConfigError as error:
                yield field, str(error.args[0]), error.hint


def _name_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    try:
        check_name(spec.name)
        check_name(spec.replica_name(max(0, spec.replicas - 1)))
    except ConfigError as error:
        yield "name", str(error.args[0]), error.hint


def _way_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    ways = [way for way in WAYS if getattr(spec, way)]
    if not ways:
        hint = 'script = "file.py", module = "pkg.mod", entry = "pkg.mod:main" or command = [...]'
        yield "", "it does not say what to start", hint
    elif len(ways) > 1:
        yield ways[1], f"it gives both {ways[0]} and {ways[1]}", "give one of them"
    if spec.entry and not re.fullmatch(r"[\w.]+:[\w.]+", spec.entry):
        yield "entry", f"{spec.entry!r} is not an entry point", 'it is like "pkg.mod:main"'
    if spec.module and not re.fullmatch(r"[\w.]+", spec.module):
        yield "module", f"{spec.module!r} is not a module", 'it is like "pkg.mod"'
    if spec.argv and spec.args:
        yield "args", "argv is a whole command line, and takes no args", None


def _number_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    if not 0 <= spec.replicas <= MAX_REPLICAS:
        yield "replicas", f"{spec.replicas} replicas", f"from 0 to {MAX_REPLICAS}"
    elif spec.role in SINGLE_ROLES and spec.replicas > 1:
        hint = "its addresses can be bound once; start more workers instead"
        yield "replicas", f"a {spec.role} cannot have {spec.replicas} replicas", hint
    for field in ("grace", "ready_timeout"):
        if not 0 <= getattr(spec, field) <= 24 * 3600:
            yield field, "it is not a time from 0 to 86400 seconds", None


def _text_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    if not _READY.fullmatch(spec.ready):
        hint = '"palm", "tcp:PORT", "http:URL", "log:RE" or "delay:SECONDS"'
        yield "ready", f"{spec.ready!r} is no way to be ready", hint
    for field in ("script", "cwd", "python"):
        if "\0" in getattr(spec, field):
            yield field, "a path has no NUL characters", None
    for field in ("argv", "command", "args"):
        if any("\0" in argument for argument in getattr(spec, field)):
            yield field, "an argument has no NUL characters", None
    for name, value in spec.env.items():
        if not name or "=" in name or "\0" in name + value:
            yield "env", f"{name!r} cannot be a variable of the environment", None


def _node_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    try:
        check_labels(spec.labels)
    except ConfigError as error:
        yield "labels", str(error.args[0]), error.hint
    if spec.node:
        try:
            check_name(spec.node)
        except ConfigError as error:
            yield "node", f"{spec.node!r} cannot be the name of a node", error.hint


def _link_flaws(spec: ComponentSpec, known: set[str]) -> Iterator[tuple[str, str, str | None]]:
    if spec.pipelined and spec.role not in SINGLE_ROLES:
        yield "pipelined", f"the results of a {spec.role} go to no other component", None
    if spec.previous and spec.role not in STAGE_ROLES:
        hint = _NO_STAGE.get(spec.role, _FROM_CLIENTS)
        yield "previous", f"a {spec.role} takes no results of other components", hint
        return
    for each in spec.previous:
        name, slash, topic = each.partition("/")
        if name == spec.name:
            yield "previous", "it takes its own results", None
        elif name not in known:
            close = nearest(name, known - {spec.name})
            text = f"it takes the results of {name!r}, which this cluster does not have"
            yield "previous", text, close and f"did you mean {close!r}?"
        if (slash and not topic) or "," in topic or "\0" in topic:
            yield "previous", f"{topic!r} is no topic", "NAME or NAME/TOPIC, without commas"


class _Reader:
    """One reading of a cluster file; ``errors`` holds what is wrong."""

    def __init__(self, text: str, file: str, folder: str) -> None:
        self.errors: list[ConfigError] = []
        self._text = text
        self._file = file
        self._folder = folder
        self._lines: dict[tuple[str, ...], int] = {}
        #: Components of which it says that their results go to the client.
        self._to_client: set[str] = set()

    def read(self) -> ClusterConfig | None:
        document = self._document()
        if document is None:
            return None
        self._lines = find_lines(self._text)
        self._unknown((), document, ("cluster", "components"))
        name = self._cluster_name(document.get("cluster", {}))
        tables = document.get("components", {})
        if not isinstance(tables, dict):
            self._add(("components",), "it is not a table", "write [components.NAME]")
            tables = {}
        specs = {key: self._component(key, table) for key, table in tables.items()}
        components = {key: spec for key, spec in specs.items() if spec is not None}
        self._link(components)
        self._check(components, specs.keys())
        return ClusterConfig(name=name, components=components)

    def _document(self) -> dict[str, Any] | None:
        if len(self._text) > MAX_FILE:
            self._add((), "the file is too large", f"at most {MAX_FILE} characters")
            return None
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            last = self._text.count("\n") + 1
            text = re.sub(r" \(at .*\)$", "", str(error))
            self.errors.append(
                ConfigError(
                    f"this is not TOML: {text}",
                    file=self._file,
                    line=int(line[1]) if line else last,
                )
            )
            return None

    def _cluster_name(self, table: Any) -> str:
        path = ("cluster",)
        if not isinstance(table, dict):
            self._add(path, "it is not a table", "write [cluster]")
            return "default"
        self._unknown(path, table, _ClusterTable.__struct_fields__)
        name = table.get("name", "default")
        try:
            return check_name(name)
        except (ConfigError, TypeError) as error:
            hint = error.hint if isinstance(error, ConfigError) else "it is a text"
            self._add((*path, "name"), f"{name!r} cannot be the name of a cluster", hint)
            return "default"

    def _component(self, name: str, table: Any) -> ComponentSpec | None:
        path = ("components", name)
        if not isinstance(table, dict):
            self._add(path, "it is not a table", f"write [components.{name}]")
            return None
        fields = _ComponentTable.__struct_fields__
        self._unknown(path, table, fields)
        values = {}
        # One by one, so that one error does not hide the next.
        for key in (key for key in table if key in fields):
            try:
                values[key] = getattr(msgspec.convert({key: table[key]}, _ComponentTable), key)
            except msgspec.ValidationError as error:
                self._invalid((*path, key), key, table[key], error)
        return self._spec(name, values)

    def _spec(self, name: str, values: dict[str, Any]) -> ComponentSpec:
        previous = values.get("previous", [])
        values["previous"] = list(
            dict.fromkeys([previous] if isinstance(previous, str) else previous)
        )
        if not values.get("pipelined", True):
            self._to_client.add(name)
        spec = ComponentSpec(name=name, **values)
        if "ready" not in values:
            # Only what is built with palm can say that it is ready.
            spec.ready = "delay:0" if spec.role == "process" else "palm"
        if self._folder:
            spec.cwd = posixpath.normpath(posixpath.join(self._folder, spec.cwd))
            if spec.script:
                spec.script = posixpath.normpath(posixpath.join(self._folder, spec.script))
        return spec

    def _link(self, components: Mapping[str, ComponentSpec]) -> None:
        """Have results go to those who take them; what cannot be linked is told."""
        for name, spec in components.items():
            for each in spec.previous if spec.role in STAGE_ROLES else ():
                source, _, topic = each.partition("/")
                before = components.get(source)
                if before is None or source == name:
                    continue  # `component_flaws` says so
                path = ("components", name, "previous")
                if before.role not in SINGLE_ROLES:
                    hint = "link its master" if before.role == "worker" else None
                    text = f"{source!r} is a {before.role}, whose results go to no other component"
                    self._add(path, text, hint)
                elif topic in ("", source) and source in self._to_client:
                    text = f"{name!r} takes its results, so they do not go to the client"
                    self._add(("components", source, "pipelined"), text, "take it out")
                else:
                    before.pipelined = before.pipelined or topic in ("", source)
                    before.stages = [*before.stages, f"{name}/{topic or source}"]

    def _check(self, components: Mapping[str, ComponentSpec], names: Iterable[str]) -> None:
        known = list(names)
        wrong = [error.key or "" for error in self.errors]  # types and keys, before values
        for name, spec in components.items():
            for field, text, hint in component_flaws(spec, known):
                path = ("components", name, field) if field else ("components", name)
                if not _is_told(".".join(path), wrong, whole=not field):
                    self._add(path, text, hint)
        for name, text in _clashes(components):
            self._add(("components", name), text, "rename one of them")
        self._rings(components, "needs", "they need one another")
        self._rings(components, "previous", "they take one another's results")

    def _rings(self, components: Mapping[str, ComponentSpec], field: str, text: str) -> None:
        graph = {
            name: {each.partition("/")[0] for each in getattr(spec, field)} & components.keys()
            for name, spec in components.items()
        }
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            ring = error.args[1]
            if len(ring) > 2:  # one alone has been told already
                shown = " -> ".join(reversed(ring) if field == "needs" else ring)
                self._add(("components", ring[0], field), f"{text} in a ring: {shown}", None)

    def _unknown(
        self, path: tuple[str, ...], table: Mapping[str, Any], known: Iterable[str]
    ) -> None:
        names = list(known)
        for key in table.keys() - set(names):
            close = nearest(key, names)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(names)}"
            if key in _LATER:
                self._add((*path, key), f"{key} is not supported yet", "take it out")
            else:
                self._add((*path, key), "there is no such key", hint)

    def _invalid(self, path: tuple[str, ...], key: str, value: Any, error: Exception) -> None:
        if key in _CHOICES and isinstance(value, str):
            close = nearest(value, _CHOICES[key])
            hint = f"did you mean {close!r}?" if close else f"one of: {', '.join(_CHOICES[key])}"
            self._add(path, f"there is no {key} {value!r}", hint)
            return
        text = str(error).split(" - at ")[0].replace("`", "")
        self._add(path, text[0].lower() + text[1:], None)

    def _add(self, path: tuple[str, ...], text: str, hint: str | None) -> None:
        place = path
        while place and place not in self._lines:
            place = place[:-1]
        self.errors.append(
            ConfigError(
                text,
                file=self._file,
                line=self._lines.get(place, 1),
                key=".".join(path) or None,
                hint=hint,
            )
        )


def _is_told(key: str, wrong: Iterable[str], *, whole: bool) -> bool:
    # What a component lacks as a whole is most likely what was written wrongly in it.
    return any(told == key or (whole and told.startswith(f"{key}.")) for told in wrong)


def _clashes(components: Mapping[str, ComponentSpec]) -> Iterator[tuple[str, str]]:
    """Yield components of which a process would have the name of another's."""
    seen: dict[str, str] = {}
    for name, spec in components.items():
        for number in range(min(spec.replicas, MAX_REPLICAS)):
            process = replica_name(name, spec.role, number)
            if seen.setdefault(process, name) != name:
                yield name, f"{seen[process]!r} has a replica of the name {process!r} too"
                break
