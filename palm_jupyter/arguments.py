"""The option lines of the magics. ``%palm`` shares its argument tree with the command line."""

from __future__ import annotations

import argparse
import shlex

from palm.cli.arguments import Parser, build_parser
from palm.errors import ConfigError

__all__ = ["cell_parser", "palm_parser", "parse_cell", "parse_line", "split"]


def palm_parser() -> Parser:
    """The tree of ``%palm``."""
    return build_parser(prog="%palm", notebook=True)


def cell_parser() -> Parser:
    """The options of ``%%palm_worker``."""
    parser = Parser(
        "%%palm_worker",
        description="Serve the functions of this cell, or its Worker class, as MASTER.<function>.",
        epilog="Run again unchanged, the cell returns what runs; changed, it replaces it.",
    )
    add = parser.add_argument
    add("master", metavar="MASTER", help="name of the master, or its address")
    add("--name", metavar="GROUP", default="", help="name of the group (default: MASTER-worker)")
    add("--replicas", metavar="N", type=_count, default=1, help="number of processes (default: 1)")
    add("--push", metavar="a,b", action="append", default=[], help="notebook variables to copy")
    add("--replace", action="store_true", help="start anew even if nothing changed")
    add("--kernel", action="store_true", help="run it as an ipykernel, to look into")
    add("--node", metavar="NODE", default="", help="the node that runs it (any with room)")
    add(
        "--label", metavar="KEY=VALUE", action="append", default=[],
        help="only on nodes with this label, as engine=dask; may be given again",
    )  # fmt: skip
    add("-o", "--out", metavar="VAR", default="", help="put the component into this variable")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes (1, 2, ...)")
    return int(text)


def split(line: str) -> tuple[list[str], bool]:
    """Words of an option line, and whether a trailing ``;`` silences it."""
    text = line.strip()
    silent = text.endswith(";")
    try:
        return shlex.split(text.rstrip("; ") if silent else text), silent
    except ValueError as error:
        raise ConfigError(f"cannot read {text!r}: {error}") from error


def parse_line(line: str) -> tuple[argparse.Namespace, bool]:
    """The options of ``%palm``, and whether its result is silenced."""
    words, silent = split(line)
    return palm_parser().parse_args(words), silent


def parse_cell(line: str) -> tuple[argparse.Namespace, bool]:
    """The options of ``%%palm_worker``, and whether its result is silenced."""
    words, silent = split(line)
    options = cell_parser().parse_args(words)
    names = (name.strip() for part in options.push for name in part.split(","))
    options.push = tuple(dict.fromkeys(name for name in names if name))
    return options, silent
