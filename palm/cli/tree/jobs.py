"""Arguments of the commands about jobs and their messages."""

from __future__ import annotations

import argparse

from palm.cli.parser import (
    Parser,
    read_number,
    read_port,
    read_positive,
    read_seconds,
    read_size,
)
from palm.cli.tree.base import Tree, add_timeout

__all__ = ["add_dead_letters", "add_gateway", "add_job", "add_jobs"]

#: What a file of items may be, and what becomes of an item that fails.
_FORMATS = ("json", "csv", "parquet", "lines")
_ERRORS = ("skip", "return", "raise")


def add_job(tree: Tree) -> None:
    """``palm job``."""
    parser = tree.add("job", "call a function with each item of a file, and print the results")
    parser.add_argument("function", metavar="FUNCTION", help="which one: server.name")
    parser.add_argument(
        "file", metavar="FILE", nargs="?",
        help="items: .json or .jsonl (a value a line, or one list), .csv (each row an object),"
        " .parquet; else as --format says; - or none is stdin",
    )  # fmt: skip
    parser.add_argument(
        "--item", metavar="JSON", action="append", default=[],
        help="an item, in place of a file; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--format", metavar="FORMAT", choices=_FORMATS,
        help="what FILE is: json, csv, parquet, or lines (each line a text)",
    )  # fmt: skip
    parser.add_argument("--lines", action="store_true", help="the same as --format lines")
    parser.add_argument("-o", "--out", metavar="FILE", help="write results here, not to stdout")
    parser.add_argument(
        "--csv", action="store_true", help="results as CSV; the first one says which columns"
    )
    parser.add_argument(
        "--unordered", action="store_true", help="results as they come, not in the order of items"
    )
    parser.add_argument(
        "--errors", metavar="WHAT", choices=_ERRORS, default="skip",
        help="what a failed item is: skip: a line on stderr, return: an object with its error"
        " among the results, raise: the end of the job (skip)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, help="seconds that one call may take"
    )
    parser.add_argument(
        "--retries", metavar="N", type=read_number, default=0,
        help="further tries of what failed (0)",
    )  # fmt: skip
    parser.add_argument(
        "--key", metavar="COLUMN", help="items with the same value of this column go in order"
    )
    parser.add_argument(
        "--connect-timeout", metavar="S", type=read_seconds, default=60.0,
        help="seconds to wait for the server (60)",
    )  # fmt: skip
    parser.check = lambda found: _check_job(parser, found)


def _check_job(parser: Parser, found: argparse.Namespace) -> None:
    if found.item and (found.file or found.lines or found.format):
        parser.error("--item is in place of a file")
    if found.lines and found.format not in (None, "lines"):
        parser.error("--lines and --format do not agree")
    if found.csv and found.errors == "return":
        parser.error("an error has no columns: --errors return is for JSON")
    if found.timeout == 0:
        parser.error("argument --timeout: a call needs more than no time")


def add_jobs(tree: Tree) -> None:
    """``palm jobs``."""
    parser = tree.add("jobs", "look after durable jobs, which outlive their clients")
    actions = tree.actions(parser)
    each = actions.add("list", "list the durable jobs of masters")
    each.add_argument("master", metavar="MASTER", nargs="?", help="which master (all that run)")
    add_timeout(each, 10.0, "in which a master must answer")
    each = actions.add("cancel", "end durable jobs, and forget them and their results")
    each.add_argument("ids", metavar="ID", nargs="+", help="which, as list shows them")
    each.add_argument("--master", metavar="MASTER", help="the master that has them (any)")
    add_timeout(each, 10.0, "in which a master must answer")


def add_dead_letters(tree: Tree) -> None:
    """``palm dead-letters``."""
    parser = tree.add("dead-letters", "look after messages that ended every worker that ran them")
    actions = tree.actions(parser)
    actions.add("list", "list them")
    each = actions.add("replay", "send messages again, and remove those that have a result then")
    _add_letters(each)
    add_timeout(each, 60.0, "in which each must have an outcome")
    _add_letters(actions.add("remove", "remove them for good"))


def add_gateway(tree: Tree) -> None:
    """``palm gateway``."""
    parser = tree.add("gateway", "call functions of a server by HTTP, for who has the token")
    parser.add_argument("--server", metavar="NAME", required=True, help="name of the master")
    parser.add_argument("--name", metavar="NAME", help="its own name (SERVER-gateway)")
    parser.add_argument(
        "--host", metavar="HOST", default="127.0.0.1", help="where to listen (127.0.0.1)"
    )
    parser.add_argument(
        "--port", metavar="N", type=read_port, default=0, help="its port (any free)"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", help="what callers must send; made if not given"
    )
    parser.add_argument("--certfile", metavar="FILE", help="certificate, for TLS")
    parser.add_argument("--keyfile", metavar="FILE", help="its key")
    parser.add_argument(
        "--allow-host", metavar="HOST", action="append", default=[],
        help="a further name, with its port, by which it may be called",
    )  # fmt: skip
    parser.add_argument(
        "--max-body", metavar="SIZE", type=read_size, help="the largest request (16M)"
    )
    parser.add_argument(
        "--max-requests", metavar="N", type=read_positive, help="worked on at once (4096)"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, help="seconds that a call may take (60)"
    )


def _add_letters(parser: Parser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="which, as list shows them")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.check = lambda found: _check_letters(parser, found)


def _check_letters(parser: Parser, found: argparse.Namespace) -> None:
    if bool(found.ids) == found.all:
        parser.error("give either IDs or --all")
