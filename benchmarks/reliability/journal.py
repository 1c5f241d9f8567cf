"""What happened when, in one file that many processes add to.

Times are those of `time.monotonic`, which is the same in all processes of a machine; a line is
written at once, so that it survives whoever wrote it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Entry", "Journal", "JournalHandler"]

VARIABLE = "PALM_BENCH_JOURNAL"


class Entry(NamedTuple):
    """Something that happened in a process."""

    time: float
    word: str
    pid: int
    text: str


class Journal:
    """The file, for those who add to it (`note`) and for who reads it (`entries`)."""

    def __init__(self, path: str = "") -> None:
        self._path = path or os.environ[VARIABLE]
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._entries: list[Entry] = []
        self._at = 0

    def note(self, word: str, text: str) -> None:
        """Add a line."""
        line = f"{time.monotonic():.6f} {word} {os.getpid()} {text}\n"
        os.write(self._fd, line.encode())

    def entries(self) -> list[Entry]:
        """Return all there is by now, in the order of writing."""
        while data := os.pread(self._fd, 1 << 20, self._at):
            whole = data[: data.rfind(b"\n") + 1]
            if not whole:
                break
            self._at += len(whole)
            for line in whole.decode().splitlines():
                at, word, pid, text = line.split(" ", 3)
                self._entries.append(Entry(float(at), word, int(pid), text))
        return self._entries

    def find(self, wanted: Callable[[Entry], bool], since: float) -> Entry | None:
        """Return the first entry after a time that is wanted."""
        found = None
        for entry in reversed(self.entries()):  # what is looked for is near the end
            if entry.time < since - 1.0:  # lines of several processes are not quite in order
                break
            if entry.time > since and wanted(entry):
                found = entry
        return found

    def under_way(self, pid: int = 0) -> Entry | None:
        """Return the message that a process, or any, began last, unless it has ended."""
        ended = set()
        for entry in reversed(self.entries()):
            if pid in (0, entry.pid):
                if entry.word == "ended":
                    ended.add((entry.pid, entry.text))
                elif entry.word == "begun":
                    return None if (entry.pid, entry.text) in ended else entry
        return None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class JournalHandler(logging.Handler):
    """Adds what is logged, each line when it is logged."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Add a line."""
        self._journal.note("log", record.getMessage().replace("\n", " "))
