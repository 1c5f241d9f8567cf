"""``palm tap``."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime
from itertools import islice
from shutil import get_terminal_size

from palm.cli.failures import NOT_READY, OK, CommandFailed, no_such_name
from palm.clients.tap import Sighting, Tap
from palm.errors import ConnectTimeout
from palm.runtime.folders import Folders
from palm.runtime.records import live_records
from palm.spec.endpoint import parse_address
from palm.spec.text import printable

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Show what passes through a component until it is interrupted, or has shown enough."""
    _check_edges(arguments.edge)
    with Tap(arguments.name, arguments.edge, connect_timeout=arguments.timeout) as tap:
        try:
            for sighting in islice(tap, arguments.n):
                print(_json(sighting) if arguments.json else _line(sighting), flush=True)
        except ConnectTimeout as error:
            raise _not_there(arguments.name, str(error)) from error
    return OK


def _check_edges(edges: list[str]) -> None:
    for edge in edges:
        source, arrow, target = edge.partition(">")
        if not (source and arrow and target):
            hint = "it is like 'clients>first', 'first>second' or 'first>workers'"
            raise CommandFailed(f"{edge!r} is no edge; {hint}", 2)


def _not_there(name: str, text: str) -> CommandFailed:
    records = {record.name: record for record in live_records(Folders.find())}
    if isinstance(parse_address(name), str) and name not in records:
        listening = [record.name for record in records.values() if record.endpoints]
        return no_such_name(name, listening, Folders.find().cluster)
    if name in records and not records[name].endpoints:
        hint = f"tap its master: palm tap {records[name].master or 'NAME'}"
        return CommandFailed(f"{name} is a {records[name].role}, nobody connects to it; {hint}", 1)
    return CommandFailed(text, NOT_READY)


def _line(sighting: Sighting) -> str:
    at = f"{datetime.fromtimestamp(sighting.time, UTC).astimezone():%H:%M:%S.%f}"[:-3]
    skipped = f"{at}  ... {sighting.skipped:,} messages skipped ..." if sighting.skipped else ""
    if not sighting.source:
        return skipped
    edge = f"{sighting.source} > {sighting.target}"
    what = printable(f"{sighting.function} #{sighting.index}")
    head = f"{at}  {edge:<24} {what:<24} "
    line = head + _value(sighting, max(30, get_terminal_size((140, 24)).columns - len(head)))
    return f"{skipped}\n{line}" if skipped else line


def _value(sighting: Sighting, width: int) -> str:
    if sighting.error:
        text = f"failed: {sighting.error}"
    elif sighting.several:
        text = f"{len(sighting.value)} results {sighting.value!r}"
    else:
        text = repr(sighting.value)
    text = " ".join(printable(text).split())
    return text if len(text) <= width else text[: width - 3] + "..."


def _json(sighting: Sighting) -> str:
    fields = {name: getattr(sighting, name) for name in sighting.__slots__}
    return json.dumps(fields, default=repr)
