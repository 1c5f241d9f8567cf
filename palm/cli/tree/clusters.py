"""Arguments of the commands that change a cluster or its components."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser, read_duration, read_number, read_seconds, read_signal
from palm.cli.tree.base import Tree, add_timeout
from palm.cli.tree.upkeep import add_installation, check_installation

__all__ = [
    "add_attach",
    "add_down",
    "add_keys",
    "add_nodes",
    "add_restart",
    "add_runner",
    "add_scale",
    "add_signal",
    "add_start",
    "add_stop",
    "add_up",
]


def add_up(tree: Tree) -> None:
    """``palm up``."""
    parser = tree.add("up", "start the cluster, in the background, if it does not run")
    parser.add_argument("file", metavar="FILE", nargs="?", help="a cluster file to put in force")
    parser.add_argument(
        "--linger", metavar="TIME", type=read_duration, default=None,
        help="how long it goes on after the last notebook that used it: 0, 90s, 2m, forever"
        + (" (2m)" if tree.notebook else " (a new one: forever)"),
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=60.0,
        help="with FILE: seconds in which all must be ready (60)",
    )  # fmt: skip
    if not tree.notebook:
        add_installation(parser)
        parser.check = lambda found: check_installation(parser, found)


def add_down(tree: Tree) -> None:
    """``palm down``."""
    tree.add("down", "end the cluster: its components, its runner and, if it was the last, the"
             " registry")  # fmt: skip


def add_attach(tree: Tree) -> None:
    """``palm attach``."""
    parser = tree.add("attach", "use a cluster that runs")
    parser.add_argument("name", metavar="CLUSTER", nargs="?", help="its name (the only one)")


def add_runner(tree: Tree) -> None:
    """``palm runner``."""
    parser = tree.add("runner", "run what a registry assigns to this machine")
    parser.add_argument("--name", metavar="NODE", help="name as a node (that of the machine)")
    parser.add_argument("--config", metavar="FILE", help="what this machine is, a node.toml")
    parser.add_argument("--address", metavar="HOST", help="where other nodes reach this one")
    parser.add_argument(
        "--ports", metavar="FIRST-LAST", help="ports for sockets of components (any free ones)"
    )
    # For a registry and a cluster that are being made by whoever started this one.
    parser.add_argument("--patience", type=read_seconds, default=0.0, help=argparse.SUPPRESS)


def add_restart(tree: Tree) -> None:
    """``palm restart``."""
    parser = tree.add("restart", "replace the processes of a component by new ones")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=30.0,
        help="seconds in which it must be ready (30)",
    )  # fmt: skip


def add_scale(tree: Tree) -> None:
    """``palm scale``."""
    parser = tree.add("scale", "run another number of processes of a component")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument("replicas", metavar="N", type=read_number, help="how many processes")
    if not tree.notebook:
        _add_wait(parser)


def add_start(tree: Tree) -> None:
    """``palm start``."""
    parser = tree.add("start", "start components that were stopped, as they were")
    parser.add_argument("names", metavar="NAME", nargs="+", help="names of the components")
    _add_wait(parser)


def _add_wait(parser: Parser) -> None:
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=30.0,
        help="seconds in which all must be ready (30)",
    )  # fmt: skip
    parser.add_argument("--no-wait", action="store_true", help="do not wait until all is ready")


def add_nodes(tree: Tree) -> None:
    """``palm nodes``."""
    actions = tree.actions(
        tree.add("nodes", "show the machines of the cluster; add or remove some"), required=False
    )
    actions.add("list", "show the nodes, and what they have to do")
    each = actions.add("remove", "forget a node: what it ran goes to others, its runner ends")
    each.add_argument(
        "name", metavar="NAME", help="name of the node; or of a pool, dask://HOST:PORT: all of it"
    )
    each.add_argument("--yes", action="store_true", help="do not ask, also if it runs something")
    each.add_argument(
        "--now", action="store_true",
        help="let it say nothing more, not even the last of its output: it is not trusted",
    )  # fmt: skip
    if not tree.notebook:
        _add_joining(actions)


def _add_joining(actions: Tree) -> None:
    each = actions.add("join-string", "make a text by which one machine may join, once")
    each.add_argument(
        "--expires", metavar="TIME", type=read_duration, default="1h",
        help="how long it is good for: 10m, 1h (default), 7d at most",
    )  # fmt: skip
    each.add_argument("--name", metavar="NODE", default="", help="for a node of this name only")
    each = actions.add("join", "be a node of a cluster, by its join string")
    each.add_argument(
        "string", metavar="STRING", nargs="?",
        help="the join string, - for stdin; without it: as this machine has joined before",
    )  # fmt: skip
    _add_node_options(each)
    how = each.add_mutually_exclusive_group()
    how.add_argument("-d", "--detach", action="store_true", help="go on in the background")
    how.add_argument(
        "--attached", action="store_true",
        help="leave the cluster when stdin ends: with whatever has started it",
    )  # fmt: skip
    each.add_argument(
        "--scratch", metavar="DIR", default="",
        help="keep all of it in this folder, and remove that after it has left",
    )  # fmt: skip
    each.add_argument(
        "--run", metavar="DIR", default="",
        help="with --scratch: share this run folder, that of the registry's machine",
    )  # fmt: skip
    each = actions.add("add", "have another machine, or all workers of a Dask cluster, be nodes")
    each.add_argument(
        "host", metavar="[USER@]HOST[:PORT]|dask://HOST:PORT",
        help="where sshd is, or the scheduler of Dask",
    )  # fmt: skip
    _add_node_options(each)
    each.add_argument("--python", metavar="PATH", default="", help="a Python there that has palm")
    each.add_argument(
        "--identity", metavar="FILE", default="", help="a private key (those of the agent, ~/.ssh)"
    )
    each.add_argument(
        "--known-hosts", metavar="FILE", default="", help="keys of hosts (~/.ssh/known_hosts)"
    )
    add_timeout(each, 60.0, "in which it must be there")
    each = actions.add("provide", "keep a node on each worker of Dask: what `add` starts")
    each.add_argument("engine", metavar="dask://HOST:PORT", help="the scheduler")
    each.add_argument("--name", metavar="POOL", default="dask", help="what they are called (dask)")
    _add_rules(each)


def _add_node_options(parser: Parser) -> None:
    parser.add_argument(
        "--name", metavar="NODE", default="", help="name as a node (the machine's; dask)"
    )
    _add_rules(parser)
    parser.add_argument("--config", metavar="FILE", help="what the machine is, a node.toml on it")
    parser.add_argument(
        "--address", metavar="HOST", default="", help="where other nodes reach it (its name)"
    )
    parser.add_argument(
        "--ports", metavar="FIRST-LAST", default="", help="ports for sockets of components"
    )
    parser.add_argument("--cores", metavar="N", type=read_number, help="processors (those found)")
    parser.add_argument(
        "--places", metavar="N", type=read_number,
        help="how many processes it takes at most (any number)",
    )  # fmt: skip


def _add_rules(parser: Parser) -> None:
    parser.add_argument(
        "--label", metavar="KEY=VALUE", action="append", default=[], help="may be given again"
    )
    parser.add_argument(
        "--allow", metavar="RULE", action="append",
        help="what it may run, as in node.toml, and nothing else; may be given again",
    )  # fmt: skip


def add_keys(tree: Tree) -> None:
    """``palm keys``."""
    actions = tree.actions(tree.add("keys", "give a cluster new keys while it runs"))
    each = actions.add("rotate", "make new keys, and start what has the old ones again, in turn")
    each.add_argument(
        "--overlap", metavar="TIME", type=read_duration, default="1h",
        help="how long those of before are good, too: 10m, 1h (default); 0: no more from now on",
    )  # fmt: skip
    each.add_argument(
        "--no-restart", action="store_true",
        help="leave what runs with the keys that it has, until it is started again",
    )  # fmt: skip
    add_timeout(each, 60.0, "in which each component must be ready again")


def add_stop(tree: Tree) -> None:
    """``palm stop``."""
    parser = tree.add("stop", "end components")
    parser.add_argument("names", metavar="NAME", nargs="*", help="names of the components")
    what = "all that this notebook started" if tree.notebook else "all of the cluster"
    parser.add_argument("--all", action="store_true", help=what)
    if tree.notebook:
        parser.add_argument(
            "--everyone", action="store_true", help="with --all: what others started, too"
        )
    else:
        parser.add_argument(
            "--grace", metavar="S", type=read_seconds, default=5.0, help="seconds before a kill (5)"
        )
    parser.check = lambda found: _check_stop(parser, found)


def _check_stop(parser: Parser, found: argparse.Namespace) -> None:
    if bool(found.names) == found.all:
        parser.error("give either names or --all")
    if getattr(found, "everyone", False) and not found.all:
        parser.error("--everyone belongs to --all")


def add_signal(tree: Tree) -> None:
    """``palm signal``."""
    parser = tree.add("signal", "send a signal to the processes of a component")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument("signal", metavar="SIGNAL", type=read_signal, help="as HUP, or SIGHUP")
    parser.add_argument(
        "--replica", metavar="N", type=read_number, help="only to this one, from 0 (to all)"
    )
