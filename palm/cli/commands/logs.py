"""``palm logs``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from importlib import import_module

from palm.cli.attach import attached, past
from palm.cli.failures import FAILED, OK, CommandFailed, no_such_name
from palm.clusters import Cluster, Line, follow
from palm.runner.spool import compile_pattern
from palm.runtime.folders import Folders
from palm.runtime.records import live_records

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Show the last lines of a component, and with -f those that come."""
    compile_pattern(arguments.grep)  # before anything is started
    if arguments.follow:
        # Python loses a Ctrl-C that comes in the middle of an import: none after the first line.
        import_module("palm.registry_api.live")
    past()
    with attached() as cluster:
        if cluster is None:
            raise _unknown(arguments.name, [])
        _check(cluster, arguments.name)
        lines, cursor = cluster.lines(arguments.name, arguments.n, grep=arguments.grep)
        several = _has_several(cluster, arguments.name, lines)
        for line in lines:
            _print(line, arguments, several=several)
        if arguments.follow:
            for line in follow(cluster, arguments.name, cursor, arguments.grep):
                _print(line, arguments, several=several)
    return OK


def _check(cluster: Cluster, name: str) -> None:
    if not cluster.has_output(name):
        raise _unknown(name, [component.name for component in cluster.status().components])


def _unknown(name: str, known: list[str]) -> CommandFailed:
    folders = Folders.find()
    records = {record.name: record for record in live_records(folders)}
    if name in records:
        return CommandFailed(
            f"{name} (pid {records[name].pid}) was started in a shell: its output is there,"
            " and palm keeps none",
            FAILED,
        )
    return no_such_name(name, [*known, *records], folders.cluster)


def _has_several(cluster: Cluster, name: str, lines: Iterable[Line]) -> bool:
    """Whether lines of several processes are to be told apart."""
    if any(line.process != name for line in lines) and name in cluster:
        return cluster[name].replicas > 1 or len({line.process for line in lines}) > 1
    return False


def _print(line: Line, arguments: Namespace, *, several: bool) -> None:
    if arguments.json:
        found = {"process": line.process, "stream": line.stream, "text": line.text}
        print(json.dumps({**found, "time": line.time}), flush=True)
    else:
        print(f"{line.process} | {line.text}" if several else line.text, flush=True)
