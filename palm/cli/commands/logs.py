"""``palm logs``."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Sequence
from importlib import import_module
from zlib import crc32

from palm.cli.attach import attached, past
from palm.cli.failures import FAILED, OK, CommandFailed, no_such_name
from palm.clusters import Cluster, Line, follow
from palm.clusters.output import Selection, read_lines, select_output
from palm.runner.spool import compile_pattern
from palm.runtime.folders import Folders
from palm.runtime.records import live_records

__all__ = ["run"]

#: Lines if nobody says how many, and of a time that somebody gives.
_LINES, _MOST_LINES = 100, 100_000
#: Colours of names: those that can be read on dark and on light, red is for errors.
_COLOURS = (32, 33, 34, 35, 36, 92, 93, 94, 95, 96)


def run(arguments: Namespace) -> int:
    """Show the last lines of components, and with -f those that come."""
    compile_pattern(arguments.grep)  # before anything is started
    if arguments.follow:
        # Python loses a Ctrl-C that comes in the middle of an import: none after the first line.
        import_module("palm.registry_api.live")
    past()
    names = list(dict.fromkeys(arguments.names))
    with attached() as cluster:
        if cluster is None:
            if arguments.all:
                print(f"nothing runs in cluster {Folders.find().cluster!r}", file=sys.stderr)
                return OK
            raise _unknown(names[0], [])
        _show(cluster, names, arguments)
    return OK


def _show(cluster: Cluster, names: Sequence[str], arguments: Namespace) -> None:
    chosen = [_selected(cluster, name) for name in names] or [Selection()]
    given = arguments.n
    n = given if given is not None else _LINES if arguments.since is None else _MOST_LINES
    lines, cursor = read_lines(
        cluster.registry, cluster.name, chosen, n, arguments.stream, arguments.grep,
        arguments.since,
    )  # fmt: skip
    several = _has_several(cluster, names, lines)
    printer = _Printer(
        arguments, max((len(each.process) for each in lines), default=0), several=several
    )
    for line in lines:
        printer.show(line)
    if arguments.follow:
        for line in follow(cluster, names, cursor, arguments.grep, arguments.stream):
            printer.show(line)


def _selected(cluster: Cluster, name: str) -> Selection:
    found = select_output(cluster.registry, cluster.name, name)
    if found is None:
        raise _unknown(name, [component.name for component in cluster.status().components])
    return found


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


def _has_several(cluster: Cluster, names: Sequence[str], lines: Iterable[Line]) -> bool:
    """Whether lines of several processes are to be told apart."""
    if len(names) != 1:
        return True
    name = names[0]
    if any(line.process != name for line in lines) and name in cluster:
        return cluster[name].replicas > 1 or len({line.process for line in lines}) > 1
    return False


class _Printer:
    """Prints lines one way; where several processes wrote them, each has its colour."""

    def __init__(self, arguments: Namespace, width: int, *, several: bool) -> None:
        self._json = arguments.json
        self._raw = arguments.raw
        self._timed = arguments.timestamps
        self._several = several
        #: The widest name so far: texts stand below one another.
        self._width = width
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._coloured = sys.stdout.isatty() and not plain

    def show(self, line: Line) -> None:
        text = line.raw if self._raw else line.text
        if self._json:
            found = {"process": line.process, "stream": line.stream, "text": text}
            print(json.dumps({**found, "time": line.time}), flush=True)
            return
        head = f"{_clock(line.time)} " if self._timed else ""
        if self._several:
            self._width = max(self._width, len(line.process))
            head += f"{self._painted(line.process)} | "
        print(f"{head}{text}", flush=True)

    def _painted(self, name: str) -> str:
        padded = name.ljust(self._width)
        if not self._coloured:
            return padded
        return f"\x1b[{_COLOURS[crc32(name.encode()) % len(_COLOURS)]}m{padded}\x1b[0m"


def _clock(moment: float) -> str:
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    return f"{day}.{int(moment % 1 * 1000):03}"
