"""What all commands of the argument tree have in common."""

from __future__ import annotations

import argparse
from typing import Any

from palm.cli.parser import Parser, read_seconds

__all__ = ["Tree", "add_common", "add_timeout"]


class Tree:
    """The commands of one tree while it is built."""

    def __init__(
        self, prog: str, notebook: bool, commands: argparse._SubParsersAction[Parser]
    ) -> None:
        self.notebook = notebook
        self.commands = commands
        self._prog = prog

    def add(self, name: str, summary: str, kind: type[Parser] = Parser) -> Parser:
        """A command, with the options that all share."""
        self.commands._parser_class = kind  # `add_parser` has no argument for it
        parser = self.commands.add_parser(
            name,
            prog=f"{self._prog} {name}",
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
        )
        if not self.notebook:
            add_common(parser, default=argparse.SUPPRESS)
        return parser

    def actions(self, parser: Parser, *, required: bool = True) -> Tree:
        """What a command can do, each with arguments of its own.

        An argument with names behind it would have to stand before any option.
        """
        actions = parser.add_subparsers(
            dest="action", metavar="ACTION", title="actions", required=required, parser_class=Parser
        )
        return Tree(parser.prog, self.notebook, actions)


def add_common(parser: Parser, default: Any) -> None:
    """Options that may stand before the command as well as after it."""
    parser.add_argument(
        "--cluster", metavar="NAME", default=default, help="the cluster (PALM_CLUSTER, default)"
    )
    parser.add_argument(
        "--registry", metavar="URL", default=default,
        help="address of its registry (PALM_REGISTRY, your own)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", default=default or False, help="print JSON")


def add_timeout(parser: Parser, seconds: float, what: str) -> None:
    """How many seconds something may take."""
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=seconds,
        help=f"seconds {what} ({seconds:g})",
    )  # fmt: skip
