"""``palm logs``."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace

from palm.cli.failures import FAILED, OK, CommandFailed, no_such_name
from palm.runner.spool import STREAMS, Spool, Stream, compile_pattern, find_spool, list_spools
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.spec.text import printable

__all__ = ["run"]

#: Seconds between two looks at the files.
_POLL = 0.1
#: Bytes read at once while following.
_PART = 256 * 1024
_OVER = ("stopped", "failed")


def run(arguments: Namespace) -> int:
    """Show the last lines of a component, and with -f those that come."""
    compile_pattern(arguments.grep)
    folders = Folders.find()
    spool = _find(folders, arguments.name)
    ends = {stream: spool.complete(stream) for stream in STREAMS} if arguments.follow else {}
    for stream in STREAMS:
        text = spool.tail(stream, arguments.n, until=ends.get(stream), grep=arguments.grep)
        if text and stream == "stderr" and not (arguments.json or arguments.follow):
            print("--- stderr ---")
        _print(stream, text, arguments.json)
    if arguments.follow:
        _follow(spool, ends, arguments)
    return OK


def _find(folders: Folders, name: str) -> Spool:
    live = {record.name: record for record in live_records(folders)}
    if name in live:
        spool = Spool(folders.spool / live[name].instance)
        if spool.folder.is_dir():
            return spool
        raise CommandFailed(
            f"{name} (pid {live[name].pid}) was started in a shell: its output is there,"
            " and palm keeps none",
            FAILED,
        )
    if found := find_spool(folders.spool, name, folders.cluster):
        return found
    spooled = (s.name for _, s in list_spools(folders.spool) if s.cluster == folders.cluster)
    raise no_such_name(name, [*live, *spooled], folders.cluster)


def _print(stream: Stream, text: str, as_json: bool) -> None:
    if not as_json:
        print(text, end="", flush=True)
        return
    for line in text.splitlines():
        print(json.dumps({"stream": stream, "text": line}), flush=True)


def _follow(spool: Spool, ends: dict[Stream, int], arguments: Namespace) -> None:
    """Print whole lines as they come, until the component is over."""
    pattern = compile_pattern(arguments.grep)
    while True:
        over = _is_over(spool)  # looked at first: what was written before it is still read
        read = [_print_new(spool, stream, ends, pattern, arguments) for stream in STREAMS]
        if any(read):
            continue
        if over:
            return
        time.sleep(_POLL)


def _print_new(
    spool: Spool,
    stream: Stream,
    ends: dict[Stream, int],
    pattern: re.Pattern[str] | None,
    arguments: Namespace,
) -> bool:
    data = spool.read(stream, ends[stream], _PART)
    whole = len(data) if len(data) == _PART else data.rfind(b"\n") + 1
    ends[stream] += whole
    for line in data[:whole].decode("utf-8", "backslashreplace").splitlines():
        shown = printable(line)
        if pattern is None or pattern.search(shown):
            _print(stream, f"{shown}\n", arguments.json)
    return whole > 0


def _is_over(spool: Spool) -> bool:
    """Whether nothing will be written any more; a component that will be restarted is not over."""
    state = spool.read_state()
    if state is None or state.state in _OVER:
        return True
    return state.state != "backing-off" and state.exit is None and not state.is_running
