"""Sends what components write to the registry: each byte once, in order, however often we die.

The spool holds the bytes, and beside them how far the registry has stored them. From there on
they are sent in pieces with their offsets; the registry takes of a piece what it lacks and
answers how far it is. So a piece may be sent again at any time, and a registry that is away, or a
runner that was killed, costs nothing but time.

`UploadState` holds the rules and does no I/O; `Uploader` is the thread around it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from palm.errors import RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import OutputAck, OutputPiece
from palm.runner.spool import STREAMS, Spool, Stream, list_spools
from palm.spec.process import ProcessSpec

__all__ = ["Chunk", "SendOutput", "UploadState", "Uploader"]

#: Bytes of a piece, and of all pieces of one request.
PIECE = 256 * 1024
REQUEST = 1024 * 1024
#: Pieces of one request.
MOST = 256
#: Seconds between two looks at the files.
POLL = 0.05
#: Seconds until a registry that is away is tried again: the first time, and at most.
RETRY_FIRST = 0.1
RETRY_LIMIT = 2.0
#: Seconds that a request may still take at the end.
PARTING = 2.0
#: Seconds for which a stream rests that the registry does not want.
REFUSED_FOR = 60.0
#: Refusals that say nothing of the pieces: of us, of a cluster that is not there, of too much.
_PASSING = (401, 403, 404, 408, 409, 410, 426, 429)

Key = tuple[str, Stream]
_log = logging.getLogger("palm.runner")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes to be read from a spool, and to be sent."""

    instance: str
    stream: Stream
    offset: int
    size: int


@dataclass(slots=True)
class _Line:
    """One stream of one instance: ``size`` bytes are written, ``acked`` of them stored."""

    size: int = 0
    acked: int = 0
    turn: int = 0
    rests_until: float = 0.0


@dataclass(slots=True)
class UploadState:
    """How far each stream was written and is stored, and what to send next. No I/O."""

    _lines: dict[Key, _Line] = field(default_factory=dict)
    _turn: int = 0

    def add(self, instance: str, acked: dict[Stream, int]) -> None:
        """Know of an instance, of which the registry has stored so much."""
        for stream in STREAMS:
            self._lines.setdefault((instance, stream), _Line(acked=acked.get(stream, 0)))

    def forget(self, instance: str) -> None:
        """Know no more of an instance."""
        for stream in STREAMS:
            self._lines.pop((instance, stream), None)

    def grown(self, instance: str, stream: Stream, size: int) -> None:
        """So many bytes of a stream are written by now."""
        line = self._lines.get((instance, stream))
        if line is not None:
            line.size = size

    def acked(self, instance: str, stream: Stream, offset: int) -> bool:
        """The registry has stored so much of a stream; say whether that is news.

        It may be less than before: a registry that lost its data gets all again.
        """
        line = self._lines.get((instance, stream))
        if line is None or line.acked == offset:
            return False
        line.acked = max(0, offset)
        return True

    def refused(self, instance: str, stream: Stream, until: float) -> None:
        """The registry does not want a stream: let it rest, for the sake of the others."""
        line = self._lines.get((instance, stream))
        if line is not None:
            line.rests_until = until

    def offsets(self, instance: str) -> dict[Stream, int]:
        """How much of each stream of an instance is stored."""
        found = {stream: self._lines.get((instance, stream)) for stream in STREAMS}
        return {stream: line.acked for stream, line in found.items() if line is not None}

    def is_done(self, instance: str) -> bool:
        """Whether all that an instance wrote is stored."""
        lines = (self._lines.get((instance, stream)) for stream in STREAMS)
        return all(line is None or line.size <= line.acked for line in lines)

    @property
    def pending(self) -> int:
        """Bytes that are written and not yet stored."""
        return sum(max(0, line.size - line.acked) for line in self._lines.values())

    def next_chunks(self, now: float) -> list[Chunk]:
        """What to send now: a piece of each stream, those first that have waited longest.

        So one that writes without end takes its turn like the others.
        """
        waiting = [
            (line.turn, key, line)
            for key, line in self._lines.items()
            if line.size > line.acked and line.rests_until <= now
        ]
        chunks: list[Chunk] = []
        room = REQUEST
        self._turn += 1
        for _, (instance, stream), line in sorted(waiting, key=lambda each: each[:2]):
            size = min(PIECE, room, line.size - line.acked)
            if size <= 0 or len(chunks) >= MOST:
                break
            room -= size
            line.turn = self._turn
            chunks.append(Chunk(instance, stream, line.acked, size))
        return chunks


class SendOutput(Protocol):
    """`RegistryClient.send_output`, for the cluster of the node."""

    def __call__(self, pieces: list[OutputPiece]) -> list[OutputAck]:
        """Store pieces; say how far the streams are stored."""


@dataclass(slots=True)
class _Source:
    """An instance whose output is sent."""

    spool: Spool
    component: str
    replica: int
    name: str
    over: bool = False


