"""A parser of arguments that raises, and that names what was probably meant.

Nothing here exits or prints: what cannot be understood is an `ArgumentsError`, and where a text
(help, the version) is all that was asked for, `HelpRequested` has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from palm.errors import ConfigError
from palm.spec.duration import parse_duration
from palm.spec.names import nearest
from palm.spec.signals import parse_signal
from palm.spec.size import parse_size

__all__ = [
    "ArgumentsError",
    "HelpRequested",
    "Parser",
    "read_duration",
    "read_moment",
    "read_number",
    "read_port",
    "read_positive",
    "read_seconds",
    "read_signal",
    "read_size",
    "read_size_or_none",
]


class ArgumentsError(ConfigError):
    """Arguments that cannot be understood; ``prog`` is the command whose ``--help`` explains."""

    def __init__(self, text: str, prog: str) -> None:
        super().__init__(text, hint=f"see {prog} --help")
        self.prog = prog


class HelpRequested(Exception):  # noqa: N818 - not an error
    """The user asked for ``text``, and there is nothing else to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Parser(argparse.ArgumentParser):
    """An argument parser that raises, and that names what was probably meant."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, **options)
        self.add_argument("-h", "--help", action=_HelpAction, nargs=0, help="show this text")
        #: Looks at the values together, where one alone cannot be wrong.
        self.check: Callable[[argparse.Namespace], None] | None = None
        #: Titles, each with names and summaries: how help lists commands, if not all in a row.
        self.commands: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()

    def format_help(self) -> str:
        """Return the text of ``--help``."""
        return super().format_help() if not self.commands else self._overview()

    def _overview(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for title, entries in self.commands:
            formatter.start_section(title)
            formatter.add_arguments(
                [argparse.Action([], name, help=summary, metavar=name) for name, summary in entries]
            )
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([each for each in self._actions if each.option_strings])
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def error(self, message: str) -> NoReturn:
        """Raise; `argparse` calls this."""
        raise ArgumentsError(message, self.prog)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is left over here, where the options of this very command are known."""
        try:
            found, rest = super().parse_known_args(args, namespace)
        except ArgumentsError as error:
            hint = self._name_hint(args or ())
            if hint and error.prog == self.prog and error.args[0].endswith("required: --name"):
                self.error(f"{error.args[0]}{hint}")
            raise
        if rest:
            self._refuse(rest[0])
        if self.check is not None:
            self.check(found)
        return found, []

    def _name_hint(self, words: Sequence[str]) -> str:
        takes_words = any(not action.option_strings for action in self._actions)
        if takes_words or len(words) != 1 or words[0].startswith("-"):
            return ""
        return f"; did you mean --name {words[0]}?"

    def _refuse(self, argument: str) -> NoReturn:
        option = argument.partition("=")[0]
        if option.startswith("-"):
            known = [each for each in self._option_string_actions if each.startswith("--")]
            self.error(f"no such option: {option}" + _hint(option, known))
        self.error(f"unexpected argument: {argument}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(action.choices or ())
        if action.choices is None or value in choices:
            return
        what = "command" if action.metavar == "COMMAND" else "value"
        hint = _hint(str(value), choices) or f"; there is {', '.join(choices)}"
        self.error(f"no such {what}: {value}{hint}")


class _HelpAction(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise HelpRequested(parser.format_help())


def _hint(given: str, known: Iterable[str]) -> str:
    meant = nearest(given, known)
    return f"; did you mean {meant}?" if meant else ""


def read_number(text: str) -> int:
    """Read a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def read_positive(text: str) -> int:
    """Read a whole number from 1 on."""
    number = read_number(text)
    if not number:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def read_port(text: str) -> int:
    """Read the number of a port, 0 for any."""
    number = read_number(text)
    if number >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def read_signal(text: str) -> str:
    """Read the name of a signal, as HUP; return it as SIGHUP."""
    try:
        return parse_signal(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error.args[0]}; {error.hint}") from error


def read_size(text: str) -> int:
    """Read a size in bytes, as 500M."""
    try:
        size = parse_size(text)
    except ConfigError:
        size = None
    if size is None:  # no limit is not one, either
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, as 500M or 2G is")
    return size


def read_size_or_none(text: str) -> str:
    """Check a size, or that there is no limit; return it as it was given."""
    try:
        parse_size(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def read_duration(text: str) -> str:
    """Check a duration, as 30d; return it as it was given."""
    try:
        parse_duration(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def read_moment(text: str) -> float:
    """Read a time that is over, in seconds since the epoch.

    It is a duration before now, as 5m; a time of today, as 10:30; or a date with or without one.
    """
    from datetime import datetime  # few ask

    now = datetime.now().astimezone()
    try:
        before = parse_duration(text)
        if before is not None:
            return now.timestamp() - before
    except ConfigError:
        pass  # it is a time, then
    try:
        day = "" if "-" in text else f"{now.date()}T"
        return datetime.fromisoformat(f"{day}{text}").timestamp()
    except (ValueError, OverflowError) as error:
        hint = "as 90s, 5m, 2h, 10:30 or 2026-11-28T10:30 are"
        raise argparse.ArgumentTypeError(f"{text!r} is no time that is over, {hint}") from error


def read_seconds(text: str) -> float:
    """Read a time in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return seconds
