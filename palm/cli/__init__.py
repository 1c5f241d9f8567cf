"""The command ``palm``.

Each command is a module of its own, loaded when it is given: a worker starts in a blink, and what
only looks at the cluster loads no sockets.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from palm.cli.arguments import ArgumentsError, HelpRequested, build_parser
from palm.cli.failures import FAILED, INTERRUPTED, OK, USAGE, CommandFailed
from palm.errors import PalmError

__all__ = ["main"]

_COMMANDS = {
    name: f"palm.cli.commands.{name.replace('-', '_')}"
    for name in (
        "apply", "check", "dead-letters", "diff", "down", "events", "exec", "gateway", "history",
        "hub", "job", "jobs", "logs", "master", "nodes", "ps", "registry", "restart", "rollback",
        "runner", "scale", "start", "status", "stop", "tap", "token", "top", "ui", "up", "user",
        "version", "worker",
    )
} | dict.fromkeys(("pipeline", "server", "sink"), "palm.cli.commands.serving")  # fmt: skip
_COMMANDS["import"] = "palm.cli.commands.importing"  # a module cannot have the command's name
_COMMANDS["signal"] = "palm.cli.commands.signal_"  # nor that of a module of Python's


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough
        # At its end Python flushes once more, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _main(argv: Sequence[str] | None) -> int:
    given = sys.argv[1:] if argv is None else argv
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
        run: Callable[[Namespace], int] = import_module(_COMMANDS[arguments.command]).run
        return run(arguments)
    except CommandFailed as error:
        return _complain(f"palm: {error}", error.code)
    except PalmError as error:
        return _complain(f"palm: {error}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _complain(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code
