"""Output of supervised processes: append-only files that outlive both ends.

A process writes straight into the files, so neither a supervisor that dies nor a reader that is
slow can lose output or hold the process up. One folder an instance::

    spool/<instance>/stdout
    spool/<instance>/stderr
    spool/<instance>/state.json      SpoolState, replaced whole
    spool/<instance>/acked.json      how much of each stream a registry has stored
    spool/<instance>/freed           where the bytes of each stream begin (`palm.runner.freed`)

The beginning of a stream is freed once a registry has stored it, so a file may begin with a hole;
offsets count from the start all the same.

An instance is named ``<component>.<random>``; the runs of a process that is restarted share it.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from palm.errors import ConfigError
from palm.files import privatefile
from palm.runner.freed import Freed, first_data, read_freed, write_freed
from palm.runtime.folders import private_folder
from palm.runtime.records import is_running
from palm.spec.names import check_name
from palm.spec.process import ProcessSpec
from palm.spec.text import printable

__all__ = ["STREAMS", "Spool", "SpoolState", "Stream", "find_spool", "list_spools", "make_spool"]

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")

#: Folders kept for one component name: the one in use and those of earlier starts.
KEPT_PER_NAME = 5
#: Bytes read at once from the end of a file.
_BLOCK = 64 * 1024
#: Bytes after which a line is cut when it is looked for from the end: a file without newlines
#: must not fill the memory.
_LONGEST_LINE = 1024 * 1024

_WHOLE = Freed()
_INSTANCE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,64})\.[0-9a-f]{6}")


class SpoolState(msgspec.Struct, kw_only=True):
    """What is known of the process behind a spool.

    ``state`` is what its supervisor says, "detached" if it has none. ``exit`` is None while it
    runs, or if nobody was there to see it end; minus the number of a signal, if one ended it.
    Times are seconds since the epoch.

    ``node`` is that of the runner which keeps it, "" if it ends with its supervisor. ``spec`` is
    what was started, ``asked`` whether it was told to stop.
    """

    schema: int = 1
    instance: str
    name: str
    role: str = ""
    cluster: str = "default"
    state: str = "starting"
    pid: int = 0
    start_time: float = 0.0
    identity: str = ""
    started: float = 0.0
    ended: float = 0.0
    exit: int | None = None
    reason: str = ""
    node: str = ""
    restarts: int = 0
    asked: bool = False
    spec: ProcessSpec | None = None

    @property
    def is_running(self) -> bool:
        """Whether that very process is still there."""
        if self.exit is not None or not self.pid:
            return False
        return is_running(self.pid, self.start_time, self.identity)


class Spool:
    """The output of one instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = folder.name

    def path(self, stream: Stream) -> Path:
        """The file of a stream; it may not exist yet."""
        if stream not in STREAMS:
            raise ConfigError(f"no such stream: {stream!r}", hint="stdout or stderr")
        return self.folder / stream

    def open(self, stream: Stream) -> int:
        """Open a stream for a process to append to; the caller closes the descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path(stream), flags, 0o600)

    def size(self, stream: Stream) -> int:
        """Bytes written so far."""
        try:
            return self.path(stream).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, stream: Stream, offset: int, limit: int) -> bytes:
        """At most ``limit`` bytes from ``offset`` on; none from where they are freed."""
        try:
            with self.path(stream).open("rb") as file:
                file.seek(offset)
                data = file.read(limit)
        except FileNotFoundError:
            return b""
        # Asked afterwards: what was freed meanwhile has been read as NULs.
        return data if self.begin(stream) <= offset else b""

    def begin(self, stream: Stream) -> int:
        """The offset from which on there are bytes."""
        return self.read_freed()[stream].begin

    def complete(self, stream: Stream) -> int:
        """Bytes up to the end of the last whole line, or of the file if its last line is long."""
        size = self.size(stream)
        start = max(min(self.begin(stream), size), size - _BLOCK)
        end = self.read(stream, start, size - start).rfind(b"\n")
        return size if end < 0 < start else start + end + 1

    def tail(
        self,
        stream: Stream,
        n: int,
        *,
        since: int = 0,
        until: int | None = None,
        grep: str | None = None,
    ) -> str:
        """The last ``n`` lines, or the last ``n`` that match ``grep``, safe to show.

        Only what lies between the offsets ``since`` and ``until`` (the end, if None) counts.
        """
        pattern = compile_pattern(grep)
        found: deque[str] = deque()
        for line in self._lines_from_end(stream, since, until):
            if len(found) >= n:
                break
            if pattern is None or pattern.search(line):
                found.appendleft(line)
        return "".join(f"{line}\n" for line in found)

    def logs(self, n: int = 100, stream: Stream | None = None, grep: str | None = None) -> str:
        """The last ``n`` lines of a stream, or of stdout and then, under a heading, stderr."""
        if stream is not None:
            return self.tail(stream, n, grep=grep)
        out, err = (self.tail(each, n, grep=grep) for each in STREAMS)
        return f"{out}--- stderr ---\n{err}" if err else out

    def read_state(self) -> SpoolState | None:
        """The state last written, or None if there is none that can be read."""
        try:
            return msgspec.json.decode((self.folder / "state.json").read_bytes(), type=SpoolState)
        except (OSError, *privatefile.UNREADABLE):
            return None

    def write_state(self, state: SpoolState) -> None:
        """Replace the state as a whole: a reader never sees half of one."""
        self._replace("state.json", msgspec.json.encode(state))

    def read_acked(self) -> dict[Stream, int]:
        """How many bytes of each stream a registry has stored."""
        try:
            text = (self.folder / "acked.json").read_bytes()
            found = msgspec.json.decode(text, type=dict[str, int])
        except (OSError, *privatefile.UNREADABLE):
            found = {}
        return {stream: max(0, found.get(stream, 0)) for stream in STREAMS}

    def write_acked(self, acked: Mapping[Stream, int]) -> None:
        """Keep how many bytes of each stream a registry has stored."""
        self._replace("acked.json", msgspec.json.encode(acked))

    def read_freed(self) -> dict[Stream, Freed]:
        """What of each stream is freed."""
        found = read_freed(self.folder / "freed")
        if found is None:
            return {stream: Freed(begin=first_data(self.path(stream))) for stream in STREAMS}
        return {stream: found.get(stream, _WHOLE) for stream in STREAMS}

    def write_freed(self, freed: Mapping[Stream, Freed]) -> None:
        """Keep what of each stream is freed; to be done before it is."""
        write_freed(self.folder / "freed", freed)

    @property
    def is_acked(self) -> bool:
        """Whether a registry has stored all that was written so far."""
        acked = self.read_acked()
        return all(acked[stream] >= self.size(stream) for stream in STREAMS)

    def _replace(self, name: str, data: bytes) -> None:
        part = self.folder / f"{name}.part"
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
        part.replace(self.folder / name)

    def _lines_from_end(self, stream: Stream, since: int, until: int | None) -> Iterator[str]:
        begin = partial(self.begin, stream)
        for line in _raw_lines_from_end(self.path(stream), since, until, begin):
            yield printable(line.decode("utf-8", "backslashreplace"))


def compile_pattern(grep: str | None) -> re.Pattern[str] | None:
    """The user's regular expression; one that is none is a `ConfigError`."""
    try:
        return re.compile(grep) if grep else None
    except re.error as error:
        raise ConfigError(f"{grep!r} is not a regular expression: {error}", key="grep") from error


