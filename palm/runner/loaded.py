"""The modules that a process has loaded: whether another one would load the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

__all__ = ["Loaded", "search_path"]

#: Modules that an interpreter runs as it starts if they are there; ours has started already.
_AT_START = {"sitecustomize", "usercustomize"}


def search_path(folder: str, pythonpath: str, base: Sequence[str]) -> list[str]:
    """Return where ``python -m`` looks for modules if it is started in ``folder``.

    ``base`` is where it looks without PYTHONPATH. As `site` does, each place is made absolute and
    counts once.
    """
    given = pythonpath.split(os.pathsep) if pythonpath else []
    places = [os.path.abspath(os.path.join(folder, each)) for each in given]
    start = [] if sys.flags.safe_path else [folder]
    return start + list(dict.fromkeys([*places, *base]))


class Loaded:
    """The modules of this process, as they are now."""

    def __init__(self) -> None:
        modules = [module for module in list(sys.modules.values()) if _file(module)]
        self._files = {file: _mark(file) for file in map(_file, modules)}
        #: The folder in which each name that is no part of a package was found.
        self._homes = {
            module.__name__: _home(module) for module in modules if "." not in module.__name__
        }
        self._homes.pop("__main__", None)
        #: Those that were found where `sys.path` says; others came by a hook, as of a package that
        #: is installed from a checkout, and every interpreter of this environment has the hook.
        places = {os.path.abspath(place) for place in sys.path}
        self._by_path = {name for name, home in self._homes.items() if home in places}
        self._names: dict[str, tuple[int, frozenset[str]]] = {}

    def changed(self) -> str:
        """Return a file that is not what was loaded any more, "" if all are."""
        return next((file for file, mark in self._files.items() if _mark(file) != mark), "")

    def hidden(self, places: Iterable[str]) -> str:
        """Return what a process that looks in these places would load from elsewhere, "" if none.

        What it would run at its start is named, too.
        """
        left = dict(self._homes)
        for place in places:
            if os.path.isfile(place):  # an archive; few have one
                return place
            names = self._names_in(place)
            if special := names & _AT_START - self._homes.keys():
                return os.path.join(place, min(special))
            for name in names & left.keys():
                home = left[name]
                if home == place or _is_same(home, place):
                    del left[name]
                elif _hides(place, name):
                    return os.path.join(place, name)
        return min(left.keys() & self._by_path, default="")

    def _names_in(self, place: str) -> frozenset[str]:
        """Return the names that may be modules in a folder; read anew when it has changed."""
        try:
            changed = os.stat(place).st_mtime_ns
            known = self._names.get(place)
            if known is None or known[0] != changed:
                names = frozenset(each.partition(".")[0] for each in os.listdir(place))
                known = self._names[place] = (changed, names)
        except OSError:  # an interpreter finds nothing there either
            return frozenset()
        return known[1]


def _file(module: ModuleType) -> str:
    """Return the file that a module came from, "" if it is a part of the interpreter."""
    spec = getattr(module, "__spec__", None)
    return spec.origin or "" if spec is not None and spec.has_location else ""


def _home(module: ModuleType) -> str:
    # Not by `__path__`: single files have one as well, if they make up modules, as six does.
    folder, name = os.path.split(_file(module))
    return os.path.dirname(folder) if name.partition(".")[0] == "__init__" else folder


def _mark(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _hides(place: str, name: str) -> bool:
    """Say whether a name in a folder is a module; a folder that is no package hides nothing."""
    path = os.path.join(place, name)
    if os.path.isdir(path):
        inside = {each.partition(".")[0] for each in os.listdir(path)}
        if "__init__" in inside:
            return True
    suffixes = (".py", ".pyc", ".so")
    return any(
        each.startswith(f"{name}.") and each.endswith(suffixes) for each in os.listdir(place)
    )
