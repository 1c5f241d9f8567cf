"""Arguments of the commands that are a component."""

from __future__ import annotations

import argparse

from palm.cli.parser import Parser, read_positive, read_seconds, read_size
from palm.cli.tree.base import Tree

__all__ = [
    "add_hub",
    "add_master",
    "add_pipeline",
    "add_server",
    "add_sink",
    "add_worker",
    "component_args",
    "previous_names",
]

_TARGET = "MODULE, MODULE:Class, FILE.py or FILE.py:Class"
#: Addresses that a component can be given, and what they are for.
_PORTS = {
    "pull": "messages of clients",
    "pub": "results",
    "wpush": "messages for workers",
    "wpull": "results of workers",
    "db": "its cache",
}


def add_master(tree: Tree) -> None:
    """``palm master``."""
    parser = tree.add("master", "run a master")
    _add_name(parser)
    _add_ports(parser, "pull", "pub", "wpush", "wpull", "db")
    parser.add_argument(
        "--durable", action="store_true",
        help="fail at the start, not at the first durable job, if it can keep no journal",
    )  # fmt: skip
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def add_server(tree: Tree) -> None:
    """``palm server``."""
    parser = tree.add("server", "run a server: functions for clients, in one process")
    _add_target(parser)
    _add_name(parser)
    _add_ports(parser, "pull", "pub", "db")
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def add_hub(tree: Tree) -> None:
    """``palm hub``."""
    parser = tree.add("hub", "run a hub: a master of what another component makes")
    _add_name(parser)
    _add_previous(parser)
    _add_ports(parser, "pub", "wpush", "wpull", "db")
    _add_pipelined(parser)
    _add_start(parser) if tree.notebook else _add_detach(parser)


def add_pipeline(tree: Tree) -> None:
    """``palm pipeline``."""
    parser = tree.add("pipeline", "run a pipeline: functions on what another component makes")
    _add_stage(tree, parser)


def add_sink(tree: Tree) -> None:
    """``palm sink``."""
    parser = tree.add("sink", "run a sink: functions on what several components make")
    _add_stage(tree, parser)


def add_worker(tree: Tree) -> None:
    """``palm worker``."""
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
    parser.add_argument(
        "--dask", metavar="HOST:PORT", help="a Dask cluster runs its functions: its scheduler"
    )
    parser.add_argument(
        "--executor", metavar="MODULE:FUNCTION",
        help="so does what this function returns, a concurrent.futures.Executor",
    )  # fmt: skip
    parser.add_argument(
        "--slots", metavar="N", type=read_positive,
        help="with --dask or --executor: batches there at once",
    )  # fmt: skip
    _add_detach(parser)
    parser.check = lambda found: _check_worker(parser, found)


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


def _add_stage(tree: Tree, parser: Parser) -> None:
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


def _check_worker(parser: Parser, found: argparse.Namespace) -> None:
    if found.kernel and (found.max_tasks or found.max_rss):
        parser.error("a kernel is not started anew: leave --max-tasks and --max-rss out")
    if found.http:
        _refuse_with_http(parser, found)
        return
    if found.dask or found.executor:
        _check_executor(parser, found)
    elif found.slots:
        parser.error("--slots belongs to --dask and --executor")
    if found.functions or found.pool or found.token_file or found.allow_pickle:
        parser.error("--functions, --pool, --token-file and --allow-pickle belong to --http")


def _refuse_with_http(parser: Parser, found: argparse.Namespace) -> None:
    if found.target:
        parser.error("give either a TARGET or --http URL")
    if found.kernel or found.max_tasks or found.max_rss:
        parser.error("--kernel, --max-tasks and --max-rss are for functions that run here")
    if found.dask or found.executor or found.slots:
        parser.error("give one of --http, --dask and --executor")


def _check_executor(parser: Parser, found: argparse.Namespace) -> None:
    if found.dask and found.executor:
        parser.error("give either --dask or --executor")
    if found.kernel or found.max_tasks or found.max_rss:
        parser.error("--kernel, --max-tasks and --max-rss are for functions that run here")


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
