"""``palm master``."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.arguments import component_args
from palm.cli.failures import OK
from palm.cli.foreground import tie
from palm.cli.making import make_master

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Be a master until stopped, or start one in the background."""
    if arguments.detach:
        from palm.cli.background import start  # loads what a component does not need

        return start("master", arguments.name, None, component_args(arguments), arguments)
    tie()
    make_master(arguments).start()
    return OK
