"""What a worker serves: the functions or the Worker class of a module, a file or a cell."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from palm.errors import ConfigError
from palm.spec.names import nearest
from palm.wire.codec import TARGET_PREFIX

__all__ = ["Functions", "Target", "load_target"]

_T = TypeVar("_T")
Functions = dict[str, Callable[..., Any]]

_FORMS = "a target is MODULE, MODULE:Class, FILE.py or FILE.py:Class"


@dataclass(frozen=True, slots=True)
class Target:
    """A target as written: a module's dotted name or the path of a file, and perhaps a class."""

    place: str
    attribute: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Split ``module``, ``module:Class``, ``file.py`` or ``file.py:Class``."""
        place, colon, attribute = text.rpartition(":")
        if not colon or not attribute.isidentifier():
            place, attribute = text, ""
        target = cls(place, attribute)
        if not target.is_file and not all(map(str.isidentifier, place.split("."))):
            raise ConfigError(f"{text!r} names neither a module nor a file", hint=_FORMS)
        return target

    @property
    def is_file(self) -> bool:
        """Whether it is the path of a file: one ends in ``.py`` or has a slash."""
        return self.place.endswith(".py") or os.sep in self.place


def load_target(
    target: str, base: type[_T], *, push: Path | None = None, source_name: str = ""
) -> type[_T] | Functions:
    """Run the code of a target and return what it offers.

    A subclass of ``base`` that the code defines wins over its functions. Functions are those
    that it defines under a name without a leading underscore; what it imports is not served.

    Parameters
    ----------
    base
        `palm.servers.Worker`, which this layer does not know.
    push
        A cloudpickle of ``{name: value}``; the values are there before a file's code runs.
    source_name
        Name that tracebacks show in place of the file's, ``<palm_worker foo>``.

    Raises
    ------
    ConfigError
        There is no such target, or nothing in it can be served.
    """
    parsed = Target.parse(target)
    if parsed.is_file:
        module = _run_file(Path(parsed.place), push, source_name)
    else:
        module = _import(parsed.place)
    if parsed.attribute:
        return _named_class(module, parsed, base)
    return _offer(module, source_name or target, base)


# Running the code


def _run_file(path: Path, push: Path | None, source_name: str) -> types.ModuleType:
    source = _read_source(path)
    name = source_name or str(path)
    lines = source.splitlines(keepends=True)
    # Without a time of change the entry is never looked up on disk again.
    linecache.cache[name] = (len(source), None, lines, name)
    module = types.ModuleType(TARGET_PREFIX + re.sub(r"\W", "_", path.stem))
    module.__file__ = str(path.absolute())
    sys.modules[module.__name__] = module  # so that its classes can be pickled by name
    if not source_name:  # a script of the user's: its neighbours can be imported, as by python
        sys.path.insert(0, str(path.absolute().parent))
    if push is not None:
        module.__dict__.update(_read_pushed(push))
    code = compile(source, name, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the user's own code is what a worker is for
    return module


def _read_source(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _no_file(path) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        return importlib.util.decode_source(data)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not Python source text: {error}") from error


def _no_file(path: Path) -> ConfigError:
    folder = path.parent
    known = [each.name for each in folder.glob("*.py")] if folder.is_dir() else []
    meant = nearest(path.name, known)
    hint = f"did you mean {folder / meant}?" if meant else f"the current folder is {os.getcwd()}"
    return ConfigError(f"there is no file {path}", hint=hint)


def _read_pushed(path: Path) -> Mapping[str, Any]:
    import cloudpickle  # only where something was pushed

    try:
        values = cloudpickle.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"the pushed values are gone: there is no file {path}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold pushed values")
    return values


def _import(name: str) -> types.ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # the installed command does not look into the current folder
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; what is missing is one that it imports
        raise _no_module(name, error.name) from None


def _no_module(name: str, missing: str) -> ConfigError:
    parent, _, last = missing.rpartition(".")
    found = getattr(sys.modules.get(parent), "__path__", []) if parent else sys.path
    known = _modules_in(found)
    meant = nearest(last, known)
    hint = f"did you mean {f'{parent}.{meant}'.lstrip('.')}?" if meant else _FORMS
    text = f"there is no module {missing!r}"
    return ConfigError(text if missing == name else f"{text}, so no {name!r}", hint=hint)


def _modules_in(folders: Any) -> list[str]:
    import pkgutil  # on the way to an error only

    return [module.name for module in pkgutil.iter_modules(list(folders))]


# Looking for what it offers


def _named_class(module: types.ModuleType, target: Target, base: type[_T]) -> type[_T]:
    value = getattr(module, target.attribute, None)
    classes = _classes(module, base)
    if value is None:
        meant = nearest(target.attribute, classes)
        hint = f"did you mean {meant}?" if meant else _listed("it has", classes)
        raise ConfigError(f"{target.place} has no class {target.attribute!r}", hint=hint)
    if not (isinstance(value, type) and issubclass(value, base)):
        hint = f"derive it from palm.servers.{base.__name__}"
        raise ConfigError(f"{target.attribute} is not a {base.__name__} class", hint=hint)
    return value


def _offer(module: types.ModuleType, shown: str, base: type[_T]) -> type[_T] | Functions:
    classes = _classes(module, base)
    if len(classes) > 1:
        hint = _listed("say which, as in TARGET:Class:", classes)
        raise ConfigError(f"{shown} defines several {base.__name__} classes", hint=hint)
    if classes:
        return next(iter(classes.values()))
    functions = _functions(module)
    if not functions:
        raise ConfigError(
            f"{shown} has nothing to serve",
            hint="define a function whose name does not start with '_' (imported ones are not "
            f"served), or a class derived from palm.servers.{base.__name__}",
        )
    return functions


def _classes(module: types.ModuleType, base: type[_T]) -> dict[str, type[_T]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and name == value.__name__  # another name for a class does not make it two
        and not name.startswith("_")
    }


def _functions(module: types.ModuleType) -> Functions:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__"))
        and callable(value)
        and not isinstance(value, type)
        and getattr(value, "__module__", None) == module.__name__
    }


def _listed(head: str, names: Mapping[str, object]) -> str | None:
    return f"{head} {', '.join(sorted(names))}" if names else None
