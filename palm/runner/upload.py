"""Sends what components write to the registry: each byte once, in order, however often we die.

The spool holds the bytes, and beside them how far the registry has stored them. From there on
they are sent in pieces with their offsets; the registry takes of a piece what it lacks and
answers how far it is. So a piece may be sent again at any time, and a registry that is away, or a
runner that was killed, costs nothing but time.

`palm.runner.backlog.UploadState` holds the rules and does no I/O; `Uploader` is the thread around
it. What is freed of a spool meanwhile, and what is dropped, is the business of
`palm.runner.keeper.Keeper`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from palm.errors import RegistryError
from palm.registry_api.client import Refused
from palm.registry_api.schema import OutputAck, OutputPiece
from palm.runner.backlog import Chunk, UploadState
from palm.runner.freed import Freed
from palm.runner.spool import STREAMS, Spool, Stream, list_spools
from palm.spec.process import ProcessSpec

__all__ = ["SendOutput", "Source", "Uploader"]

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

_log = logging.getLogger("palm.runner")


class SendOutput(Protocol):
    """`RegistryClient.send_output`, for the cluster of the node."""

    def __call__(self, pieces: list[OutputPiece]) -> list[OutputAck]:
        """Store pieces; say how far the streams are stored."""


@dataclass(slots=True)
class Source:
    """An instance whose output is sent; ``over``: nothing more will be written."""

    spool: Spool
    spec: ProcessSpec
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
        self._sources: dict[str, Source] = {}
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
        acked, freed = spool.read_acked(), spool.read_freed()
        with self._lock:
            self._sources[spool.instance] = Source(spool, spec)
            self._state.add(spool.instance, acked, freed)

    def over(self, instance: str) -> None:
        """Nothing more will be written by an instance."""
        with self._lock:
            if instance in self._sources:
                self._sources[instance].over = True

    def flush(self, timeout: float) -> bool:
        """Wait until all that is written is stored; say whether it is."""
        self.look()
        with self._lock:
            return self._lock.wait_for(lambda: not self._state.pending, timeout)

    def stop(self) -> None:
        """End the thread; what is not stored by now is the next runner's."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(PARTING)

    # For who keeps the spools within bounds.

    def look(self) -> dict[str, tuple[Source, int]]:
        """Look how much is written; return the instances, and how many bytes of each wait."""
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
        with self._lock:
            return {
                name: (source, self._state.waiting(name)) for name, source in self._sources.items()
            }

    def free(self, instance: str, kept: int) -> None:
        """Take what is stored off an instance, but for its last bytes; see `freed`."""
        with self._lock:
            self._state.free(instance, kept)

    def drop(self, instance: str, excess: int, reason: str) -> int:
        """Take the oldest off an instance, though it is not stored; return how many bytes."""
        with self._lock:
            return self._state.drop(instance, excess, reason, time.time())

    def freed(self, instance: str) -> dict[Stream, Freed]:
        """What of an instance nobody here needs any more."""
        with self._lock:
            return self._state.freed(instance)

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
        self.look()
        with self._lock:
            chunks = self._state.next_chunks(time.monotonic())
        pieces = [piece for chunk in chunks if (piece := self._read(chunk)) is not None]
        if not pieces:
            return False
        self._store(pieces)
        with self._lock:
            return bool(self._state.pending)

    def _forget(self, instance: str) -> None:
        self._sources.pop(instance, None)
        self._state.forget(instance)
        self._lock.notify_all()

    def _read(self, chunk: Chunk) -> OutputPiece | None:
        with self._lock:
            source = self._sources.get(chunk.instance)
        if source is None:
            return None
        data = b"" if chunk.lost else source.spool.read(chunk.stream, chunk.offset, chunk.size)
        with self._lock:  # what was freed meanwhile has been read as NULs
            if not (chunk.lost or (data and self._state.has(chunk))):
                return None
        return OutputPiece(
            instance=chunk.instance,
            stream=chunk.stream,
            offset=chunk.offset,
            data=data,
            time=chunk.since or time.time(),
            component=source.spec.component or source.spec.name,
            replica=source.spec.replica,
            name=source.spec.name,
            lost=chunk.size if chunk.lost else 0,
            reason=chunk.reason,
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
        self._check(pieces, acks)

    def _check(self, pieces: list[OutputPiece], acks: list[OutputAck]) -> None:
        """See whether the registry knows gap records: an older one takes them for nothing."""
        ends = {(ack.instance, ack.stream): ack.durable_offset for ack in acks}
        for piece in pieces:
            if piece.lost and ends.get((piece.instance, piece.stream)) == piece.offset:
                self._refuse(piece, "it is too old to be told of output that was dropped")

    def _refuse(self, piece: OutputPiece, error: object) -> None:
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
            try:
                spool.write_acked(changed[name])
            except OSError as error:  # a full disk: the registry knows it, too
                _log.debug("it is not kept how much of %s is stored: %s", name, error)
