"""``palm server``, ``palm pipeline`` and ``palm sink``."""

from __future__ import annotations

import os
from argparse import Namespace

from palm.cli.arguments import component_args
from palm.cli.failures import OK, USAGE, CommandFailed
from palm.cli.foreground import tie
from palm.cli.loading import check_target, load
from palm.cli.making import SERVING, listed, make_serving

__all__ = ["check_previous", "run"]


def run(arguments: Namespace) -> int:
    """Be a server, a pipeline or a sink until stopped, or start one in the background."""
    check_target(arguments)
    if arguments.command != "server":
        check_previous(arguments)
    if arguments.detach:
        return _detach(arguments)
    tie()
    make_serving(load(arguments, SERVING[arguments.command]), arguments).start()
    return OK


def check_previous(arguments: Namespace) -> None:
    """Refuse a component that takes messages from nobody.

    Whom it names may not run yet: it waits, and says so.
    """
    from_file = not arguments.detach and os.environ.get("PALM_PREVIOUS")
    if not (listed(arguments.previous) or from_file):
        raise CommandFailed(
            f"{arguments.command}: whose results does it take? give --previous NAME", USAGE
        )


def _detach(arguments: Namespace) -> int:
    from palm.cli.background import start  # loads what a component does not need

    args = component_args(arguments)
    return start(arguments.command, arguments.name, arguments.target, args, arguments)