class Uploader:
    """A thread that follows the spools of a node and sends what is new.

    Parameters
    ----------
    root
        Folder of the spools, `Folders.spool`.
    send
        Stores pieces in the registry; called in the uploader's thread only.
    """

    def __init__(self, root: Path, send: SendOutput) -> None:
        self._root = root
        self._send = send
        self._state = UploadState()
        self._sources: dict[str, _Source] = {}
        self._lock = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="palm-upload", daemon=True)

    def start(self, cluster: str, node: str) -> None:
        """Begin, with what earlier runners of this node left unsent."""
        for spool, state in list_spools(self._root):
            mine = (state.cluster, state.node) == (cluster, node)
            if mine and state.spec is not None and not spool.is_acked:
                self.add(spool, state.spec)
                self.over(spool.instance)
        self._thread.start()

    def add(self, spool: Spool, spec: ProcessSpec) -> None:
        """Follow the output of an instance, until it is `over` and all of it is stored."""
        source = _Source(spool, spec.component or spec.name, spec.replica, spec.name)
        with self._lock:
            self._sources[spool.instance] = source
            self._state.add(spool.instance, spool.read_acked())

    def over(self, instance: str) -> None:
        """Nothing more will be written by an instance."""
        with self._lock:
            if instance in self._sources:
                self._sources[instance].over = True

    def flush(self, timeout: float) -> bool:
        """Wait until all that is written is stored; say whether it is."""
        self._look()
        with self._lock:
            return self._lock.wait_for(lambda: not self._state.pending, timeout)

    def stop(self) -> None:
        """End the thread; what is not stored by now is the next runner's."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(PARTING)

    # In the thread.

    def _serve(self) -> None:
        delay = RETRY_FIRST
        while not self._over.is_set():
            try:
                more = self._work()
            except RegistryError as error:
                _log.debug("output is kept for now: %s", error)
                self._over.wait(delay)
                delay = min(RETRY_LIMIT, 2 * delay)
                continue
            except OSError as error:  # a full disk, a lost one: it may come back
                _log.warning("output cannot be read: %s", error)
                self._over.wait(RETRY_LIMIT)
                continue
            delay = RETRY_FIRST
            if not more:
                self._over.wait(POLL)

    def _work(self) -> bool:
        """Look at the files and send one request; say whether there is more to send."""
        self._look()
        with self._lock:
            chunks = self._state.next_chunks(time.monotonic())
        pieces = [piece for chunk in chunks if (piece := self._read(chunk)) is not None]
        if not pieces:
            return False
        self._store(pieces)
        with self._lock:
            return bool(self._state.pending)

    def _look(self) -> None:
        with self._lock:
            sources = list(self._sources.values())
        for source in sources:
            over = source.over  # looked at first: what was written before it still counts
            sizes = {stream: source.spool.size(stream) for stream in STREAMS}
            with self._lock:
                for stream, size in sizes.items():
                    self._state.grown(source.spool.instance, stream, size)
                if over and source.over and self._state.is_done(source.spool.instance):
                    self._forget(source.spool.instance)

    def _forget(self, instance: str) -> None:
        self._sources.pop(instance, None)
        self._state.forget(instance)
        self._lock.notify_all()

    def _read(self, chunk: Chunk) -> OutputPiece | None:
        with self._lock:
            source = self._sources.get(chunk.instance)
        data = source.spool.read(chunk.stream, chunk.offset, chunk.size) if source else b""
        if source is None or not data:
            return None
        return OutputPiece(
            instance=chunk.instance,
            stream=chunk.stream,
            offset=chunk.offset,
            data=data,
            time=time.time(),
            component=source.component,
            replica=source.replica,
            name=source.name,
        )

    def _store(self, pieces: list[OutputPiece]) -> None:
        try:
            acks = self._send(pieces)
        except Refused as error:
            if not 400 <= error.status < 500 or error.status in _PASSING:
                raise
            if len(pieces) > 1:  # one that cannot be taken must not hold up the others
                for piece in pieces:
                    self._store([piece])
                return
            self._refuse(pieces[0], error)
            return
        self._take(acks)

    def _refuse(self, piece: OutputPiece, error: Refused) -> None:
        _log.error("the registry refuses %s of %s: %s", piece.stream, piece.instance, error)
        with self._lock:
            until = time.monotonic() + REFUSED_FOR
            self._state.refused(piece.instance, piece.stream, until)

    def _take(self, acks: Iterable[OutputAck]) -> None:
        changed: dict[str, dict[Stream, int]] = {}
        with self._lock:
            for ack in acks:
                if self._state.acked(ack.instance, ack.stream, ack.durable_offset):
                    changed[ack.instance] = self._state.offsets(ack.instance)
            spools = {name: self._sources[name].spool for name in changed if name in self._sources}
            self._lock.notify_all()
        for name, spool in spools.items():
            spool.write_acked(changed[name])
