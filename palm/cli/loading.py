"""Loading what a component serves, and what is said of code that cannot be loaded."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from palm.cli.failures import FAILED, USAGE, CommandFailed
from palm.errors import PalmError
from palm.runtime.targets import Functions, load_target

__all__ = ["check_target", "load", "show_failure"]

_T = TypeVar("_T")


def check_target(arguments: Namespace) -> None:
    """Refuse a component that is to serve nothing."""
    if arguments.target is None:
        other = "; or --http URL" if arguments.command == "worker" else ""
        raise CommandFailed(
            f"{arguments.command}: nothing to serve; give a TARGET: MODULE, MODULE:Class, FILE.py"
            f" or FILE.py:Class{other}",
            USAGE,
        )


def load(arguments: Namespace, base: type[_T]) -> type[_T] | Functions:
    """Run the code of the target; what it raises is shown, and ends the command."""
    push = Path(arguments.push_file) if arguments.push_file else None
    try:
        return load_target(arguments.target, base, push=push, source_name=arguments.source_name)
    except PalmError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises
        text = f"{arguments.source_name or arguments.target} cannot be loaded"
        raise show_failure(error, text) from None


def show_failure(error: Exception, text: str) -> CommandFailed:
    """Print the user's own traceback, without the frames that led to it; return what to raise."""
    import traceback  # on the way to an error only

    error.with_traceback(_from_users_code(error.__traceback__))
    traceback.print_exception(error)
    return CommandFailed(text, FAILED)


def _from_users_code(entry: TracebackType | None) -> TracebackType | None:
    ours = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep
    while entry is not None:
        file = entry.tb_frame.f_code.co_filename
        loading = file.startswith("<frozen importlib") or file.endswith("importlib/__init__.py")
        if not (loading or file.startswith(ours)):
            break
        entry = entry.tb_next
    return entry
