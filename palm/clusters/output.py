"""What components wrote, as lines: from the registry's records, whole or as they come."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from palm.errors import ConfigError
from palm.registry_api.client import RegistryClient
from palm.registry_api.schema import OutputRecord
from palm.runner.spool import STREAMS, compile_pattern
from palm.spec.text import printable

__all__ = [
    "Line",
    "LineReader",
    "Selection",
    "last_lines",
    "read_lines",
    "select_output",
    "shown",
]

#: Characters without a newline after which a line is shown all the same.
LONGEST_LINE = 64 * 1024


class Line(NamedTuple):
    """A line that a process wrote, safe to show. ``instance`` is the life of it that did.

    ``raw`` is what it wrote, with what a terminal would obey.
    """

    process: str
    stream: str
    text: str
    time: float
    instance: str = ""
    raw: str = ""


class LineReader:
    """Makes lines of records as they come, for each stream of each instance by itself."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], _OpenLine] = {}

    def skips(self, record: OutputRecord) -> bool:
        """Whether bytes before a record were left out."""
        line = self._open.get((record.instance, record.stream))
        return record.offset != (0 if line is None else line.offset)

    def read(self, record: OutputRecord) -> Iterator[Line]:
        """Yield the lines that a record completes."""
        key = (record.instance, record.stream)
        line = self._open.get(key)
        if line is None or line.offset != record.offset:
            # Bytes before it were left out, so it may begin within a line, or a character.
            line = self._open[key] = _OpenLine(record.offset)
        if record.lost:
            self._open[key] = _OpenLine(record.end)
            yield from (_line(record, text) for text in filter(None, (line.text, _shown(record))))
            return
        for text in line.take(record.raw):
            yield _line(record, text)

    def rest(self, instance: str) -> Iterator[tuple[str, str]]:
        """Yield stream and text of what an instance that is over left without a newline."""
        for (whose, stream), line in list(self._open.items()):
            if whose == instance:
                del self._open[whose, stream]
                if line.text:
                    yield stream, printable(line.text)


class _OpenLine:
    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def take(self, data: bytes) -> list[str]:
        self.offset += len(data)
        *lines, self.text = (self.text + self._decoder.decode(data)).split("\n")
        if len(self.text) > LONGEST_LINE:
            lines.append(self.text)
            self.text = ""
        return lines


def last_lines(records: Iterable[OutputRecord], n: int) -> list[Line]:
    """Return the last ``n`` of records that are lines."""
    lines = [_line(record, _shown(record)) for record in records]
    return lines[-n:] if n else []


def _shown(record: OutputRecord) -> str:
    """A record as a line, be it one that tells of what is lost."""
    if record.lost:
        return (record.text or f"[palm: {record.lost:,} bytes of output are lost here]").rstrip(
            "\n"
        )
    return record.raw.decode("utf-8", "backslashreplace").rstrip("\n")


class Selection(NamedTuple):
    """Whose output is meant: that of a component, or else of one process of it; or else all."""

    component: str = ""
    process: str = ""

    @property
    def name(self) -> str:
        """The name that was given for it."""
        return self.process or self.component

    def has(self, record: OutputRecord) -> bool:
        """Whether a record is meant."""
        return not self.name or self.name in (record.component, record.name)


def select_output(client: RegistryClient, cluster: str, name: str) -> Selection | None:
    """Return what is meant by a name; None if nothing of that name ever wrote anything."""
    components = client.components(cluster)
    if any(each.name == name for each in components):
        return Selection(name)
    for each in components:
        if any(replica.name == name for replica in each.replicas):
            return Selection(each.name, name)
    if client.output(cluster, name, lines=1).records:
        return Selection(name)
    for record in client.output(cluster, name=name, lines=1).records:
        return Selection(record.component, name)
    return None


def read_lines(
    client: RegistryClient,
    cluster: str,
    selections: Sequence[Selection],
    n: int,
    stream: str | None = None,
    grep: str | None = None,
    since: float | None = None,
) -> tuple[list[Line], str]:
    """Return the last ``n`` lines of all that is meant, and where the live feed goes on.

    ``since`` is a time, before which lines do not count.

    Raises
    ------
    ConfigError
        There is no such stream, or ``grep`` is not a regular expression.
    """
    if stream is not None and stream not in STREAMS:
        raise ConfigError(f"no such stream: {stream!r}", hint="stdout or stderr")
    compile_pattern(grep)  # before anything is read
    one = selections[0].process if len(selections) == 1 else ""
    owners = [] if one else sorted({each.component for each in selections} - {""})
    found: list[OutputRecord] = []
    page = None
    cursor = ""
    while page is None or (page.more and page.first and len(found) < n):
        page = client.output(
            cluster, owners, name=one, stream=stream, lines=n, regex=grep, since=since,
            before="" if page is None else page.first,
        )  # fmt: skip
        cursor = cursor or page.cursor
        # Of some components only a process is meant, which one question cannot say.
        wanted = [r for r in page.records if any(each.has(r) for each in selections)]
        found = [*wanted, *found]
    return last_lines(found, n), cursor


def shown(lines: Iterable[Line], *, tell_apart: bool) -> list[str]:
    """Return lines as text; ``tell_apart`` puts the name of its process before each."""
    return [f"{line.process} | {line.text}" if tell_apart else line.text for line in lines]


def _line(record: OutputRecord, text: str) -> Line:
    shown = printable(text)
    return Line(record.name, record.stream, shown, record.time, record.instance, text)
