"""Arguments of the commands that go into a component."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from palm.cli.parser import Parser, read_number
from palm.cli.tree.base import Tree

__all__ = ["add_exec"]

_END = "--"


class _ProgramParser(Parser):
    """A parser that leaves alone all that stands behind ``--``: another program's words."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Keep the other program's words as ``program``."""
        words = list(args or ())
        at = words.index(_END) if _END in words else len(words)
        namespace = namespace or argparse.Namespace()
        namespace.program = words[at + 1 :]
        return super().parse_known_args(words[:at], namespace)


def add_exec(tree: Tree) -> None:
    """``palm exec``."""
    parser = tree.add(
        "exec",
        "run a program in the environment and the folder of a component, or code in its kernel",
        _ProgramParser,
    )
    parser.usage = (
        f"{parser.prog} [options] NAME [--replica N] -- PROGRAM [ARGUMENT ...]\n"
        f"       {parser.prog} [options] NAME [--replica N] -c CODE"
    )
    parser.add_argument("name", metavar="NAME", help="name of the component, or of a process")
    parser.add_argument(
        "--replica",
        metavar="N",
        type=read_number,
        help="which of its processes, from 0 (the first)",
    )
    parser.add_argument(
        "-c", "--code", metavar="CODE",
        help="run Python code in the kernel of a component (--kernel); - reads it from stdin",
    )  # fmt: skip
    parser.check = lambda found: _check_exec(parser, found)


def _check_exec(parser: Parser, found: argparse.Namespace) -> None:
    if bool(found.program) == (found.code is not None):
        parser.error("give either a program, behind --, or -c CODE")
