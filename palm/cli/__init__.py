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
        "completion", "dead-letters", "doctor", "down", "gateway", "gc", "hub", "jobs", "logs",
        "master", "ps", "registry", "restart", "runner", "status", "stop", "tap", "token", "top",
        "ui", "up", "user", "version", "worker",
    )
} | dict.fromkeys(("pipeline", "server", "sink"), "palm.cli.commands.serving")  # fmt: skip
_COMMANDS["import"] = "palm.cli.commands.importing"  # a module cannot have the command's name


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
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["complete"]:  # for shells alone, and so in no help
        complete: Callable[[Sequence[str]], int] = import_module("palm.cli.completing").run
        return complete(words[2:] if words[1:2] == ["--"] else words[1:])
    try:
        arguments = build_parser().parse_args(argv)
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
