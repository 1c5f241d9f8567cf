"""The command ``palm``.

Each command is a module of its own, loaded when it is given: a worker starts in a blink, and what
only looks at the cluster loads no sockets.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType

from palm.cli.arguments import ArgumentsError, HelpRequested, build_parser
from palm.cli.failures import FAILED, INTERRUPTED, OK, USAGE, CommandFailed
from palm.errors import PalmError, RegistryError

__all__ = ["main"]

_COMMANDS = {
    name: f"palm.cli.commands.{name.replace('-', '_')}"
    for name in (
        "apply", "check", "completion", "dead-letters", "diff", "doctor", "down", "events", "exec",
        "gateway", "gc", "history", "hub", "job", "jobs", "keys", "logs", "master", "nodes", "ps",
        "registry", "restart", "rollback", "runner", "scale", "start", "status", "stop", "tap",
        "token", "top", "ui", "up", "user", "version", "worker",
    )
} | dict.fromkeys(("pipeline", "server", "sink"), "palm.cli.commands.serving")  # fmt: skip
_COMMANDS["import"] = "palm.cli.commands.importing"  # a module cannot have the command's name
_COMMANDS["signal"] = "palm.cli.commands.signal_"  # nor that of a module of Python's
#: About a cluster that is there; the others begin something, or are about no cluster.
_ABOUT_WHAT_RUNS = (
    "dead-letters", "diff", "down", "events", "exec", "gateway", "history", "job", "jobs", "keys",
    "logs", "nodes", "ps", "restart", "rollback", "scale", "signal", "start", "status", "stop",
    "tap", "top",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that it lacks ends no command
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough
        # At its end Python flushes once more, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _main(argv: Sequence[str] | None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["complete"]:  # for shells alone, and so in no help
        complete: Callable[[Sequence[str]], int] = import_module("palm.cli.completing").run
        return complete(given[2:] if given[1:2] == ["--"] else given[1:])
    only = given[0] if given and given[0] in _COMMANDS else ""
    try:
        arguments = build_parser(only=only).parse_args(given)
    except HelpRequested as requested:
        print(requested.text, end="")
        return OK
    except ArgumentsError as error:
        return _complain(f"{error.prog}: {error.args[0]} ({error.hint})", USAGE)
    if arguments.cluster:
        os.environ["PALM_CLUSTER"] = arguments.cluster  # for all that looks for the cluster
    if arguments.registry:
        os.environ["PALM_REGISTRY"] = arguments.registry
    try:
        _choose(arguments)
        run: Callable[[Namespace], int] = _load(_COMMANDS[arguments.command]).run
        return run(arguments)
    except CommandFailed as error:
        return _complain(f"palm: {error}", error.code)
    except RegistryError as error:
        return _complain(f"palm: {error}{_way_out(error)}", FAILED)
    except PalmError as error:
        return _complain(f"palm: {error}", FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk that is full or read-only, a file that is not there
        place = f": {error.filename}" if error.filename else ""
        return _complain(f"palm: {error.strerror or error}{place}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _choose(arguments: Namespace) -> None:
    """Have what is about a cluster that runs be about the only one, if none was named."""
    # A file that is compared names its cluster.
    names_one = arguments.command == "diff" and not (arguments.what or "0").isdecimal()
    if arguments.command in _ABOUT_WHAT_RUNS and not names_one:
        os.environ["PALM_CLUSTER"] = _load("palm.cli.choosing").choose_cluster()


def _way_out(error: RegistryError) -> str:
    """Say who knows more, unless the error says it itself, or shows a log."""
    known = getattr(error, "hint", "") or "\n" in str(error)
    return "" if known else "; palm doctor looks for the reason"


def _load(module: str) -> ModuleType:
    """Load a module of a command; a Ctrl-C counts once that is done.

    Libraries that are interrupted while they are loaded have ended the process by SIGSEGV.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return import_module(module)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _complain(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
