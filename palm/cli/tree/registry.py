"""Arguments of the commands about the registry, and who gets in."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser, read_duration, read_port, read_seconds, read_size_or_none
from palm.cli.tree.base import Tree, add_timeout

__all__ = ["add_registry", "add_token", "add_user"]

#: What may be said of a database where none is started.
_COPY_FROM = ("backup", "db")
_SCOPES = ("viewer", "operator", "runner", "admin")


def add_registry(tree: Tree) -> None:
    """``palm registry``."""
    parser = tree.add(
        "registry", "run a registry here until Ctrl-C, or look after the one that runs"
    )
    parser.add_argument(
        "--host", metavar="HOST", help="where to listen (127.0.0.1); elsewhere only with TLS"
    )
    parser.add_argument("--port", metavar="N", type=read_port, help="its port (any free)")
    parser.add_argument("--db", metavar="URL", help="its database (a file in the state folder)")
    parser.add_argument("--tls", action="store_true", help="speak TLS; it makes a certificate")
    parser.add_argument("--certfile", metavar="FILE", help="speak TLS, with this certificate")
    parser.add_argument("--keyfile", metavar="FILE", help="the key of the certificate")
    parser.add_argument(
        "--hostname", metavar="NAME", action="append", default=[],
        help="a further name, or NAME:PORT, by which it is called; the first is in its address",
    )  # fmt: skip
    parser.add_argument(
        "--retain-size", metavar="SIZE", type=read_size_or_none,
        help="output that is kept at most: 500M, 10G, none: all (10G)",
    )  # fmt: skip
    parser.add_argument(
        "--retain-age", metavar="TIME", type=read_duration,
        help="how long output is kept: 12h, 30d, forever (30d)",
    )  # fmt: skip
    parser.add_argument(
        "--move-after", metavar="S", type=read_seconds,
        help="seconds after which what a lost node had goes to other nodes (30)",
    )  # fmt: skip
    parser.add_argument(
        "--shrink-after", metavar="S", type=read_seconds,
        help="seconds with less load after which a component that scales itself shrinks (30)",
    )  # fmt: skip
    parser.add_argument(
        "--i-understand-this-exposes-code-execution", dest="exposed", action="store_true",
        help="listen elsewhere without TLS: who reads along can start programs as you",
    )  # fmt: skip
    actions = tree.actions(parser, required=False)
    _add_registry_actions(actions)
    parser.check = lambda found: _check_registry(parser, found)


def _add_registry_actions(actions: Tree) -> None:
    each = actions.add("backup", "copy the database, also while the registry runs")
    each.add_argument("file", metavar="FILE", help="the copy: to be put in place of the database")
    each.add_argument("--force", action="store_true", help="also if FILE is there")
    each.add_argument(
        "--db", metavar="URL", default=argparse.SUPPRESS,
        help="the database, if no registry runs (that in the state folder)",
    )  # fmt: skip
    each = actions.add("restart", "let the registry start anew, with the code that is there now")
    add_timeout(each, 30.0, "in which it must be there again")
    actions.add("status", "show where the registry is, its version, and what it holds")


def _check_registry(parser: Parser, found: argparse.Namespace) -> None:
    options = ("host", "port", "tls", "certfile", "keyfile", "hostname", "retain_size",
               "retain_age", "move_after", "shrink_after", "exposed", "db")  # fmt: skip
    for option in options if found.action else ():
        if vars(found)[option] not in (None, False, []) and (found.action, option) != _COPY_FROM:
            text = f"--{option.replace('_', '-')} is for a start, and not for {found.action}"
            parser.error(text)


def add_token(tree: Tree) -> None:
    """``palm token``."""
    actions = tree.actions(tree.add("token", "look after who gets into the registry"))
    each = actions.add("add", "make a token, and show it once; with --cluster for that one only")
    each.add_argument("name", metavar="NAME", help="a name for it")
    each.add_argument(
        "--scope", metavar="SCOPE", choices=_SCOPES, required=True,
        help="viewer reads; operator changes clusters, too; runner (with --cluster) joins one;"
        " admin may everything",
    )  # fmt: skip
    each.add_argument("--user", metavar="NAME", default="", help="whose clusters (your own)")
    each.add_argument(
        "--expires",
        metavar="TIME",
        type=read_duration,
        help="how long it is good: 30d (forever)",
    )
    each.add_argument(
        "--out", metavar="FILE", help="write it into a new file of yours alone, and do not show it"
    )
    actions.add("list", "list the tokens, but for what is secret")
    each = actions.add("revoke", "let nobody in any more who has a token")
    each.add_argument("name", metavar="NAME", help="which, as list shows it")


def add_user(tree: Tree) -> None:
    """``palm user``."""
    actions = tree.actions(tree.add("user", "look after users who have clusters of their own"))
    each = actions.add("add", "make a user; then make a token for it")
    each.add_argument("name", metavar="NAME", help="name of the user")
    actions.add("list", "list the users, with their clusters and tokens")
    each = actions.add("remove", "forget a user without clusters, and revoke its tokens")
    each.add_argument("name", metavar="NAME", help="name of the user")
