"""``palm hub``."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.arguments import component_args
from palm.cli.commands.serving import check_previous
from palm.cli.failures import OK
from palm.cli.foreground import tie
from palm.cli.making import make_hub

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Be a hub until stopped, or start one in the background."""
    check_previous(arguments)
    if arguments.detach:
        from palm.cli.background import start  # loads what a component does not need

        return start("hub", arguments.name, None, component_args(arguments), arguments)
    tie()
    make_hub(arguments).start()
    return OK
