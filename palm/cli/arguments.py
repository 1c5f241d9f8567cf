"""The argument tree, shared by the command line and the notebook's magics.

Nothing here exits or prints: what cannot be understood is an `ArgumentsError`, and where a text
(help, the version) is all that was asked for, `HelpRequested` has it.
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from palm._version import __version__
from palm.cli.parser import (
    ArgumentsError,
    HelpRequested,
    Parser,
    read_duration,
    read_number,
    read_port,
    read_positive,
    read_seconds,
    read_size,
    read_size_or_none,
)

__all__ = [
    "ArgumentsError",
    "HelpRequested",
    "Parser",
    "build_parser",
    "component_args",
    "previous_names",
]

#: What may be said of a database where none is started.
_COPY_FROM = ("backup", "db")
_SORTS = ("name", "cpu", "rss", "in", "out", "queued", "running", "mean", "p99", "failed")
_SCOPES = ("viewer", "operator", "runner", "admin")
_TARGET = "MODULE, MODULE:Class, FILE.py or FILE.py:Class"
#: Addresses that a component can be given, and what they are for.
_PORTS = {
    "pull": "messages of clients",
    "pub": "results",
    "wpush": "messages for workers",
    "wpull": "results of workers",
    "db": "its cache",
}


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
        _add_common(parser, default=None)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    tree = _Tree(prog, notebook, commands)
    _add_up(tree)
    _add_down(tree)
    _add_master(tree)
    if not notebook:
        _add_worker(tree)
    _add_server(tree)
    _add_hub(tree)
    _add_pipeline(tree)
    _add_sink(tree)
    if notebook:
        _add_attach(tree)
        tree.add("dashboard", "show the live panel here")
    else:
        _add_runner(tree)
    _add_status(tree)
    if not notebook:
        _add_ps(tree)
    _add_top(tree)
    _add_logs(tree)
    _add_tap(tree)
    _add_stop(tree)
    _add_restart(tree)
    if notebook:
        _add_help(tree)
    else:
        _add_import(tree)
        _add_gateway(tree)
        _add_jobs(tree)
        _add_dead_letters(tree)
        _add_registry(tree)
        _add_token(tree)
        _add_user(tree)
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


class _Tree:
    """The commands of one tree while it is built."""

    def __init__(
        self, prog: str, notebook: bool, commands: argparse._SubParsersAction[Parser]
    ) -> None:
        self.notebook = notebook
        self.commands = commands
        self._prog = prog

    def add(self, name: str, summary: str) -> Parser:
        """A command, with the options that all share."""
        parser = self.commands.add_parser(
            name,
            prog=f"{self._prog} {name}",
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
        )
        if not self.notebook:
            _add_common(parser, default=argparse.SUPPRESS)
        return parser

    def actions(self, parser: Parser, *, required: bool = True) -> _Tree:
        """What a command can do, each with arguments of its own.

        An argument with names behind it would have to stand before any option.
        """
        actions = parser.add_subparsers(
            dest="action", metavar="ACTION", title="actions", required=required, parser_class=Parser
        )
        return _Tree(parser.prog, self.notebook, actions)


def _add_common(parser: Parser, default: Any) -> None:
    """Options that may stand before the command as well as after it."""
    parser.add_argument(
        "--cluster", metavar="NAME", default=default, help="the cluster (PALM_CLUSTER, default)"
    )
    parser.add_argument(
        "--registry", metavar="URL", default=default,
        help="address of its registry (PALM_REGISTRY, your own)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", default=default or False, help="print JSON")


def _add_up(tree: _Tree) -> None:
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


def _add_down(tree: _Tree) -> None:
    tree.add("down", "end the cluster: its components, its runner and, if it was the last, the"
             " registry")  # fmt: skip


def _add_attach(tree: _Tree) -> None:
    parser = tree.add("attach", "use a cluster that runs")
    parser.add_argument("name", metavar="CLUSTER", nargs="?", help="its name (the only one)")


def _add_master(tree: _Tree) -> None:
    parser = tree.add("master", "run a master")
    _add_name(parser)
    _add_ports(parser, "pull", "pub", "wpush", "wpull", "db")
    parser.add_argument(
        "--durable", action="store_true",
        help="fail at the start, not at the first durable job, if it can keep no journal",
    )  # fmt: skip
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def _add_server(tree: _Tree) -> None:
    parser = tree.add("server", "run a server: functions for clients, in one process")
    _add_target(parser)
    _add_name(parser)
    _add_ports(parser, "pull", "pub", "db")
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def _add_hub(tree: _Tree) -> None:
    parser = tree.add("hub", "run a hub: a master of what another component makes")
    _add_name(parser)
    _add_previous(parser)
    _add_ports(parser, "pub", "wpush", "wpull", "db")
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def _add_pipeline(tree: _Tree) -> None:
    parser = tree.add("pipeline", "run a pipeline: functions on what another component makes")
    _add_stage(tree, parser)


def _add_sink(tree: _Tree) -> None:
    parser = tree.add("sink", "run a sink: functions on what several components make")
    _add_stage(tree, parser)


def _add_stage(tree: _Tree, parser: Parser) -> None:
    _add_target(parser)
    _add_name(parser)
    _add_previous(parser)
    _add_ports(parser, "pub", "db")
    parser.add_argument(
        "--to-client", action=argparse.BooleanOptionalAction, default=None,
        help="results go to the client, as they do by default; else to the components behind it",
    )  # fmt: skip
    _add_start(parser) if tree.notebook else _add_detach(parser)


def _add_name(parser: Parser) -> None:
    parser.add_argument("--name", metavar="NAME", required=True, help="its name")


def _add_ports(parser: Parser, *ports: str) -> None:
    for port in ports:
        parser.add_argument(f"--{port}", metavar="ADDRESS", help=f"address for {_PORTS[port]}")


def _add_pipelined(parser: Parser) -> None:
    parser.add_argument(
        "--pipelined", action="store_true",
        help="results go to the components behind it, not to the client",
    )  # fmt: skip


def _add_previous(parser: Parser) -> None:
    parser.add_argument(
        "--previous", metavar="P[,P]",
        help="whose results it takes: NAME, or NAME/TOPIC; several with commas",
    )  # fmt: skip
    parser.add_argument(
        "--sub", metavar="A[,A]",
        help="addresses of those, in the same order; without, they are found by their names",
    )  # fmt: skip


def _add_target(parser: Parser) -> None:
    parser.add_argument("target", metavar="TARGET", nargs="?", help=f"what it serves: {_TARGET}")
    # What a notebook hands over of a cell.
    parser.add_argument("--push-file", help=argparse.SUPPRESS)
    parser.add_argument("--source-name", default="", help=argparse.SUPPRESS)


def previous_names(found: argparse.Namespace) -> list[str]:
    """Names of the components whose results one takes; those at addresses are not known."""
    values = vars(found)
    if values.get("sub"):
        return []
    names = (each.strip().partition("/")[0] for each in (values.get("previous") or "").split(","))
    return [name for name in names if name]


def component_args(found: argparse.Namespace) -> list[str]:
    """The options of a component, for a command line; not its name, and not how it is started."""
    values = vars(found)
    args = []
    for option in ("previous", "sub", *_PORTS):
        if values.get(option):
            args += [f"--{option}", values[option]]
    args += [f"--{flag}" for flag in ("durable", "pipelined") if values.get(flag)]
    if values.get("to_client") is not None:
        args.append("--to-client" if values["to_client"] else "--no-to-client")
    return args


def _add_worker(tree: _Tree) -> None:
    parser = tree.add("worker", "run a worker")
    _add_target(parser)
    parser.add_argument("--master", metavar="MASTER", help="name or address of its master")
    parser.add_argument("--name", metavar="NAME", help="its name; made up if not given")
    parser.add_argument(
        "--max-tasks",
        metavar="N",
        type=read_positive,
        help="start anew after so many messages",
    )
    parser.add_argument(
        "--max-rss", metavar="SIZE", type=read_size,
        help="be started anew with more memory than this: 500M, 2G",
    )  # fmt: skip
    parser.add_argument(
        "--http", metavar="URL", help="its functions are behind a URL, in place of TARGET"
    )
    parser.add_argument("--functions", metavar="A,B", help="with --http: serve only these")
    parser.add_argument(
        "--pool", metavar="N", type=read_positive, help="with --http: posts under way at once (4)"
    )
    parser.add_argument("--token-file", metavar="FILE", help="with --http: the token to send")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="with --http: trust what is there with pickles"
    )
    _add_detach(parser)
    parser.check = lambda found: _check_worker(parser, found)


def _check_worker(parser: Parser, found: argparse.Namespace) -> None:
    if found.kernel and (found.max_tasks or found.max_rss):
        parser.error("a kernel is not started anew: leave --max-tasks and --max-rss out")
    if found.http:
        _refuse_with_http(parser, found)
    elif found.functions or found.pool or found.token_file or found.allow_pickle:
        parser.error("--functions, --pool, --token-file and --allow-pickle belong to --http")


def _refuse_with_http(parser: Parser, found: argparse.Namespace) -> None:
    if found.target:
        parser.error("give either a TARGET or --http URL")
    if found.kernel or found.max_tasks or found.max_rss:
        parser.error("--kernel, --max-tasks and --max-rss are for functions that run here")


def _add_import(tree: _Tree) -> None:
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


def _add_gateway(tree: _Tree) -> None:
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


def _add_runner(tree: _Tree) -> None:
    parser = tree.add("runner", "run what a registry assigns to this machine")
    parser.add_argument("--name", metavar="NODE", help="name as a node (that of the machine)")
    parser.add_argument("--config", metavar="FILE", help="what this machine is, a node.toml")
    parser.add_argument("--address", metavar="HOST", help="where other nodes reach this one")
    parser.add_argument(
        "--ports", metavar="FIRST-LAST", help="ports for sockets of components (any free ones)"
    )
    # For a registry and a cluster that are being made by whoever started this one.
    parser.add_argument("--patience", type=read_seconds, default=0.0, help=argparse.SUPPRESS)


def _add_status(tree: _Tree) -> None:
    tree.add("status", "show the components of the cluster, and what is missing")


def _add_ps(tree: _Tree) -> None:
    tree.add("ps", "show the processes of the cluster")


def _add_top(tree: _Tree) -> None:
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


def _add_restart(tree: _Tree) -> None:
    parser = tree.add("restart", "replace the processes of a component by new ones")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=30.0,
        help="seconds in which it must be ready (30)",
    )  # fmt: skip


def _add_logs(tree: _Tree) -> None:
    parser = tree.add("logs", "show the output of a component")
    parser.add_argument("name", metavar="NAME", help="name of the component")
    parser.add_argument(
        "-n", metavar="N", type=read_number, default=100, help="how many lines (100)"
    )
    parser.add_argument("--grep", metavar="RE", help="only lines that match this expression")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")


def _add_tap(tree: _Tree) -> None:
    if tree.notebook:
        return
    parser = tree.add("tap", "show the live messages of a component")
    parser.add_argument("name", metavar="NAME", help="name, or an address, of the component")
    parser.add_argument("-n", metavar="N", type=read_number, help="end after so many messages")
    parser.add_argument(
        "--edge", metavar="A>B", action="append", default=[],
        help="only what goes from A to B: names, clients or workers; may be given again",
    )  # fmt: skip
    _add_timeout(parser, 10.0, "seconds to wait for the component")


def _add_stop(tree: _Tree) -> None:
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


def _add_jobs(tree: _Tree) -> None:
    parser = tree.add("jobs", "look after durable jobs, which outlive their clients")
    actions = tree.actions(parser)
    each = actions.add("list", "list the durable jobs of masters")
    each.add_argument("master", metavar="MASTER", nargs="?", help="which master (all that run)")
    _add_timeout(each, 10.0, "in which a master must answer")
    each = actions.add("cancel", "end durable jobs, and forget them and their results")
    each.add_argument("ids", metavar="ID", nargs="+", help="which, as list shows them")
    each.add_argument("--master", metavar="MASTER", help="the master that has them (any)")
    _add_timeout(each, 10.0, "in which a master must answer")


def _add_dead_letters(tree: _Tree) -> None:
    parser = tree.add("dead-letters", "look after messages that ended every worker that ran them")
    actions = tree.actions(parser)
    actions.add("list", "list them")
    each = actions.add("replay", "send messages again, and remove those that have a result then")
    _add_letters(each)
    _add_timeout(each, 60.0, "in which each must have an outcome")
    _add_letters(actions.add("remove", "remove them for good"))


def _add_token(tree: _Tree) -> None:
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


def _add_user(tree: _Tree) -> None:
    actions = tree.actions(tree.add("user", "look after users who have clusters of their own"))
    each = actions.add("add", "make a user; then make a token for it")
    each.add_argument("name", metavar="NAME", help="name of the user")
    actions.add("list", "list the users, with their clusters and tokens")
    each = actions.add("remove", "forget a user without clusters, and revoke its tokens")
    each.add_argument("name", metavar="NAME", help="name of the user")


def _add_letters(parser: Parser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", help="which, as list shows them")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.check = lambda found: _check_letters(parser, found)


def _check_letters(parser: Parser, found: argparse.Namespace) -> None:
    if bool(found.ids) == found.all:
        parser.error("give either IDs or --all")


def _add_timeout(parser: Parser, seconds: float, what: str) -> None:
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=seconds,
        help=f"seconds {what} ({seconds:g})",
    )  # fmt: skip


def _add_registry(tree: _Tree) -> None:
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
        "--i-understand-this-exposes-code-execution", dest="exposed", action="store_true",
        help="listen elsewhere without TLS: who reads along can start programs as you",
    )  # fmt: skip
    actions = tree.actions(parser, required=False)
    _add_registry_actions(actions)
    parser.check = lambda found: _check_registry(parser, found)


def _add_registry_actions(actions: _Tree) -> None:
    each = actions.add("backup", "copy the database, also while the registry runs")
    each.add_argument("file", metavar="FILE", help="the copy: to be put in place of the database")
    each.add_argument("--force", action="store_true", help="also if FILE is there")
    each.add_argument(
        "--db", metavar="URL", default=argparse.SUPPRESS,
        help="the database, if no registry runs (that in the state folder)",
    )  # fmt: skip
    each = actions.add("restart", "let the registry start anew, with the code that is there now")
    _add_timeout(each, 30.0, "in which it must be there again")
    actions.add("status", "show where the registry is, its version, and what it holds")


def _check_registry(parser: Parser, found: argparse.Namespace) -> None:
    options = ("host", "port", "tls", "certfile", "keyfile", "hostname", "retain_size",
               "retain_age", "move_after", "exposed", "db")  # fmt: skip
    for option in options if found.action else ():
        if vars(found)[option] not in (None, False, []) and (found.action, option) != _COPY_FROM:
            text = f"--{option.replace('_', '-')} is for a start, and not for {found.action}"
            parser.error(text)


def _add_help(tree: _Tree) -> None:
    parser = tree.add("help", "explain a command")
    known = list(tree.commands.choices)
    parser.add_argument("topic", metavar="COMMAND", nargs="?", choices=known, help="the command")


def _add_detach(parser: Parser) -> None:
    parser.add_argument(
        "-d", "--detach", action="store_true", help="run in the background, once it is ready"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=read_seconds, default=30.0,
        help="with -d: seconds in which it must be ready (30)",
    )  # fmt: skip
    parser.add_argument("--kernel", action="store_true", help="with -d: as an ipykernel")
    parser.add_argument(
        "--replace", action="store_true",
        help="with -d: start anew, in place of what runs under the name",
    )  # fmt: skip


def _add_start(parser: Parser) -> None:
    parser.add_argument(
        "--replace", action="store_true", help="start anew, in place of what runs under the name"
    )
    parser.add_argument("--kernel", action="store_true", help="run it as an ipykernel")
    parser.add_argument(
        "-o", "--out", metavar="VAR", default="", help="put the component into this variable"
    )
