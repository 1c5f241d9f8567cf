"""Arguments of the commands that look after palm itself."""

from __future__ import annotations

from argparse import Namespace

from palm.cli.parser import Parser
from palm.cli.tree.base import Tree

__all__ = [
    "SHELLS",
    "add_completion",
    "add_doctor",
    "add_gc",
    "add_installation",
    "check_installation",
]

#: Shells that are told how to complete commands.
SHELLS = ("bash", "zsh", "fish")


def add_doctor(tree: Tree) -> None:
    """``palm doctor``."""
    parser = tree.add("doctor", "look for what is wrong with palm here, and say what to do")
    parser.add_argument(
        "--config", metavar="FILE", help="the node.toml of this machine, if its runner has one"
    )


def add_gc(tree: Tree) -> None:
    """``palm gc``."""
    parser = tree.add("gc", "remove what dead processes left; of one cluster with --cluster")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="show what would be removed, and keep it"
    )


def add_completion(tree: Tree) -> None:
    """``palm completion``."""
    parser = tree.add("completion", "print a script that makes a shell complete commands")
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def add_installation(parser: Parser) -> None:
    """Add the options of ``palm up`` by which a cluster outlives logins and reboots."""
    group = parser.add_argument_group("with systemd")
    group.add_argument(
        "--install", action="store_true",
        help="write a user unit of systemd, which runs the cluster from now on",
    )  # fmt: skip
    group.add_argument("--uninstall", action="store_true", help="remove that unit again")
    group.add_argument("--now", action="store_true", help="have systemd act on it at once, too")
    group.add_argument(
        "--print", dest="show", action="store_true", help="with --install: print it, write nothing"
    )
    group.add_argument(
        "--replace", action="store_true", help="with --install: also over one changed by hand"
    )
    group.add_argument(
        "--foreground", action="store_true",
        help="be the runner of the cluster, until it ends or a signal comes",
    )  # fmt: skip


def check_installation(parser: Parser, found: Namespace) -> None:
    """Refuse options of ``palm up`` that do not go together."""
    ways = [way for way in ("install", "uninstall", "foreground") if vars(found)[way]]
    if len(ways) > 1:
        parser.error(f"--{ways[0]} and --{ways[1]} do not go together")
    if (found.show or found.replace) and not found.install:
        parser.error("--print and --replace belong to --install")
    if found.now and (found.show or not (found.install or found.uninstall)):
        parser.error("--now belongs to --install or --uninstall")
    if found.uninstall and found.file:
        parser.error("--uninstall takes no FILE")
