"""Whether the registry has the lines that the processes of a cluster wrote: all, once, in order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["compare", "is_complete", "read_said", "stored_lines"]

_LINE = re.compile(rb"said (\S+) \d+ [^\n]*\n")

#: By process, as it calls itself.
Lines = Mapping[str, list[bytes]]


def read_said(folder: Path) -> dict[str, list[bytes]]:
    """Return the lines that each process wrote, by its own file."""
    return {path.name: path.read_bytes().splitlines(keepends=True) for path in folder.iterdir()}


def stored_lines(streams: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Return the lines of each process that are in streams, in their order."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for stream in streams:
        for match in _LINE.finditer(stream):
            found[match[1].decode()].append(match[0])
    return found


def is_complete(said: Lines, stored: Lines) -> bool:
    """Whether all is stored that must have been written: only a last line may be missing."""
    return all(len(stored.get(process, ())) >= len(lines) - 1 for process, lines in said.items())


def compare(said: Lines, stored: Lines) -> list[str]:
    """Say what is not as it was written.

    The last line of a process may be missing, or may lack its end: it was noted, and then the
    process was killed.
    """
    complaints = [
        f"lines of {process}, which wrote none" for process in stored.keys() - said.keys()
    ]
    for process, lines in said.items():
        there = stored.get(process, [])
        sure = len(lines) - 1
        if len(there) < sure:
            complaints.append(f"{process}: {sure - len(there)} of {sure} lines are missing")
        elif len(there) > len(lines):
            complaints.append(f"{process}: {len(there) - len(lines)} lines too many")
        elif there[:sure] != lines[:sure]:
            first = next(at for at in range(sure) if there[at] != lines[at])
            complaints.append(f"{process}: line {first} is {there[first]!r}, not {lines[first]!r}")
        elif there[sure:] and not lines[sure].startswith(there[sure].rstrip(b"\n")):
            complaints.append(f"{process}: its last line is {there[sure]!r}")
    return complaints
