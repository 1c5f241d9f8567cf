"""Arguments of the commands that look at a cluster."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser, read_moment, read_number, read_positive, read_seconds
from palm.cli.tree.base import Tree, add_timeout

__all__ = ["add_events", "add_logs", "add_ps", "add_status", "add_tap", "add_top"]

_SORTS = ("name", "cpu", "rss", "in", "out", "queued", "running", "mean", "p99", "failed")


_GREP = "only lines that match this expression"
_SINCE = "only what is not older: 90s, 5m, 2h, 10:30, 2026-11-28T10:30"


def add_status(tree: Tree) -> None:
    """``palm status``."""
    tree.add("status", "show the components of the cluster, and what is missing")


def add_ps(tree: Tree) -> None:
    """``palm ps``."""
    tree.add("ps", "show the processes of the cluster")


def add_top(tree: Tree) -> None:
    """``palm top``."""
    parser = tree.add("top", "show how much the components have to do, and what they need for it")
    parser.add_argument(
        "--functions", action="store_true", help="by function" if tree.notebook else
        "show their functions, too",
    )  # fmt: skip
    parser.add_argument(
        "--edges", action="store_true", help="by edge, from one component to the next"
        if tree.notebook else "show what goes from one component to the next, too",
    )  # fmt: skip
    parser.add_argument(
        "--interval", metavar="S", type=read_seconds, default=1.0,
        help="seconds that are measured (1)" if tree.notebook else "seconds between two looks (1)",
    )  # fmt: skip
    if not tree.notebook:
        parser.add_argument("-n", metavar="N", type=read_positive, help="end after so many looks")
        parser.add_argument(
            "--sort", metavar="COLUMN", choices=_SORTS, help=f"by {', '.join(_SORTS)}"
        )
    parser.check = lambda found: _check_top(parser, found)


def _check_top(parser: Parser, found: argparse.Namespace) -> None:
    if found.interval < 0.1:
        parser.error("--interval must be 0.1 or more")


def add_logs(tree: Tree) -> None:
    """``palm logs``."""
    if tree.notebook:
        _add_logs_of_one(tree)
        return
    parser = tree.add("logs", "show what components wrote")
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="names of components, or of their processes"
    )
    parser.add_argument("--all", action="store_true", help="of all components of the cluster")
    parser.add_argument(
        "-n", metavar="N", type=read_number, help="how many lines (100; with --since all)"
    )
    parser.add_argument("--grep", metavar="RE", help=_GREP)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    parser.add_argument("--since", metavar="TIME", type=read_moment, help=_SINCE)
    parser.add_argument(
        "--stream", metavar="STREAM", choices=("stdout", "stderr"), help="only stdout, or stderr"
    )
    parser.add_argument(
        "-t", "--timestamps", action="store_true", help="show when each line was written"
    )
    parser.add_argument(
        "--raw", action="store_true",
        help="as it was written, with colours and whatever else a terminal obeys",
    )  # fmt: skip
    parser.check = lambda found: _check_logs(parser, found)


def _check_logs(parser: Parser, found: argparse.Namespace) -> None:
    if bool(found.names) == found.all:
        parser.error("give either names or --all")


def _add_logs_of_one(tree: Tree) -> None:
    parser = tree.add("logs", "show the output of a component")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument(
        "-n", metavar="N", type=read_number, default=100, help="how many lines (100)"
    )
    parser.add_argument("--grep", metavar="RE", help=_GREP)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")


def add_events(tree: Tree) -> None:
    """``palm events``."""
    parser = tree.add("events", "show what happened in the cluster: starts, ends, changes")
    parser.add_argument(
        "-n", metavar="N", type=read_number, help="the last so many (100; with --since all)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more happens")
    parser.add_argument("--since", metavar="TIME", type=read_moment, help=_SINCE)


def add_tap(tree: Tree) -> None:
    """``palm tap``."""
    if tree.notebook:
        return
    parser = tree.add("tap", "show the live messages of a component")
    parser.add_argument("name", metavar="NAME", help="name, or an address, of the component")
    parser.add_argument("-n", metavar="N", type=read_number, help="end after so many messages")
    parser.add_argument(
        "--edge", metavar="A>B", action="append", default=[],
        help="only what goes from A to B: names, clients or workers; may be given again",
    )  # fmt: skip
    add_timeout(parser, 10.0, "seconds to wait for the component")
