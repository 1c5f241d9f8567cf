"""The argument tree, shared by the command line and the notebook's magics.

Nothing here exits or prints: what cannot be understood is an `ArgumentsError`, and where a text
(help, the version) is all that was asked for, `HelpRequested` has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from palm._version import __version__
from palm.cli.overview import arrange
from palm.cli.parser import ArgumentsError, HelpRequested, Parser
from palm.cli.tree import clusters, components, files, inside, jobs, looking, registry, upkeep
from palm.cli.tree.base import Tree, add_common
from palm.cli.tree.components import component_args, previous_names

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


def build_parser(prog: str = "palm", notebook: bool = False, only: str = "") -> Parser:
    """The tree of ``palm`` in a shell, or of ``%palm`` in a notebook.

    The result's ``command`` names the command. Without one, help is what was asked for. With
    ``only`` it knows this command and no other, which is made in a fraction of the time.
    """
    parser = Parser(prog, description="Interactive clusters of named components.")
    if not notebook:
        parser.add_argument("--version", action=_VersionAction, nargs=0, help="show the version")
        add_common(parser, default=None)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    tree = Tree(prog, notebook, commands)
    for name, (add, where) in _COMMANDS.items():
        if where in ("", "notebook" if notebook else "shell") and only in ("", name):
            add(tree)
    parser.check = lambda found: _explain(parser, commands, found)
    if not notebook:
        arrange(parser, commands)
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


def _add_dashboard(tree: Tree) -> None:
    tree.add("dashboard", "show the live panel here")


def _add_ui(tree: Tree) -> None:
    tree.add("ui", "print an address that opens the registry's page, once, for half a minute")


def _add_version(tree: Tree) -> None:
    tree.add("version", "show the versions of palm, and of what runs of it")


#: What makes each command, and where it is: in a shell, in a notebook, or in both ("").
_COMMANDS: dict[str, tuple[Callable[[Tree], None], str]] = {
    "up": (clusters.add_up, ""),
    "down": (clusters.add_down, ""),
    "master": (components.add_master, ""),
    "worker": (components.add_worker, "shell"),
    "server": (components.add_server, ""),
    "hub": (components.add_hub, ""),
    "pipeline": (components.add_pipeline, ""),
    "sink": (components.add_sink, ""),
    "attach": (clusters.add_attach, "notebook"),
    "dashboard": (_add_dashboard, "notebook"),
    "runner": (clusters.add_runner, "shell"),
    "status": (looking.add_status, ""),
    "ps": (looking.add_ps, "shell"),
    "top": (looking.add_top, ""),
    "logs": (looking.add_logs, ""),
    "events": (looking.add_events, "shell"),
    "tap": (looking.add_tap, "shell"),
    "nodes": (clusters.add_nodes, "shell"),
    "stop": (clusters.add_stop, ""),
    "start": (clusters.add_start, "shell"),
    "restart": (clusters.add_restart, ""),
    "scale": (clusters.add_scale, ""),
    "signal": (clusters.add_signal, ""),
    "exec": (inside.add_exec, "shell"),
    "check": (files.add_check, "shell"),
    "diff": (files.add_diff, "shell"),
    "apply": (files.add_apply, "shell"),
    "history": (files.add_history, "shell"),
    "rollback": (files.add_rollback, "shell"),
    "import": (files.add_import, "shell"),
    "job": (jobs.add_job, "shell"),
    "jobs": (jobs.add_jobs, "shell"),
    "dead-letters": (jobs.add_dead_letters, "shell"),
    "gateway": (jobs.add_gateway, "shell"),
    "registry": (registry.add_registry, "shell"),
    "token": (registry.add_token, "shell"),
    "user": (registry.add_user, "shell"),
    "keys": (clusters.add_keys, "shell"),
    "doctor": (upkeep.add_doctor, "shell"),
    "gc": (upkeep.add_gc, "shell"),
    "completion": (upkeep.add_completion, "shell"),
    "ui": (_add_ui, "shell"),
    "version": (_add_version, "shell"),
    "help": (_add_help, "notebook"),
}
