"""Arguments of the commands about cluster files."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser
from palm.cli.tree.base import Tree

__all__ = ["add_import"]


def add_import(tree: Tree) -> None:
    """``palm import``."""
    parser = tree.add("import", "make a cluster file of one that was written for pylm-registry")
    parser.add_argument("file", metavar="FILE.ini", help="the file")
    parser.add_argument(
        "--pylm-replicas", action="store_true",
        help="run as many processes as pylm did: one more than the file says",
    )  # fmt: skip
    parser.add_argument("-o", "--out", metavar="FILE", help="where to write it (stdout)")
    parser.add_argument("--replace", action="store_true", help="with -o: also over another file")
    parser.check = lambda found: _check_import(parser, found)


def _check_import(parser: Parser, found: argparse.Namespace) -> None:
    if found.replace and not found.out:
        parser.error("--replace belongs to -o")
