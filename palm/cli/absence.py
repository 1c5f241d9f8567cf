"""What a cluster file names and is not on this machine. No code of the user's is run for it."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from palm.cli.arguments import ArgumentsError, HelpRequested, build_parser, previous_names
from palm.clusters import ClusterFile
from palm.errors import ConfigError
from palm.runtime.targets import Target
from palm.spec.cluster import ClusterConfig
from palm.spec.component import SINGLE_ROLES, ComponentSpec
from palm.spec.lines import find_lines
from palm.spec.names import nearest

__all__ = ["absent"]

#: Field of a component, text and hint.
_Found = tuple[str, str, str | None]


def absent(file: ClusterFile, config: ClusterConfig) -> list[ConfigError]:
    """Return a warning for everything that a file names and that is not here.

    What another machine has may be all right, as well as what is made before the start.
    """
    lines = find_lines(file.text)
    found = []
    for name, spec in config.components.items():
        for field, text, hint in _missing(spec, config):
            path: tuple[str, ...] = ("components", name, *field.split("."))
            key = ".".join(path[:3])
            while path not in lines and len(path) > 1:
                path = path[:-1]
            line = lines.get(path, 1)
            found.append(ConfigError(text, file=file.name, line=line, key=key, hint=hint))
    return sorted(found, key=lambda warning: warning.line or 0)


def _missing(spec: ComponentSpec, config: ClusterConfig) -> Iterator[_Found]:
    folder = Path(spec.cwd or os.curdir)
    if not folder.is_dir():
        yield "cwd", f"there is no folder {folder}", None
        return
    if spec.python and not shutil.which(spec.python, path=_path(spec)):
        yield "python", f"there is no interpreter {spec.python}", None
    if spec.script and not (folder / spec.script).is_file():
        yield "script", f"there is no file {spec.script}", _neighbour(folder / spec.script)
    if spec.command:
        yield from _no_program(spec, folder)
    if spec.module == "palm":
        yield from _flaws_of_palm(spec, folder, config)
    elif spec.module or spec.entry:
        yield from _no_module(spec, folder)


def _path(spec: ComponentSpec) -> str | None:
    return spec.env.get("PATH", os.environ.get("PATH"))


def _no_program(spec: ComponentSpec, folder: Path) -> Iterator[_Found]:
    program = spec.command[0]
    if "${" in program:
        return
    here = str(folder / program) if os.sep in program else program
    if not shutil.which(here, path=_path(spec)):
        yield "command.0", f"there is no program {program}", "it is looked for on the PATH"


def _no_module(spec: ComponentSpec, folder: Path) -> Iterator[_Found]:
    if spec.python:
        return  # another interpreter has modules of its own
    module, _, attribute = (spec.module or spec.entry).partition(":")
    field = "module" if spec.module else "entry"
    # As `python -m` and `python -c` do, and the variable says.
    variable = spec.env.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    paths = [str(folder), *filter(None, variable.split(os.pathsep)), *sys.path]
    source = _find_module(module, paths)
    if source is None:
        yield field, f"there is no module {module!r}", None
    elif attribute and source.endswith(".py"):
        yield from _no_name(field, Path(source), attribute.partition(".")[0], "function")


def _find_module(name: str, paths: list[str]) -> str | None:
    """Where the code of a module is, "" if it is not in a file; its packages are not run."""
    if name in sys.builtin_module_names:
        return ""
    top = name.partition(".")[0]
    if "." in name and top in sys.stdlib_module_names and name in sys.modules:
        return ""  # as os.path, which no folder has
    origin, places = "", paths
    for end in range(1, name.count(".") + 2):
        found = PathFinder.find_spec(".".join(name.split(".")[:end]), places)
        if found is None:
            return None
        origin, places = found.origin or "", list(found.submodule_search_locations or ())
    return origin


def _flaws_of_palm(spec: ComponentSpec, folder: Path, config: ClusterConfig) -> Iterator[_Found]:
    """What the command ``palm`` would say of its arguments."""
    words = [spec.name if word.startswith("${") else word for word in spec.args]
    try:
        found = build_parser().parse_args(words)
    except ArgumentsError as error:
        yield "args", f"palm would not understand it: {error.args[0]}", error.hint
        return
    except HelpRequested:
        yield "args", "palm would only print a text", "a command, as master or worker, is missing"
        return
    if target := getattr(found, "target", None):
        yield from _no_target(spec, folder, target)
    master = getattr(found, "master", None)
    for name in [*([master] if master else []), *previous_names(found)]:
        if ":" not in name and name not in config.components:
            known = [n for n, each in config.components.items() if each.role in SINGLE_ROLES]
            meant = nearest(name, known)
            hint = f"did you mean {meant}?" if meant else "it has to come from elsewhere"
            yield _argument(spec, name), f"there is no component {name!r} in this file", hint


def _no_target(spec: ComponentSpec, folder: Path, text: str) -> Iterator[_Found]:
    field = _argument(spec, text)
    try:
        target = Target.parse(text)
    except ConfigError as error:
        yield field, str(error.args[0]), error.hint
        return
    if not target.is_file:
        if _find_module(target.place, [str(folder), *sys.path]) is None:
            yield field, f"there is no module {target.place!r}", None
        return
    path = folder / target.place
    if not path.is_file():
        yield field, f"there is no file {target.place}", _neighbour(path)
    elif target.attribute:
        yield from _no_name(field, path, target.attribute, "class")
    else:
        yield from _no_name(field, path, "", "")


def _argument(spec: ComponentSpec, text: str) -> str:
    return f"args.{spec.args.index(text)}" if text in spec.args else "args"


def _no_name(field: str, path: Path, name: str, what: str) -> Iterator[_Found]:
    """Say that a file does not define a name, as far as its text tells."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError) as error:
        yield field, f"{path.name} cannot be read: {error}", None
        return
    # A star, or a name that is made when the code runs, cannot be seen.
    if any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in body):
        return
    known = set(_names(body))
    if name and name not in known:
        meant = nearest(name, known)
        yield (
            field,
            f"{path.name} has no {what} {name!r}",
            f"did you mean {meant}?" if meant else None,
        )
    if not name and not any(isinstance(n, _DEFINITIONS) for n in ast.walk(ast.Module(body, []))):
        yield field, f"{path.name} has nothing to serve", "functions, or a class, are served"


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in (each for stmt in body for each in ast.walk(stmt)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _neighbour(path: Path) -> str | None:
    known = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
    meant = nearest(path.name, known)
    return f"did you mean {meant}?" if meant else None