def make_spool(
    root: Path,
    name: str,
    *,
    role: str = "",
    cluster: str = "default",
    node: str = "",
    spec: ProcessSpec | None = None,
) -> Spool:
    """Make the spool of a new instance of ``name``; the oldest ones of that name are removed."""
    check_name(name)
    private_folder(root, "PALM_STATE_DIR")
    _prune(root, name, cluster)
    while True:
        spool = Spool(root / f"{name}.{os.urandom(3).hex()}")
        try:
            spool.folder.mkdir(mode=0o700)
        except FileExistsError:  # six digits do meet now and then
            continue
        state = SpoolState(
            instance=spool.instance, name=name, role=role, cluster=cluster, node=node, spec=spec,
            started=time.time(),
        )  # fmt: skip
        spool.write_state(state)
        spool.write_freed(dict.fromkeys(STREAMS, _WHOLE))  # so that it has its room
        return spool


def list_spools(root: Path, name: str | None = None) -> list[tuple[Spool, SpoolState]]:
    """All spools with a state, or those of one component; the latest start first."""
    try:
        folders = os.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for folder in folders:
        match = _INSTANCE.fullmatch(folder)
        if match and name in (None, match["name"]):
            spool = Spool(root / folder)
            if state := spool.read_state():
                found.append((spool, state))
    return sorted(found, key=lambda pair: pair[1].started, reverse=True)


def find_spool(root: Path, name: str, cluster: str) -> Spool | None:
    """The spool of the latest start of a component; one that runs comes first."""
    found = [pair for pair in list_spools(root, name) if pair[1].cluster == cluster]
    running = [spool for spool, state in found if state.is_running]
    return next(iter(running + [spool for spool, _ in found]), None)


def _prune(root: Path, name: str, cluster: str) -> None:
    dead = [
        (spool, state)
        for spool, state in list_spools(root, name)
        if state.cluster == cluster and not state.is_running
    ]
    for spool, state in dead[KEPT_PER_NAME - 1 :]:
        if not state.node or spool.is_acked:  # what a registry still lacks is kept for it
            shutil.rmtree(spool.folder, ignore_errors=True)


def _raw_lines_from_end(
    path: Path, since: int, until: int | None, begin: Callable[[], int]
) -> Iterator[bytes]:
    since = max(since, begin())
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        position = position if until is None else min(position, until)
        if position <= since:
            return
        rest = b""
        first = True
        while position > since:
            start = max(since, position - _BLOCK)
            file.seek(start)
            part = file.read(position - start)
            since = max(since, begin())
            # What was freed meanwhile has been read as NULs.
            rest = part[max(0, since - start) :] + rest
            position = start
            head, *lines = rest.split(b"\n")
            if first and lines:
                first = False
                if not lines[-1]:  # the end of the last line, not an empty line after it
                    lines.pop()
            yield from reversed(lines)
            rest = head[:_LONGEST_LINE]
        yield rest
