"""The cluster file: TOML in, components out, and errors that name the place.

The format is on the page "cluster file" of the documentation; relative paths count from the
folder of the file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from palm.errors import ConfigError
from palm.spec.autoscale import Range
from palm.spec.code import code_flaws, files_flaw
from palm.spec.component import (
    MAX_REPLICAS,
    ROLES,
    SINGLE_ROLES,
    STAGE_ROLES,
    WAYS,
    ComponentSpec,
    replica_name,
)
from palm.spec.document import read_document
from palm.spec.filetables import (
    ClusterTable,
    ComponentTable,
    LimitsTable,
    example_of,
    file_schema,
)
from palm.spec.limits import Limits, limits_flaw, parse_limit
from palm.spec.lines import Path, find_lines
from palm.spec.names import check_labels, check_name, nearest
from palm.spec.placeholder import parse_argument
from palm.spec.process import RESTART_POLICIES
from palm.spec.rollout import ROLLOUTS
from palm.spec.spool import MIN_QUOTA, read_spool, spool_flaws

__all__ = ["ClusterConfig", "check_cluster", "component_flaws", "file_schema", "parse_cluster"]

_READY_KINDS = ("palm", "tcp", "http", "log", "delay")
#: Names that a hint lists at most.
_SHOWN = 10
_READY = re.compile(r"palm|tcp:\d{1,5}|http:https?://\S+|log:.+|delay:\d+(\.\d+)?")
#: What to do about a role that takes no results of other components.
_NO_STAGE = {
    "worker": "it takes messages from its master",
    "process": f"if it is built with palm, give its role: {', '.join(STAGE_ROLES)}",
}
_FROM_CLIENTS = "it takes messages from clients; a hub, a pipeline or a sink takes results"
_CHOICES: dict[str, tuple[str, ...]] = {
    "role": ROLES,
    "restart": RESTART_POLICIES,
    "rollout": ROLLOUTS,
}
#: Keys whose values are lists or tables of texts.
_ELEMENTS = ("command", "args", "needs", "previous", "env", "labels", "files")
#: Types of values, as people call them.
_TYPES = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "array": "a list", "list": "a list", "object": "a table", "dict": "a table",
}  # fmt: skip


class ClusterConfig(msgspec.Struct, kw_only=True):
    """What a cluster file says."""

    name: str
    components: dict[str, ComponentSpec] = {}


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
    return config, sorted(reader.errors, key=lambda error: (error.line or 0, error.key or ""))


def component_flaws(
    spec: ComponentSpec, names: Iterable[str]
) -> Iterator[tuple[str, str, str | None]]:
    """Yield field, text and hint for each thing that is wrong with a component.

    The field is as in ``args.2`` for an element of a list, and in ``env.NAME`` for a variable.
    `names` are those of all components of its cluster, itself included.
    """
    yield from _name_flaws(spec)
    yield from _way_flaws(spec)
    yield from _number_flaws(spec)
    yield from _text_flaws(spec)
    yield from _node_flaws(spec)
    yield from code_flaws(spec.code)
    for number, pattern in enumerate(spec.files):
        if flaw := files_flaw(pattern):
            yield f"files.{number}", flaw, "paths begin at the folder of the cluster file"
    for name in Limits.__struct_fields__:
        if flaw := limits_flaw(name, getattr(spec.limits, name)):
            yield f"limits.{name}", flaw, None
    known = names if isinstance(names, Set) else frozenset(names)
    yield from _link_flaws(spec, known)
    for number, need in enumerate(spec.needs):
        if need == spec.name or need not in known:
            why = "itself" if need == spec.name else f"{need!r}, which this cluster does not have"
            yield f"needs.{number}", f"it needs {why}", _meant(need, known - {spec.name})
    for field in ("argv", "command", "args"):
        for number, argument in enumerate(getattr(spec, field)):
            try:
                parse_argument(argument, known)
            except ConfigError as error:
                yield f"{field}.{number}", str(error.args[0]), error.hint


def _meant(name: str, known: Iterable[str]) -> str | None:
    """Return a hint at the names that there are instead of one that is not there."""
    names = sorted(known)
    if close := nearest(name, names):
        return f"did you mean {close!r}?"
    if not names:
        return "there is no other component"
    return f"there are: {', '.join(names[:_SHOWN])}" + (", ..." if len(names) > _SHOWN else "")


def _name_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    try:
        check_name(spec.name)
        check_name(spec.replica_name(max(0, spec.most - 1)))
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
    if spec.kernel and (spec.entry or spec.command or spec.module not in ("", "palm")):
        yield "kernel", "it cannot run as a kernel", 'a script can, and module = "palm"'
    if spec.argv and spec.args:
        yield "args", "argv is a whole command line, and takes no args", None


def _number_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    if not 0 <= spec.replicas <= MAX_REPLICAS:
        yield "replicas", f"{spec.replicas} replicas", f"from 0 to {MAX_REPLICAS}"
    elif spec.role in SINGLE_ROLES and spec.replicas > 1:
        hint = "its addresses can be bound once; start more workers instead"
        yield "replicas", f"a {spec.role} cannot have {spec.replicas} replicas", hint
    if spec.scales is not None:
        yield from (("replicas", *flaw) for flaw in spec.scales.flaws(MAX_REPLICAS))
        if spec.role != "worker":
            hint = "give a number; only of workers is known how much waits for them"
            yield "replicas", f"a {spec.role} cannot scale itself", hint
    for field in ("grace", "ready_timeout"):
        if not 0 <= getattr(spec, field) <= 24 * 3600:
            yield field, "it is not a time from 0 to 86400 seconds", None
    if spec.spool_quota is not None and not MIN_QUOTA <= spec.spool_quota < 2**62:
        yield "spool_quota", f"{spec.spool_quota} is no quota", f"at least {MIN_QUOTA} bytes"


def _ready_flaw(rule: str) -> str | None:
    """Return why a rule cannot be one, None if it can."""
    kind, _, value = rule.partition(":")
    if not _READY.fullmatch(rule):
        close = nearest(kind, _READY_KINDS)
        return f"; did you mean {close!r}?" if close and close != kind else ""
    if kind == "tcp" and not 0 < int(value) < 65536:
        return f": {value} is not a port"
    try:
        re.compile(value if kind == "log" else "")
    except (re.error, OverflowError, RecursionError) as error:
        return f": {error}"
    return None


def _text_flaws(spec: ComponentSpec) -> Iterator[tuple[str, str, str | None]]:
    why = _ready_flaw(spec.ready)
    if why is not None:
        hint = '"palm", "tcp:PORT", "http:URL", "log:RE" or "delay:SECONDS"'
        yield "ready", f"{spec.ready!r} is no way to be ready{why}", hint
    for field in ("script", "cwd", "python"):
        if "\0" in getattr(spec, field):
            yield field, "a path has no NUL characters", None
    for field in ("argv", "command", "args"):
        for number, argument in enumerate(getattr(spec, field)):
            if "\0" in argument:
                yield f"{field}.{number}", "an argument has no NUL characters", None
    for name, value in spec.env.items():
        if not name or "=" in name or "\0" in name + value:
            text = f"{name!r} cannot be a variable of the environment"
            yield f"env.{name}", text, "a name has no '=', and a value no NUL characters"


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


def _link_flaws(spec: ComponentSpec, known: Set[str]) -> Iterator[tuple[str, str, str | None]]:
    if spec.pipelined and spec.role not in SINGLE_ROLES:
        yield "pipelined", f"the results of a {spec.role} go to no other component", None
    if spec.previous and spec.role not in STAGE_ROLES:
        hint = _NO_STAGE.get(spec.role, _FROM_CLIENTS)
        yield "previous", f"a {spec.role} takes no results of other components", hint
        return
    for number, each in enumerate(spec.previous):
        name, slash, topic = each.partition("/")
        field = f"previous.{number}"
        if name == spec.name:
            yield field, "it takes its own results", "take it out"
        elif name not in known:
            text = f"it takes the results of {name!r}, which this cluster does not have"
            yield field, text, _meant(name, known - {spec.name})
        if (slash and not topic) or "," in topic or "\0" in topic:
            yield field, f"{topic!r} is no topic", "NAME or NAME/TOPIC, without commas"


class _Reader:
    """One reading of a cluster file; ``errors`` holds what is wrong."""

    def __init__(self, text: str, file: str, folder: str) -> None:
        self.errors: list[ConfigError] = []
        self._text = text
        self._file = file
        self._folder = folder
        #: Components of which it says that their results go to the client.
        self._to_client: set[str] = set()

    def read(self) -> ClusterConfig | None:
        try:
            document = read_document(self._text, self._file)
        except ConfigError as error:
            self.errors.append(error)
            return None
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

    def _cluster_name(self, table: Any) -> str:
        path = ("cluster",)
        if not isinstance(table, dict):
            self._add(path, "it is not a table", "write [cluster]")
            return "default"
        self._unknown(path, table, ClusterTable.__struct_fields__)
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
        fields = ComponentTable.__struct_fields__
        self._unknown(path, table, fields)
        # One by one, so that one error does not hide the next.
        found = {key: self._value((*path, key), table[key]) for key in fields if key in table}
        if "limits" in table:
            found["limits"] = self._limits((*path, "limits"), table["limits"])
        return self._spec(name, {key: value for key, value in found.items() if value is not None})

    def _limits(self, path: Path, table: Any) -> Limits | None:
        if not isinstance(table, dict):
            return None  # `_value` says so
        fields = LimitsTable.__struct_fields__
        self._unknown(path, table, fields)
        found = {}
        for name in fields:
            try:
                found[name] = parse_limit(name, table[name]) if name in table else None
            except ConfigError as error:
                self._add((*path, name), str(error.args[0]), error.hint)
        return Limits(**found)

    def _value(self, path: Path, value: Any) -> Any:
        """Return the value of a key if it is of its type, else None."""
        key = path[-1]
        if key == "limits" and isinstance(value, dict):
            return None  # one by one, in `_limits`
        wrong = list(_wrong_elements(value)) if key in _ELEMENTS else []
        for place, element in wrong:
            self._add((*path, place), f"expected a text, got {_called(element)}", _like(key))
        if key == "replicas" and isinstance(value, str):
            return self._range(path, value)
        flaws = list(spool_flaws(value)) if key == "spool" else []
        for place, text, hint in flaws:
            self._add((*path, place) if place else path, text, hint)
        if wrong or flaws:
            return None
        try:
            return getattr(msgspec.convert({key: value}, ComponentTable), key)
        except msgspec.ValidationError as error:
            self._invalid(path, key, value, error)
            return None

    def _range(self, path: Path, value: str) -> Range | None:
        if ".." not in value:
            self._add(path, f"expected a whole number, got {_called(value)}", _like("replicas"))
            return None
        try:
            return Range.parse(value)
        except ConfigError as error:
            self._add(path, str(error.args[0]), error.hint)
            return None

    def _spec(self, name: str, values: dict[str, Any]) -> ComponentSpec:
        previous = values.get("previous", [])
        values["previous"] = list(
            dict.fromkeys([previous] if isinstance(previous, str) else previous)
        )
        if not values.get("pipelined", True):
            self._to_client.add(name)
        if "spool" in values:
            values["spool"], values["spool_quota"] = read_spool(values["spool"])
        if isinstance(values.get("replicas"), Range):
            values["scales"] = values["replicas"]
            values["replicas"] = values["scales"].least
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
        known = frozenset(names)
        wrong = [error.key or "" for error in self.errors]  # types and keys, before values
        for name, spec in components.items():
            for field, text, hint in component_flaws(spec, known):
                path = ("components", name, *field.split(".", 1)) if field else ("components", name)
                if not _is_told(_shown(path), wrong, whole=not field):
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
        while ring := _ring(graph):
            for name in ring:
                graph.pop(name, None)
            if len(ring) > 2:  # one alone has been told already
                shown = " -> ".join(reversed(ring) if field == "needs" else ring)
                hint = "take one of these links out"
                self._add(("components", ring[0], field), f"{text} in a ring: {shown}", hint)

    def _unknown(self, path: Path, table: Mapping[str, Any], known: Iterable[str]) -> None:
        names = list(known)
        for key in table.keys() - set(names):
            close = nearest(key, names)
            hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(names)}"
            self._add((*path, key), "there is no such key", hint)

    def _invalid(self, path: Path, key: str, value: Any, error: Exception) -> None:
        if key in _CHOICES and isinstance(value, str):
            close = nearest(value.lower(), _CHOICES[key])
            hint = f"did you mean {close!r}?" if close else f"one of: {', '.join(_CHOICES[key])}"
            self._add(path, f"there is no {key} {value!r}", hint)
            return
        wanted = re.search("Expected `([^`]+)`", str(error))
        if wanted is None:  # a number that no machine holds
            self._add(path, f"{value!r} cannot be the value", _like(key))
            return
        names = " or ".join(_TYPES.get(name, name) for name in wanted[1].split(" | "))
        self._add(path, f"expected {names}, got {_called(value)}", _like(key))

    @cached_property
    def _lines(self) -> dict[Path, int]:
        # Most files have no errors, and need no lines.
        return find_lines(self._text)

    def _add(self, path: Path, text: str, hint: str | None) -> None:
        place = path
        while place and place not in self._lines:
            place = place[:-1]
        self.errors.append(
            ConfigError(
                text,
                file=self._file,
                line=self._lines.get(place, 1),
                key=_shown(path) or None,
                hint=hint,
            )
        )


def _ring(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of a ring, the first again at its end, or nothing if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _wrong_elements(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield place and value of each element that is no text, of a list or a table."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, list):
        pairs = enumerate(value)
    elif isinstance(value, dict):
        pairs = value.items()
    yield from ((str(place), each) for place, each in pairs if not isinstance(each, str))


def _called(value: Any) -> str:
    """What the type of a value is called in a cluster file."""
    return _TYPES.get(type(value).__name__, "a date or a time")


def _like(key: str) -> str | None:
    example = example_of(key)
    return f"as in {example}" if example else None


def _shown(path: Path) -> str:
    """A path as people read it: the line says which element of a list is meant."""
    return ".".join(path[:3] if len(path) > 3 and path[3].isdecimal() else path)


def _is_told(key: str, wrong: Iterable[str], *, whole: bool) -> bool:
    # What a component lacks as a whole is most likely what was written wrongly in it.
    return any(told == key or (whole and told.startswith(f"{key}.")) for told in wrong)


def _clashes(components: Mapping[str, ComponentSpec]) -> Iterator[tuple[str, str]]:
    """Yield components of which a process would have the name of another's."""
    seen: dict[str, str] = {}
    for name, spec in components.items():
        for number in range(min(spec.most, MAX_REPLICAS)):
            process = replica_name(name, spec.role, number)
            if seen.setdefault(process, name) != name:
                yield name, f"{seen[process]!r} has a replica of the name {process!r} too"
                break
