"""Arguments of the commands about cluster files."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser, read_number, read_positive, read_seconds
from palm.cli.tree.base import Tree

__all__ = ["add_apply", "add_check", "add_diff", "add_history", "add_import", "add_rollback"]


_FILE = "a cluster file; - is stdin"


def add_check(tree: Tree) -> None:
    """``palm check``."""
    parser = tree.add("check", "say what is wrong with a cluster file, or what it would start")
    parser.add_argument("file", metavar="FILE", help=_FILE)
    parser.add_argument(
        "--strict", action="store_true", help="fail also if something it names is not found here"
    )


def add_diff(tree: Tree) -> None:
    """``palm diff``."""
    parser = tree.add("diff", "show what a cluster file, or a version of it, would change")
    parser.add_argument(
        "what", metavar="FILE|N", nargs="?",
        help="a cluster file (- is stdin), or the number of a version; without, what was changed"
        " by hand since the file was put in force",
    )  # fmt: skip
    parser.add_argument(
        "other", metavar="M", nargs="?", type=read_number,
        help="another version: what it has that N has not",
    )  # fmt: skip
    parser.add_argument(
        "-u", "--unified", action="store_true", help="show the difference of the texts, too"
    )
    parser.description = (
        f"{parser.description} Exit code: 0 nothing changes, 1 something does, 2 it cannot be told."
    )


def add_apply(tree: Tree) -> None:
    """``palm apply``."""
    parser = tree.add("apply", "put a cluster file in force, and wait until all of it is ready")
    parser.add_argument("file", metavar="FILE", help=_FILE)
    _add_convergence(parser)


def add_rollback(tree: Tree) -> None:
    """``palm rollback``."""
    parser = tree.add("rollback", "put an older version of the cluster file in force again")
    parser.add_argument(
        "version", metavar="N", nargs="?", type=read_positive, help="which (the one before)"
    )
    _add_convergence(parser)


def _add_convergence(parser: Parser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only show what it would change")
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=60.0,
        help="seconds in which all must be ready (60); else the exit code is 4",
    )  # fmt: skip
    parser.add_argument("--no-wait", action="store_true", help="do not wait until all is ready")
    parser.add_argument("--note", metavar="TEXT", default="", help="why; palm history shows it")


def add_history(tree: Tree) -> None:
    """``palm history``."""
    parser = tree.add("history", "list the versions of the cluster file, or print one")
    parser.add_argument(
        "version", metavar="N", nargs="?", type=read_positive, help="print this version"
    )
    parser.add_argument(
        "-n", metavar="COUNT", type=read_positive, default=20, help="list at most so many (20)"
    )


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
