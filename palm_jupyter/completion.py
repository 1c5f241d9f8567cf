"""Completion of ``%palm`` and ``%%palm_worker``, and of functions in ``client.job("...``.

Commands, options, names of components and of what they serve.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from palm_jupyter.arguments import cell_parser, palm_parser
from palm_jupyter.session import Session

__all__ = ["Completer", "candidates"]

_LINE = re.compile(r"(?:^|=\s*)(?P<magic>%palm|%%palm_worker)\s(?P<rest>.*)$", re.DOTALL)
#: A string that names a function, as far as it is typed.
_CALL = re.compile(r"\.(?:job|eval)\(\s*\[?\s*[\"'](?P<token>[A-Za-z0-9_.-]*)$")
_HOOK = r"(.*=\s*)?%%?palm(_worker)?\s.*"


# Made once: it takes longer than all the rest.
_palm_parser = functools.cache(palm_parser)
_cell_parser = functools.cache(cell_parser)


def candidates(line: str, session: Session, variables: Callable[[], Iterable[str]]) -> list[str]:
    """What may stand at the end of ``line``; None of it is filtered by what is there already.

    ``line`` is the text up to the cursor.
    """
    if call := _CALL.search(line):
        return [name for name in session.functions() if name.startswith(call["token"])]
    found = _LINE.search(line)
    if not found:
        return []
    words = found["rest"].split()
    token = words.pop() if words and not found["rest"][-1:].isspace() else ""
    if found["magic"] == "%%palm_worker":
        options = _worker(words, token, session, variables)
    else:
        options = _palm(words, session)
    return sorted(option for option in set(options) if option.startswith(token))


def _worker(
    words: list[str], token: str, session: Session, variables: Callable[[], Iterable[str]]
) -> list[str]:
    parser = _cell_parser()
    if words and words[-1] == "--push":
        done, comma, _ = token.rpartition(",")
        return [f"{done}{comma}{name}" for name in variables() if not name.startswith("_")]
    if words and words[-1] in _valued(parser):
        return []
    flags = _flags(parser, words)
    positional = any(not word.startswith("-") for word in words)
    return flags if positional else [*session.masters(), *flags]


def _palm(words: list[str], session: Session) -> list[str]:
    parser = _palm_parser()
    commands = _commands(parser)
    chosen = next((word for word in words if word in commands), None)
    if chosen is None:
        return [*commands, *_flags(parser, words)]
    sub = commands[chosen]
    if words[-1] == "--previous":
        return session.names()
    if words[-1] in _valued(sub):
        return []
    takes_names = any(not a.option_strings and a.metavar == "NAME" for a in sub._actions)
    names = [name for name in session.names() if name not in words] if takes_names else []
    return [*names, *_flags(sub, words)]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    # argparse has no public way to its sub-commands.
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _flags(parser: argparse.ArgumentParser, used: list[str]) -> list[str]:
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS]
    return [f for a in shown for f in a.option_strings if f.startswith("--") and f not in used]


def _valued(parser: argparse.ArgumentParser) -> set[str]:
    """Options that take a value."""
    return {f for a in parser._actions if a.nargs != 0 for f in a.option_strings}


class Completer:
    """Completion in one shell, added and removed."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self._shell = shell
        self._session = session
        self._matcher: Any = None

    def complete(self, line: str) -> list[str]:
        """What may stand at the end of ``line``."""
        return candidates(line, self._session, lambda: list(self._shell.user_ns))

    def add(self) -> None:
        """Answer for lines that begin with our magics, instead of IPython's guesses."""
        try:
            self._matcher = _matcher(self.complete)
        except ImportError:  # IPython before 8.6
            self._shell.set_hook("complete_command", self._hook, re_key=_HOOK)
            return
        self._shell.Completer.custom_matchers.append(self._matcher)

    def remove(self) -> None:
        """Stop answering."""
        if self._matcher is None:
            dispatch = self._shell.strdispatchers["complete_command"]
            dispatch.regexs.pop(re.compile(_HOOK), None)
        elif self._matcher in self._shell.Completer.custom_matchers:
            self._shell.Completer.custom_matchers.remove(self._matcher)
        self._matcher = None

    def _hook(self, shell: Any, event: Any) -> list[str]:
        return self.complete(event.text_until_cursor)


def _matcher(complete: Callable[[str], list[str]]) -> Any:
    from IPython.core.completer import SimpleCompletion, context_matcher  # IPython 8.6 on

    @context_matcher(identifier="palm", priority=200)
    def palm_matcher(context: Any) -> dict[str, Any]:
        line = context.line_with_cursor[: context.cursor_position]
        call = _CALL.search(line)
        if not call and not _LINE.search(line):
            return {"completions": [], "suppress": False}
        found = [SimpleCompletion(text, type="palm") for text in complete(line)]
        # A string that names no function of ours may be an argument of somebody else's method.
        return {
            "completions": found,
            "suppress": bool(found) or not call,
            "matched_fragment": call["token"] if call else re.split(r"\s", line)[-1],
        }

    return palm_matcher
