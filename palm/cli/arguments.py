"""The argument tree, shared by the command line and the notebook's magics.

Nothing here exits or prints: what cannot be understood is an `ArgumentsError`, and where a text
(help, the version) is all that was asked for, `HelpRequested` has it.
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from palm._version import __version__
from palm.cli.parser import ArgumentsError, HelpRequested, Parser
from palm.cli.tree.base import Tree, add_common
from palm.cli.tree.clusters import (
    add_attach,
    add_down,
    add_nodes,
    add_restart,
    add_runner,
    add_scale,
    add_start,
    add_stop,
    add_up,
)
from palm.cli.tree.components import (
    add_hub,
    add_master,
    add_pipeline,
    add_server,
    add_sink,
    add_worker,
    component_args,
    previous_names,
)
from palm.cli.tree.files import (
    add_apply,
    add_check,
    add_diff,
    add_history,
    add_import,
    add_rollback,
)
from palm.cli.tree.inside import add_exec
from palm.cli.tree.jobs import add_dead_letters, add_gateway, add_job, add_jobs
from palm.cli.tree.looking import add_events, add_logs, add_ps, add_status, add_tap, add_top
from palm.cli.tree.registry import add_registry, add_token, add_user

__all__ = [
    "ArgumentsError",
    "HelpRequested",
    "Parser",
    "build_parser",
    "component_args",
    "previous_names",
]


class _VersionAction(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise HelpRequested(f"palm {__version__}\n")


def build_parser(prog: str = "palm", notebook: bool = False) -> Parser:
    """The tree of ``palm`` in a shell, or of ``%palm`` in a notebook.

    The result's ``command`` names the command. Without one, help is what was asked for.
    """
    parser = Parser(prog, description="Interactive clusters of named components.")
    if not notebook:
        parser.add_argument("--version", action=_VersionAction, nargs=0, help="show the version")
        add_common(parser, default=None)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    tree = Tree(prog, notebook, commands)
    add_up(tree)
    add_down(tree)
    add_master(tree)
    if not notebook:
        add_worker(tree)
    add_server(tree)
    add_hub(tree)
    add_pipeline(tree)
    add_sink(tree)
    if notebook:
        add_attach(tree)
    else:
        add_runner(tree)
    add_status(tree)
    if not notebook:
        add_ps(tree)
    add_top(tree)
    add_logs(tree)
    add_tap(tree)
    add_stop(tree)
    add_restart(tree)
    add_scale(tree)
    if notebook:
        _add_help(tree)
    else:
        add_start(tree)
        add_nodes(tree)
        add_exec(tree)
        add_events(tree)
        add_check(tree)
        add_diff(tree)
        add_apply(tree)
        add_history(tree)
        add_rollback(tree)
        add_import(tree)
        add_job(tree)
        add_gateway(tree)
        add_jobs(tree)
        add_dead_letters(tree)
        add_registry(tree)
        add_token(tree)
        add_user(tree)
        tree.add("ui", "print an address that opens the registry's page, once, for half a minute")
        tree.add("version", "show the version")
    parser.check = lambda found: _explain(parser, commands, found)
    return parser


def _explain(
    parser: Parser, commands: argparse._SubParsersAction[Parser], found: argparse.Namespace
) -> None:
    if found.command is None or (found.command == "help" and found.topic is None):
        raise HelpRequested(parser.format_help())
    if found.command == "help":
        raise HelpRequested(commands.choices[found.topic].format_help())


def _add_help(tree: Tree) -> None:
    parser = tree.add("help", "explain a command")
    known = list(tree.commands.choices)
    parser.add_argument("topic", metavar="COMMAND", nargs="?", choices=known, help="the command")
