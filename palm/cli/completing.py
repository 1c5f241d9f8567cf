"""``palm complete -- WORD...``: what the last word of a command line may become, one a line.

Shells ask this at each press of the tab key, so it loads little and asks nobody: names are those of
the run folder. Nothing printed means that the shell may offer files.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from palm.cli.arguments import build_parser
from palm.errors import PalmError
from palm.runtime.folders import Folders
from palm.runtime.presence import clusters_here

__all__ = ["candidates", "run"]

#: Bytes of a record that are read.
_MOST = 4 * 2**20
#: Whose arguments are names of what runs, by their metavar.
_COMPONENT = ("MASTER", "SERVER")
#: Commands whose NAME is that of a component which is there already.
_ABOUT_COMPONENTS = ("exec", "logs", "restart", "scale", "signal", "stop", "tap")


def run(words: Sequence[str]) -> int:
    """Print what the last of ``words`` may become; the first is behind ``palm``."""
    try:
        for each in candidates(list(words) or [""]):
            print(each)
    except PalmError:
        return 1  # a shell has nowhere to show an error
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last word may become."""
    # bash takes --option=value for three words.
    *before, last = ["" if word == "=" else word for word in words]
    before = [word for word, given in zip(before, words, strict=False) if given != "="]
    line = _Line(build_parser(), before)
    option, sign, begun = last.partition("=")
    if sign and last.startswith("--"):
        action = line.options.get(option)
        found = line.values(action) if action is not None else []
        return [f"{option}={each}" for each in found if each.startswith(begun)]
    return sorted({each for each in line.next(last) if each.startswith(last)})


class _Line:
    """The words in front of the one that is completed, as the parsers would read them."""

    def __init__(self, parser: argparse.ArgumentParser, words: Iterable[str]) -> None:
        self._parser = parser
        self._given: list[str] = []
        self._waiting: argparse.Action | None = None
        self._cluster = _only_cluster() or "default"
        self.command = ""
        self._positionals = _positionals(parser)
        for word in words:
            self._take(word)

    @property
    def options(self) -> dict[str, argparse.Action]:
        """The options that the command has at this place."""
        return self._parser._option_string_actions

    def _take(self, word: str) -> None:
        if self._waiting is not None:
            if "--cluster" in self._waiting.option_strings:
                self._cluster = word
            self._waiting = None
        elif word.startswith("-"):
            option, sign, value = word.partition("=")
            action = self.options.get(option)
            if action is not None and action.nargs != 0:
                if not sign:
                    self._waiting = action
                elif option == "--cluster":
                    self._cluster = value
        else:
            self._take_positional(word)

    def _take_positional(self, word: str) -> None:
        action = self._positionals[0] if self._positionals else None
        if isinstance(action, argparse._SubParsersAction):
            parser = action.choices.get(word)
            if isinstance(parser, argparse.ArgumentParser):
                self.command = self.command or word
                self._parser, self._given = parser, []
                self._positionals = _positionals(parser)
                return
        self._given.append(word)
        if action is not None and action.nargs not in ("*", "+"):
            self._positionals.pop(0)

    def next(self, begun: str) -> Iterator[str]:
        """Yield what may come next."""
        if self._waiting is not None:
            yield from self.values(self._waiting)
        elif begun.startswith("-"):
            yield from (
                name
                for name, action in self.options.items()
                if name.startswith("--") and action.help != argparse.SUPPRESS
            )
        elif self._positionals:
            given = set(self._given)
            yield from (each for each in self.values(self._positionals[0]) if each not in given)

    def values(self, action: argparse.Action) -> list[str]:
        """What an option or an argument may be; nothing is known of files."""
        if action.choices is not None:
            return [str(each) for each in action.choices]
        what = str(action.metavar or "")
        if "--cluster" in action.option_strings:
            return _clusters()
        if what == "FUNCTION":
            return _functions(self._cluster)
        if "--server" in action.option_strings or "--master" in action.option_strings:
            return [name for name, _ in _records(self._cluster)]
        if what in _COMPONENT or (what == "NAME" and self._is_about_components(action)):
            return [name for name, _ in _records(self._cluster)]
        if what == "NODE" and not action.option_strings:
            return _nodes(self._cluster)
        return []

    def _is_about_components(self, action: argparse.Action) -> bool:
        if "--previous" in action.option_strings:
            return True
        return not action.option_strings and self.command in _ABOUT_COMPONENTS


def _positionals(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


# What runs


def _run_folder() -> Path:
    return Folders.locate().run


def _only_cluster() -> str:
    if named := os.environ.get("PALM_CLUSTER", ""):
        return named
    here = clusters_here(Folders.locate())
    return here[0] if len(here) == 1 else ""


def _clusters() -> list[str]:
    return sorted(path.parent.name for path in _run_folder().glob("*/components"))


def _nodes(cluster: str) -> list[str]:
    locks = _run_folder().joinpath(cluster).glob("runner-*.lock")
    return sorted(lock.stem.removeprefix("runner-") for lock in locks)


def _records(cluster: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield components that run, with what they say of themselves.

    A process of a worker that has several is found by the name of the worker, too.
    """
    for path in sorted(_run_folder().joinpath(cluster, "components").glob("*.json")):
        try:
            with path.open("rb") as file:
                record = json.loads(file.read(_MOST))
            pid = int(record["pid"])
        except (OSError, ValueError, KeyError, TypeError):  # gone, or none of ours
            continue
        if Path("/proc").is_dir() and not Path(f"/proc/{pid}").exists():
            continue
        yield path.stem, record
        group, _, number = path.stem.rpartition("-")
        if record.get("role") == "worker" and group and number.isdecimal():
            yield group, record


def _functions(cluster: str) -> list[str]:
    """The functions that masters serve, as jobs name them."""
    found = set()
    for name, record in _records(cluster):
        functions = record.get("functions")
        of = str(record.get("master") or name)
        found |= {f"{of}.{each}" for each in functions} if isinstance(functions, list) else set()
    return sorted(found)
